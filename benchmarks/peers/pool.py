"""C{multiprocessing.Pool}: Python's own way to spread calls over processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.contender import Contender, Measure
from benchmarks.nothing import nothing
from jobd.settings import usable_cores


@contextmanager
def _mapping() -> Iterator[Measure]:
    with multiprocessing.Pool(usable_cores()) as pool:

        def measure(jobs: int) -> tuple[float]:
            began = perf_counter()
            pool.map(nothing, range(jobs), chunksize=1)
            return (jobs / (perf_counter() - began),)

        measure(100)
        yield measure


POOL_MAP = Contender(
    "Pool.map(chunksize=1)",
    "nothing is kept; all results at once when the last call has returned; a worker that dies hangs the map",
    _mapping,
)
