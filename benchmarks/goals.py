"""What is aimed at, as figures of a report."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from benchmarks.figures import Report, median

Figure = Callable[[Report], "float | None"]


@attrs.frozen
class Goal:
    """
    @ivar measured: the figure; None if it was not measured.
    @ivar least: it is to be at least this...
    @ivar most: ...or at most this.
    """

    work: str
    text: str
    measured: Figure
    least: float | None = None
    most: float | None = None

    def reached(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def ahead(work: str, peer: str, metric: str = "rate") -> Figure:
    """How many times as good as the peer we were; above 1 we are ahead."""

    def measured(report: Report) -> float | None:
        table = report.table(work)
        sides = [side for side in table.peers if side.name == peer] if table else []
        return median(table.ratios(sides[0], table.place(metric))) if table and sides else None

    return measured


def times(work: str, peer: str, metric: str) -> Figure:
    """How many times as long as the peer we took; below 1 we are ahead."""
    return over(lambda _: 1.0, ahead(work, peer, metric))


def ours(work: str, metric: str) -> Figure:
    """Our own figure."""

    def measured(report: Report) -> float | None:
        table = report.table(work)
        return table.ours.median(table.place(metric)) if table else None

    return measured


def over(first: Figure, second: Figure) -> Figure:
    """One figure divided by another."""

    def measured(report: Report) -> float | None:
        one, other = first(report), second(report)
        return one / other if one is not None and other else None

    return measured


def _durable_without_the_disk(report: Report) -> float | None:
    """The durable latency less the disk's own two syncs, over a ProcessPoolExecutor's."""
    table = report.table("calls-durable")
    if table is None:
        return None
    p50s = {side.name: side.median(table.place("p50")) for side in (table.ours, *table.peers)}
    mine, disk, theirs = p50s[table.ours.name], p50s.get("two fsyncs"), p50s.get(_EXECUTOR)
    return (mine - disk) / theirs if mine is not None and disk is not None and theirs else None


_EXECUTOR = "ProcessPoolExecutor"
_POOL = "multiprocessing.Pool"
_ONE = "p50 one at a time ≤ "

GOALS = (
    Goal("calls-durable", f"≥ 2 x {_POOL}", ahead("calls-durable", _POOL), least=2),
    Goal("calls-durable", f"≥ 6 x {_EXECUTOR}", ahead("calls-durable", _EXECUTOR), least=6),
    Goal("calls-durable", "≥ 100 x dask.distributed", ahead("calls-durable", "dask.distributed"), least=100),
    Goal("calls-durable", "≥ 100 x Celery", ahead("calls-durable", "Celery"), least=100),
    Goal("calls-durable", f"{_ONE}3 x {_EXECUTOR}, less two fsyncs", _durable_without_the_disk, most=3),
    Goal("calls-durable", "p99 ≤ 5 x p50", over(ours("calls-durable", "p99"), ours("calls-durable", "p50")), most=5),
    Goal("calls-memory", f"{_ONE}1 x {_EXECUTOR}", times("calls-memory", _EXECUTOR, "p50"), most=1),
    Goal("calls-memory", "p99 ≤ 5 x p50", over(ours("calls-memory", "p99"), ours("calls-memory", "p50")), most=5),
    Goal("map-durable", f"≥ 3 x {_EXECUTOR}.map", ahead("map-durable", f"{_EXECUTOR}.map"), least=3),
    Goal("map-chunks-durable", f"≥ 1 x {_EXECUTOR}.map", ahead("map-chunks-durable", f"{_EXECUTOR}.map"), least=1),
    Goal("commands", "≥ 1.2 x xargs -P", ahead("commands", "xargs -n1 -P"), least=1.2),
    Goal("commands", "≥ 12 x GNU parallel", ahead("commands", "GNU parallel"), least=12),
    Goal("accepted", "≥ 1 x beanstalkd's pipelined put", ahead("accepted", "beanstalkd"), least=1),
    Goal("queued", "last tenth's submit rate ≥ 0.9 of the first's", ours("queued", "last/first"), least=0.9),
    Goal("queued", "≤ 400 bytes a job", ours("queued", "memory"), most=400),
    Goal("queued", "ready again in ≤ 5 s", ours("queued", "restart"), most=5),
    Goal("queued", "dispatch ≥ 0.9 of an empty daemon's", ours("queued", "dispatch/empty"), least=0.9),
    Goal("connections", "≤ 15 KiB each", ours("connections", "memory"), most=15),
    Goal("connections", "another's p50 ≤ 1.3 x", times("connections", "no connections", "p50"), most=1.3),
    Goal("output", "≥ 0.95 of the command without jobd", ahead("output", "without jobd"), least=0.95),
    Goal("followed", "≥ 300 MB/s", ours("followed", "rate"), least=300),
    Goal("followed", "others' p50 ≤ 3 x", ours("followed", "others"), most=3),
    Goal("idle", "no wake-ups of the daemon", ours("idle", "daemon"), most=0),
    Goal("idle", "no wake-ups of its workers", ours("idle", "workers"), most=0),
    Goal("mix", "short ones' p99 ≤ 1.5 x", times("mix", "without the long one", "p99"), most=1.5),
)
