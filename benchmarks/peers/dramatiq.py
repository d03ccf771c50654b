"""Dramatiq with Redis; this module is also what its workers load."""

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
_PATIENCE = 120_000


def actor(path: str) -> Any:
    """The actor that does nothing, on the Redis at this path."""
    dramatiq, url = library("dramatiq"), f"unix://{path}"
    broker = library("dramatiq.brokers.redis").RedisBroker(url=url)
    backend = library("dramatiq.results.backends.redis").RedisBackend(url=url)
    broker.add_middleware(library("dramatiq.results").Results(backend=backend, store_results=True))
    dramatiq.set_broker(broker)
    return dramatiq.actor(nothing, broker=broker)


@contextmanager
def sent() -> Iterator[Measure]:
    """Each message sent singly, then all results taken."""
    with redis() as path:
        do = actor(str(path))
        command = [sys.executable, "-m", "dramatiq", "benchmarks.peers.dramatiq", "--threads", "1"]
        with running([*command, "--processes", str(usable_cores())], environment={_PLACE: str(path)}):

            def many(jobs: int) -> float:
                began = perf_counter()
                for message in [do.send(number) for number in range(jobs)]:
                    message.get_result(block=True, timeout=_PATIENCE)
                return perf_counter() - began

            yield rate_and_times(many, lambda number: do.send(number).get_result(block=True, timeout=_PATIENCE))


if _PLACE in os.environ:
    actor(os.environ[_PLACE])

DRAMATIQ = Contender(
    "Dramatiq",
    "send and its result, with Redis: messages and results are in the server's memory; acknowledged after it has "
    "run; the client waits for each result in Redis",
    aside("benchmarks.peers.dramatiq:sent"),
    most=1_000,
)
