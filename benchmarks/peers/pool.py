"""C{multiprocessing.Pool}: Python's own way to spread calls over processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, rate_and_times
from benchmarks.nothing import nothing
from jobd.settings import usable_cores


@contextmanager
def mapping() -> Iterator[Measure]:
    """One call in each message to a worker."""
    with multiprocessing.Pool(usable_cores()) as pool:

        def many(jobs: int) -> float:
            began = perf_counter()
            pool.map(nothing, range(jobs), chunksize=1)
            return perf_counter() - began

        yield rate_and_times(many, lambda number: pool.apply(nothing, (number,)))


POOL = Contender(
    "multiprocessing.Pool",
    "map(chunksize=1), one at a time apply: nothing is kept; all results at once when the last call has returned; "
    "a worker that dies hangs the map",
    aside("benchmarks.peers.pool:mapping"),
)
