"""Huey with Redis; this module is also what its consumer loads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, Trouble, rate_and_times
from benchmarks.nothing import nothing
from benchmarks.peers.serving import library, redis, running
from jobd.settings import usable_cores

_PLACE = "JOBD_BENCH_REDIS"
_PATIENCE = 120


def tasks(path: str) -> tuple[Any, Any]:
    """A Huey on the Redis at this path, and its task that does nothing."""
    made = library("huey").RedisHuey("bench", url=f"unix://{path}", notify_result=True)

    def work(number: int) -> bool:
        nothing(number)
        # What returns None has no result that could be waited for.
        return True

    return made, made.task(name="work")(work)


@contextmanager
def called() -> Iterator[Measure]:
    """Each call enqueued singly, then all results taken."""
    with redis() as path:
        _, work = tasks(str(path))
        command = [sys.executable, "-m", "huey.bin.huey_consumer", "benchmarks.peers.huey.made", "-k", "process"]
        command += ["-w", str(usable_cores()), "-q", "-n"]
        with running(command, environment={_PLACE: str(path)}):

            def many(jobs: int) -> float:
                began = perf_counter()
                for result in [work(number) for number in range(jobs)]:
                    _take(result)
                return perf_counter() - began

            yield rate_and_times(many, lambda number: _take(work(number)))


def _take(result: Any) -> None:
    if result.get(blocking=True, timeout=_PATIENCE) is not True:
        raise Trouble("a task of Huey gave no result")


if _PLACE in os.environ:
    made, _ = tasks(os.environ[_PLACE])

HUEY = Contender(
    "Huey",
    "a task and its result, with Redis: both are in the server's memory; a worker that dies loses its task; the "
    "client is told through Redis (notify_result)",
    aside("benchmarks.peers.huey:called"),
    most=1_000,
)
