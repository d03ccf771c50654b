"""
What was measured, as it is written to a file and read again: tables and
plots are drawn from these alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.contender import Metric


class Machine(msgspec.Struct):
    """
    @ivar load: how many processes wanted a processor in the minute before; much
        above 0, the figures say more about the neighbours. C{None} where it
        cannot be told.
    @ivar daemon_rss: bytes of memory of an idle daemon itself; C{None} where
        it cannot be told.
    @ivar all_pss: bytes of the daemon and its workers, what they share
        counted once.
    @ivar processes: how many these are.
    """

    cores: int
    processor: str
    system: str
    python: str
    twisted: str
    sqlite: str
    jobd: str
    load: float | None
    daemon_rss: int | None
    all_pss: int | None
    processes: int | None


class Floor(msgspec.Struct):
    """What the machine itself takes for one step of a job's way; microseconds."""

    name: str
    what: str
    p50: float
    p99: float


class Side(msgspec.Struct):
    """
    One side's part in a work.

    @ivar jobs: how many it was given in a round.
    @ivar rounds: in each round a figure for each metric.
    @ivar missing: why there are no figures; empty if there are.
    """

    name: str
    promises: str
    jobs: int
    rounds: list[list[float | None]]
    missing: str = ""

    def figures(self, place: int) -> list[float]:
        """Of one metric, in all rounds that have one."""
        return [found for values in self.rounds if (found := values[place]) is not None]

    def median(self, place: int) -> float | None:
        return median(self.figures(place))


class Table(msgspec.Struct):
    """
    One work: ours and the peers'.

    @ivar counted: what the numbers of jobs count.
    @ivar compared: whether ratios between the sides mean anything.
    """

    work: str
    what: str
    counted: str
    metrics: list[Metric]
    ours: Side
    peers: list[Side]
    compared: bool = True

    def place(self, metric: str) -> int:
        """
        Where a metric stands.

        @raise LookupError: there is none of that name.
        """
        for place, known in enumerate(self.metrics):
            if known.name == metric:
                return place
        raise LookupError(metric)

    def ratios(self, peer: Side, place: int) -> list[float]:
        """In each round, how many times as good as the peer we were."""
        found = []
        for mine, theirs in zip(self.ours.rounds, peer.rounds, strict=False):
            first, second = mine[place], theirs[place]
            ratio = None if first is None or second is None else self.metrics[place].ratio(first, second)
            if ratio is not None:
                found.append(ratio)
        return found


class Report(msgspec.Struct):
    """
    A whole run.

    @ivar quick: it was only to be seen that all works; the figures mean nothing.
    @ivar left_out: works that could not be measured here, and why.
    """

    machine: Machine
    floors: list[Floor]
    rounds: int
    quick: bool
    tables: list[Table]
    left_out: dict[str, str]

    def table(self, work: str) -> Table | None:
        """The table of a work, if it was measured."""
        return next((table for table in self.tables if table.work == work), None)

    def floor(self, name: str) -> Floor | None:
        return next((floor for floor in self.floors if floor.name == name), None)


def write(report: Report, path: Path) -> None:
    """Keep all figures in a JSON file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def read(paths: Sequence[Path]) -> Report:
    """
    What such files hold, as one report: of a work that several have, the last
    one's figures; the machine is that of the last.

    @raise ValueError: a file is not such a file.
    """
    reports = [msgspec.json.decode(path.read_bytes(), type=Report) for path in paths]
    last = reports[-1]
    tables = {table.work: table for report in reports for table in report.tables}
    left_out = {work: reason for report in reports for work, reason in report.left_out.items() if work not in tables}
    quick = any(report.quick for report in reports)
    return Report(last.machine, last.floors, last.rounds, quick, list(tables.values()), left_out)


def median(values: Sequence[float]) -> float | None:
    """The middle of the values, if there are any."""
    return statistics.median(values) if values else None
