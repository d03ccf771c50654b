"""Python's C{ProcessPoolExecutor}, and loky's, which is one that is used again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from time import perf_counter

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, rate_and_times
from benchmarks.nothing import nothing
from benchmarks.peers.serving import library
from jobd.settings import usable_cores


def submitting(executor: Executor) -> Measure:
    """Each call submitted singly, then all results taken."""

    def many(jobs: int) -> float:
        began = perf_counter()
        for future in [executor.submit(nothing, number) for number in range(jobs)]:
            future.result()
        return perf_counter() - began

    return rate_and_times(many, lambda number: executor.submit(nothing, number).result())


@contextmanager
def python() -> Iterator[Measure]:
    """The standard library's."""
    with ProcessPoolExecutor(usable_cores()) as executor:
        yield submitting(executor)


@contextmanager
def mapped(chunksize: str) -> Iterator[Measure]:
    """The standard library's C{map}."""
    with ProcessPoolExecutor(usable_cores()) as executor:

        def many(jobs: int) -> float:
            began = perf_counter()
            for _ in executor.map(nothing, range(jobs), chunksize=int(chunksize)):
                pass
            return perf_counter() - began

        yield rate_and_times(many, lambda number: executor.submit(nothing, number).result())


@contextmanager
def loky() -> Iterator[Measure]:
    """Loky's, which scikit-learn and joblib use."""
    executor = library("loky").get_reusable_executor(usable_cores())
    try:
        yield submitting(executor)
    finally:
        executor.shutdown()


_PROMISES = "nothing is kept; a future for each call; a worker that dies breaks all of them"

EXECUTOR = Contender("ProcessPoolExecutor", f"submit: {_PROMISES}", aside("benchmarks.peers.executor:python"))
LOKY = Contender(
    "loky",
    f"submit: {_PROMISES}, but the next executor works; functions go by value",
    aside("benchmarks.peers.executor:loky"),
)


def mapping(chunksize: int) -> Contender:
    """C{map}, so many calls in a message."""
    ready = aside("benchmarks.peers.executor:mapped", str(chunksize))
    return Contender("ProcessPoolExecutor.map", f"map(chunksize={chunksize}): {_PROMISES}", ready)
