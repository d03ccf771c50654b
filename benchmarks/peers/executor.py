"""C{concurrent.futures.ProcessPoolExecutor}: one future for each call."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from time import perf_counter

from benchmarks.contender import Contender, Measure, times
from benchmarks.nothing import nothing
from jobd.settings import usable_cores


@contextmanager
def _one_at_a_time() -> Iterator[Measure]:
    with ProcessPoolExecutor(usable_cores()) as executor:

        def measure(jobs: int) -> tuple[float, float]:
            seconds = []
            for number in range(jobs):
                began = perf_counter()
                executor.submit(nothing, number).result()
                seconds.append(perf_counter() - began)
            return times(seconds)

        measure(100)
        yield measure


EXECUTOR_SUBMIT = Contender(
    "ProcessPoolExecutor.submit",
    "nothing is kept; a future for each call; a worker that dies breaks all of them",
    _one_at_a_time,
)
