"""How often a daemon with nothing to do wakes up, and its workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import proc
from benchmarks.client import connected, flood
from benchmarks.contender import Contender, Measure, Metric
from benchmarks.ours import call, options
from tests.daemon import running_daemon

WAKE_UPS = (
    Metric("daemon", "wake-ups", more_is_better=False),
    Metric("workers", "wake-ups", more_is_better=False),
    Metric("processor", "ms", more_is_better=False),
)
"""Of all threads of all processes, in so many seconds, and the processor time of these."""

_REST = 2.0
"""Seconds after the last job until nothing is left of it to be done."""


@contextmanager
def _idle() -> Iterator[Measure]:
    with running_daemon(*options("commit")) as daemon, connected(daemon) as sock:

        def measure(seconds: int) -> list[float | None]:
            flood(sock, [call(number) for number in range(200)])
            flood(sock, [b"run true\n"])
            time.sleep(_REST)
            family = proc.family(daemon.pid)
            woken, used = [proc.switches(pid) for pid in family], sum(map(proc.processor, family))
            time.sleep(seconds)
            counts = [proc.switches(pid) - before for pid, before in zip(family, woken, strict=True)]
            return [counts[0], sum(counts[1:]), (sum(map(proc.processor, family)) - used) * 1000]

        yield measure


IDLE = Contender(
    "jobd",
    "durable, a client connected, all workers started and used; counted are context switches of all threads",
    _idle,
)
