"""RQ: jobs in Redis, a fork for each."""

from __future__ import annotations

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

_PATIENCE = 120


@contextmanager
def enqueued() -> Iterator[Measure]:
    """Each call enqueued singly, then all results taken."""
    with redis() as path, library("redis").Redis(unix_socket_path=str(path)) as connection:
        queue = library("rq").Queue(connection=connection)
        command = [sys.executable, "-m", "rq.cli", "worker-pool", "-n", str(usable_cores()), "--quiet"]
        with running([*command, "--url", f"unix://{path}"]):

            def many(jobs: int) -> float:
                began = perf_counter()
                for job in [queue.enqueue(nothing, number) for number in range(jobs)]:
                    _end_of(job)
                return perf_counter() - began

            yield rate_and_times(many, lambda number: _end_of(queue.enqueue(nothing, number)), warm=4)


def _end_of(job: Any) -> None:
    result = job.latest_result(timeout=_PATIENCE)
    if result is None or result.type is not result.Type.SUCCESSFUL:
        raise Trouble("a job of RQ did not succeed")


RQ = Contender(
    "RQ",
    "enqueue and its result, with Redis: jobs and results are in the server's memory; a fork for each job, so a "
    "crash costs one; the client waits for the result in Redis",
    aside("benchmarks.peers.rq:enqueued"),
    most=100,
)
