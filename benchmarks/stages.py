"""
Where a job's microseconds go: the processor time that each process of ours
has had for a job. The system's own account depends less on the
neighbours than time on the clock does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import process_time

from benchmarks import proc
from benchmarks.client import connected, flood
from benchmarks.contender import RATE, Contender, Measure, Metric
from benchmarks.ours import call, options
from tests.daemon import running_daemon

STAGES = (
    RATE,
    Metric("reactor", "µs/job", more_is_better=False),
    Metric("store", "µs/job", more_is_better=False),
    Metric("workers", "µs/job", more_is_better=False),
    Metric("client", "µs/job", more_is_better=False),
)
"""The daemon's first thread, its other threads, its workers together, and the client of the benchmark."""


@contextmanager
def _accounted(durability: str, request: Callable[[int], bytes]) -> Iterator[Measure]:
    with running_daemon(*options(durability)) as daemon, connected(daemon) as sock:

        def account(family: list[int]) -> list[float]:
            reactor = proc.processor(daemon.pid, main=True)
            workers = sum(proc.processor(pid) for pid in family[1:])
            return [reactor, proc.processor(daemon.pid) - reactor, workers, process_time()]

        def measure(jobs: int) -> list[float | None]:
            requests = [request(number) for number in range(jobs)]
            family = proc.family(daemon.pid)
            before = account(family)
            seconds = flood(sock, requests)
            used = [(now - then) / jobs * 1e6 for now, then in zip(account(family), before, strict=True)]
            return [jobs / seconds, *used]

        measure(200)
        yield measure


def _command(number: int) -> bytes:
    return b"run true %d\n" % number


DURABLE = Contender(
    "calls, on disk",
    "each acknowledged and announced after an fsynced commit",
    partial(_accounted, "commit", call),
)
MEMORY = Contender("calls, in memory", "the same without the disk", partial(_accounted, "memory", call))
COMMANDS = Contender(
    "commands, on disk",
    "true, with output files; the time of true itself is not counted",
    partial(_accounted, "commit", _command),
    most=3_000,
)
