"""C{dask.distributed}: a scheduler and its workers, here all on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, rate_and_times
from benchmarks.nothing import nothing
from benchmarks.peers.serving import library
from jobd.settings import usable_cores


@contextmanager
def submitting() -> Iterator[Measure]:
    """Each call submitted singly, then all results gathered."""
    distributed = library("distributed")
    with (
        distributed.LocalCluster(
            n_workers=usable_cores(), threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def many(jobs: int) -> float:
            began = perf_counter()
            client.gather([client.submit(nothing, number, pure=False) for number in range(jobs)])
            return perf_counter() - began

        yield rate_and_times(many, lambda number: client.submit(nothing, number, pure=False).result())


DASK = Contender(
    "dask.distributed",
    "submit and gather: nothing is kept on disk; a future for each call, told of alone; a call whose worker dies "
    "is run again",
    aside("benchmarks.peers.dask:submitting"),
    most=1_000,
)
