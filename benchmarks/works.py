"""What is measured. A further peer is a module in C{benchmarks/peers/} and a word here."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs

from benchmarks import compiled, idle, mix, ours, output, proc, scale, stages
from benchmarks.contender import RATE_AND_TIMES, TIMES, Work
from benchmarks.floors import SPAWNS, TWO_SYNCS
from benchmarks.peers.beanstalkd import ACCEPTING, BEANSTALKD
from benchmarks.peers.celery import CELERY
from benchmarks.peers.dask import DASK
from benchmarks.peers.dramatiq import DRAMATIQ
from benchmarks.peers.executor import EXECUTOR, LOKY
from benchmarks.peers.executor import mapping as executor_map
from benchmarks.peers.gearman import GEARMAN
from benchmarks.peers.huey import HUEY
from benchmarks.peers.parallel import PARALLEL
from benchmarks.peers.pool import POOL
from benchmarks.peers.rq import RQ
from benchmarks.peers.spooler import SPOOLER
from benchmarks.peers.xargs import XARGS

_CALLS = "warm calls that do nothing"
_LATENCY = "such a call from submission to finish, one at a time"
_EVERYBODY = (POOL, EXECUTOR, LOKY, DASK, CELERY, RQ, DRAMATIQ, HUEY, GEARMAN, BEANSTALKD)
_CHUNK = 64


def _map(name: str, durability: str, chunksize: int) -> Work:
    what = f"calls that do nothing through an Executor's map, chunksize {chunksize}"
    jobs = 30_000 if chunksize == 1 else 600_000
    return Work(name, what, RATE_AND_TIMES, jobs, 400, ours.mapping(durability, chunksize), (executor_map(chunksize),))


def _not_on_windows() -> str:
    return "commands, shells and reactors are other ones on Windows" if sys.platform == "win32" else ""


WORKS = (
    Work("calls-durable", _CALLS, RATE_AND_TIMES, 60_000, 400, ours.calls("commit"), (*_EVERYBODY, TWO_SYNCS)),
    Work("calls-memory", _CALLS, RATE_AND_TIMES, 60_000, 400, ours.calls("memory"), (POOL, EXECUTOR, LOKY, GEARMAN)),
    _map("map-durable", "commit", 1),
    _map("map-memory", "memory", 1),
    _map("map-chunks-durable", "commit", _CHUNK),
    _map("map-chunks-memory", "memory", _CHUNK),
    Work(
        "commands",
        "commands that do nothing",
        RATE_AND_TIMES,
        3_000,
        100,
        ours.COMMANDS,
        (XARGS, PARALLEL, SPOOLER, SPAWNS),
        _not_on_windows,
    ),
    Work("accepted", "calls submitted, none run", RATE_AND_TIMES, 100_000, 2_000, ours.ACCEPTED, (ACCEPTING,)),
    Work(
        "cpp-pipelined",
        f"{_CALLS}, each sent before the last is answered",
        compiled.RATE_AND_SHARE,
        60_000,
        400,
        compiled.POSTED,
        (compiled.FLOODED, compiled.FLOODED_KEYED),
        compiled.lacking,
    ),
    Work("cpp-latency", _LATENCY, TIMES, 6_000, 100, compiled.LIBRARY, (compiled.BARE,), compiled.lacking),
    Work(
        "mix",
        "one call of a second among short ones, one of them every 2 ms; the short ones' times",
        mix.METRICS,
        1_000,
        100,
        mix.WITH,
        (mix.WITHOUT,),
    ),
    Work(
        "queued",
        "calls queued on a paused daemon, which is then stopped and started, and runs some",
        scale.QUEUED,
        1_000_000,
        2_000,
        scale.QUEUE,
        lacking=proc.lacking,
        rounds=3,
    ),
    Work(
        "connections",
        "calls that do nothing, one at a time, beside connections that wait for a job",
        scale.WAITING,
        5_000,
        50,
        scale.WAIT,
        (scale.NO_WAIT,),
        scale.lacking,
        counted="connections",
    ),
    Work(
        "output",
        "a command that writes zeros to its standard output, which is a file",
        output.WRITTEN,
        1_000,
        5,
        output.TO_FILE,
        (output.WITHOUT,),
        _not_on_windows,
        counted="MB",
    ),
    Work(
        "followed",
        "a command's output followed by a client",
        output.FOLLOWED,
        500,
        5,
        output.FOLLOWED_LIVE,
        lacking=_not_on_windows,
        counted="MB",
    ),
    Work(
        "idle",
        "nothing to do",
        idle.WAKE_UPS,
        10,
        1,
        idle.IDLE,
        lacking=proc.lacking,
        rounds=3,
        counted="seconds",
    ),
    Work(
        "reactors",
        f"{_CALLS}, on Twisted's reactors",
        RATE_AND_TIMES,
        30_000,
        400,
        ours.reactor("epoll"),
        (ours.reactor("poll"), ours.reactor("select"), ours.reactor("asyncio")),
        proc.lacking,
    ),
    Work(
        "stages",
        "jobs that do nothing; processor time",
        stages.STAGES,
        60_000,
        400,
        stages.DURABLE,
        (stages.MEMORY, stages.COMMANDS),
        proc.lacking,
        ratios=False,
    ),
)


def named(names: Sequence[str]) -> list[Work]:
    """
    The works whose names begin with one of these; all of them for none.

    @raise LookupError: a name that none begins with.
    """
    for name in names:
        if not any(work.name.startswith(name) for work in WORKS):
            raise LookupError(f"there is no work {name!r}; there is {', '.join(work.name for work in WORKS)}")
    return [work for work in WORKS if not names or work.name.startswith(tuple(names))]


def beside(works: Sequence[Work], names: Sequence[str]) -> list[Work]:
    """
    The works with only those peers whose names contain one of these, in
    whatever case. What is no other program, as another reactor, stays.

    @raise LookupError: a name that is in none.
    """
    for name in names:
        if not any(name.lower() in peer.lower() for peer in _OTHERS):
            raise LookupError(f"there is no peer {name!r}; there is {', '.join(_OTHERS)}")
    left_out = [peer for peer in _OTHERS if not any(name.lower() in peer.lower() for name in names)]
    return [attrs.evolve(work, peers=tuple(peer for peer in work.peers if peer.name not in left_out)) for work in works]


_OTHERS = [peer.name for peer in (*_EVERYBODY, executor_map(1), XARGS, PARALLEL, SPOOLER)]
"""The names of other people's programs."""
