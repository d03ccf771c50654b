"""Celery with Redis as its broker and for results; this module is also the application that its workers load."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, rate_and_times
from benchmarks.nothing import nothing
from benchmarks.peers.serving import library, redis, running
from jobd.settings import usable_cores

_PLACE = "JOBD_BENCH_REDIS"
_PATIENCE = 120


def application(path: str) -> Any:
    """The Celery application on the Redis at this path."""
    url = f"redis+socket://{path}"
    made = library("celery").Celery("bench", broker=url, backend=url, set_as_current=False)
    made.conf.worker_prefetch_multiplier = 64
    made.task(nothing, name="nothing")
    return made


def __getattr__(name: str) -> Any:
    # What `celery -A benchmarks.peers.celery` looks for.
    if name == "app":
        return application(os.environ[_PLACE])
    raise AttributeError(name)


@contextmanager
def grouped() -> Iterator[Measure]:
    """A group of calls, then all its results."""
    with redis() as path:
        app = application(str(path))
        task = app.tasks["nothing"]
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery", "worker", "--loglevel=ERROR"]
        command += [f"--concurrency={usable_cores()}", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        with running(command, environment={_PLACE: str(path), "C_FORCE_ROOT": "1"}):

            def many(jobs: int) -> float:
                began = perf_counter()
                result = library("celery").group([task.s(number) for number in range(jobs)], app=app).apply_async()
                result.get(timeout=_PATIENCE)
                seconds = perf_counter() - began
                result.forget()
                return seconds

            yield rate_and_times(many, lambda number: task.delay(number).get(timeout=_PATIENCE))


CELERY = Contender(
    "Celery",
    "a group and its results, with Redis: tasks and results are in the server's memory; acknowledged to the worker "
    "before it runs; a worker that dies loses its task; the client is told through Redis",
    aside("benchmarks.peers.celery:grouped"),
    most=500,
)
