"""
C{jobd.Executor}: a C{concurrent.futures.Executor} whose calls are jobs.

Submissions from any thread gather in a queue; one thread sends them, as many
in one line as there are, and settles the futures as finish events come.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future
from itertools import islice
from typing import Any, TypeVar

from jobd.client.chunks import run_chunk
from jobd.client.engine import Engine
from jobd.client.future import JobFuture
from jobd.client.liveness import LIVENESS
from jobd.client.pickling import dump
from jobd.client.url import locate
from jobd.errors import BadValue

T = TypeVar("T")

MAX_PENDING = 4096
"""Calls handed to the daemon at a time: enough to keep many cores busy with short calls."""


class Executor(futures.Executor):
    """
    Runs calls as jobs, on all the cores the daemon has.

    A function that can be imported goes by reference; another one by value,
    for which cloudpickle from the extra C{pickle} is needed. What a call
    raises is raised again here, with the worker's traceback as its
    C{__cause__}. A worker that dies fails its own call alone, with
    L{jobd.errors.WorkerDied}. A future can be cancelled until the daemon has
    started its call.

    @param url: the daemon, as for L{jobd.connect}.
    @param token: the token for TCP, as for L{jobd.connect}.
    @param max_pending: how many calls are handed to the daemon at a time; the
        others wait here.
    @param liveness: as for L{jobd.connect}.
    @param job_fields: fields for every job, as C{queue="gpu"} or C{timeout=60}.
    @raise ConnectionProblem: the daemon cannot be reached.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        max_pending: int = MAX_PENDING,
        liveness: float = LIVENESS,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        **job_fields: Any,
    ) -> None:
        if max_pending < 1:
            raise ValueError("max_pending must be 1 or more")
        wrong = {"argv", "shell", "call", "args", "kwargs", "pickle", "key", "notify"} & job_fields.keys()
        if wrong:
            raise BadValue(f"an Executor's jobs cannot have a {min(wrong)!r} of their own")
        target = locate(url, token=token, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
        self._engine = Engine(target, max_pending, liveness)
        self._engine.open(job_fields)
        # Without a shutdown: what was submitted is still done, then the thread ends.
        self._finalizer = weakref.finalize(self, self._engine.close)
        self._finalizer.atexit = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> JobFuture[T]:
        """
        Have C{fn(*args, **kwargs)} called in a worker.

        @raise RuntimeError: after L{shutdown}.
        """
        future: JobFuture[T] = JobFuture(self._engine)
        try:
            future.text = dump(fn, args, kwargs)
        except BadValue as error:
            self._engine.check_open()
            future.set_exception(error)
        else:
            self._engine.submit(future)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """
        The results of C{fn} for the items, in their order.

        @param timeout: seconds from now until the last result.
        @param chunksize: so many items in one job.
        @param buffersize: submit no more than so many jobs whose results have
            not been taken; by default all at once.
        @raise TimeoutError: a result was not there in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and (not isinstance(buffersize, int) or buffersize < 1):
            kind = ValueError if isinstance(buffersize, int) else TypeError
            raise kind("buffersize must be an integer from 1 on, or None")
        deadline = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        if chunksize == 1:
            return _in_order(self.submit, ((fn, *args) for args in calls), deadline, buffersize)
        parts = ((run_chunk, fn, part) for part in iter(lambda: list(islice(calls, chunksize)), []))
        chunks: Iterator[Sequence[T]] = _in_order(self.submit, parts, deadline, buffersize)
        return (result for chunk in chunks for result in chunk)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """
        Accept no more calls.

        @param wait: return only when all that were accepted have ended.
        @param cancel_futures: cancel those that the daemon has not started.
        """
        self._engine.close(cancel=cancel_futures)
        if wait:
            self._engine.join()


def _in_order(
    submit: Callable[..., Future[Any]],
    calls: Iterator[tuple[Any, ...]],
    deadline: float | None,
    ahead: int | None,
) -> Iterator[Any]:
    """Submit now, and return an iterator of the results that submits the rest as they are taken."""
    pending = deque(submit(*call) for call in (calls if ahead is None else islice(calls, ahead)))

    def first() -> Any:
        """The next result, of which nothing is kept here while it is used."""
        result = pending[0].result(None if deadline is None else max(0.0, deadline - time.monotonic()))
        pending.popleft()
        return result

    def results() -> Iterator[Any]:
        try:
            while pending:
                yield first()
                if ahead is not None:
                    pending.extend(submit(*call) for call in islice(calls, 1))
        finally:
            for future in pending:
                future.cancel()

    return results()
