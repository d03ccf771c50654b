"""
The blocking client: C{jobd.connect()}. It may be used from any thread; one
background thread serves its connection, and makes a new one when it is lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, TypeVar, overload

from jobd.client import commands, reading, specs
from jobd.client.commands import Command, JobLike, Selector
from jobd.client.connection import Connection
from jobd.client.core import Event, Stream
from jobd.client.ids import format_ids
from jobd.client.jobs import Job, outcome_of
from jobd.client.liveness import LIVENESS, PATIENCE
from jobd.client.mapping import ordered_results
from jobd.client.outcome import Outcome
from jobd.client.reading import Output
from jobd.client.session import Session
from jobd.client.specs import Spec
from jobd.client.streams import Follow, Watch
from jobd.client.url import locate
from jobd.errors import JobdError, WaitTimeout

T = TypeVar("T")

# Inside the class "list" is a method.
Jobs = list[Job]
Outcomes = list[Outcome]


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    timeout: float = 10.0,
    reconnect: bool | float = True,
    liveness: float = LIVENESS,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> Client:
    """
    A client of the daemon at C{url}, by default of C{JOBD_URL} or else of
    this user's own daemon on this machine.

    @param token: what a TCP connection proves itself with; by default
        C{JOBD_TOKEN}, C{JOBD_TOKEN_FILE}, or this user's own token file.
    @param timeout: seconds that a connection or a reply may take.
    @param reconnect: whether a lost connection is made again, and for how
        many seconds that is tried (60 for True). What was waited for is then
        waited for again, and nothing is announced twice; so that a submission
        can be repeated safely, each job without a C{key} gets a random one.
    @param liveness: seconds of silence after which a daemon that owes something
        is asked for a sign of life; after as many more it counts as lost.
    @param tls_ca: a PEM file with the authorities to trust instead of the system's.
    @param tls_cert: a PEM file with this client's certificate.
    @param tls_key: a PEM file with its key.
    @raise ConnectionProblem: it cannot be reached.
    @raise UsageError: the URL or a file is wrong.
    """
    target = locate(url, token=token, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
    patience = PATIENCE if reconnect is True else float(reconnect)
    connection = Connection(target, timeout=timeout, patience=patience, liveness=liveness)
    connection.open()
    return Client(connection)


class Client:
    """
    One connection to a daemon; get it from L{connect}. It is a context
    manager that closes it.

    Jobs are named by L{Job} objects or ids. Every error is a
    L{jobd.errors.JobdError}. The fields of a job (C{queue=}, C{after=},
    C{timeout=} and so on) are those of docs/protocol.md; C{after} also takes
    L{Job} objects. With a daemon on this machine a job runs in this process's
    current folder unless it names its C{cwd}.
    """

    def __init__(self, connection: Connection, fields: Spec | None = None) -> None:
        self._connection = connection
        self._fields: dict[str, Any] = dict(fields or {})

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; jobs go on. Whoever still waits gets a L{ConnectionProblem}."""
        self._connection.close()

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._connection.target.url

    @property
    def cursor(self) -> int:
        """The highest cursor this client has seen; L{watch} may begin after it."""
        return self._connection.book.cursor

    def options(self, **fields: Any) -> Client:
        """The same client, with these fields in every job it submits: C{client.options(queue="gpu").call(f)}."""
        return Client(self._connection, {**self._fields, **fields})

    # Submitting.

    @overload
    def submit(self, jobs: Spec) -> Job: ...
    @overload
    def submit(self, jobs: Sequence[Spec]) -> Jobs: ...
    def submit(self, jobs: Spec | Sequence[Spec]) -> Job | Jobs:
        """
        Submit one job, a mapping with its fields, or several, all or none. On
        return they are safe on the daemon's disk.

        @raise JobdError: the daemon does not accept them, and why.
        """
        if isinstance(jobs, Mapping):
            return self._submit([jobs])[0]
        return self._submit(jobs) if jobs else []

    def run(self, *argv: Any, **fields: Any) -> Job:
        """Submit a command: C{run("gzip", "-k", "a.log", cwd="/data")}, or its words in one list."""
        return self._submit([{**fields, "argv": specs.argv(argv)}])[0]

    def shell(self, line: str, **fields: Any) -> Job:
        """Submit a line for the shell."""
        return self._submit([{**fields, "shell": line}])[0]

    def call(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """
        Submit a call of C{func(*args, **kwargs)}; fields of the job go through L{options}.

        @param func: C{"module:name"}, then arguments and result are JSON; or a
            callable, then they are whatever can be pickled.
        """
        return self._submit([specs.call(func, args, kwargs)])[0]

    def map(
        self, func: str | Callable[..., Any], *iterables: Iterable[Any], timeout: float | None = None, ahead: int = 1000
    ) -> Iterator[Any]:
        """
        Call C{func} for each item and yield the results in the order of the
        items. The first C{ahead} are submitted at once, the others as results
        are taken.

        @param timeout: seconds from now until the last result.
        @raise Exception: as L{Job.result}, in the place of that result.
        """
        calls = (specs.call(func, args, {}) for args in zip(*iterables, strict=False))
        return ordered_results(self._submit_parts, self._drop, calls, timeout, ahead)

    def _submit(self, jobs: Iterable[Spec]) -> Jobs:
        return self._accepted(specs.batch(self._finished(jobs)))

    def _submit_parts(self, jobs: Iterable[Spec]) -> Jobs:
        return [job for part in specs.batches(self._finished(jobs)) for job in self._accepted(part)]

    def _finished(self, jobs: Iterable[Spec]) -> Iterator[dict[str, Any]]:
        connection = self._connection
        cwd = connection.cwd
        return (specs.finish(job, self._fields, connection.keys, cwd) for job in jobs)

    def _accepted(self, batch: specs.Batch) -> Jobs:
        notified = iter(batch.notified)

        def made(job: int) -> Job:
            new = Job(self, job)
            if next(notified):
                self._connection.book.expect(job, new.done)
            return new

        return self._connection.submit(batch, made)

    def _drop(self, jobs: Jobs) -> None:
        """Nobody will take the results of these: those that have not begun need not begin."""
        with contextlib.suppress(JobdError):
            self.cancel({"ids": format_ids(sorted(job.id for job in jobs)), "state": ["waiting", "queued"]})

    # Waiting.

    def job(self, job: int) -> Job:
        """The job with this id, whoever submitted it; nothing is asked yet."""
        return Job(self, commands.job_id(job))

    def wait(self, jobs: Iterable[JobLike], timeout: float | None = None) -> Outcomes:
        """
        Wait until all of these have ended, however they ended; their outcomes in the order of the jobs.

        @raise WaitTimeout: not all have within C{timeout} seconds; they go on.
        @raise NoSuchJob: one is not there, or no longer kept.
        """
        mine = self._ask_for(jobs)
        _, late = futures.wait([job.done for job in mine], timeout, futures.FIRST_EXCEPTION)
        for job in mine:
            if job.done.done():
                outcome_of(job)  # raises if nobody will tell
        if late:
            raise WaitTimeout(f"{len(late)} of {len(mine)} jobs have not ended within {timeout:g} s")
        return [outcome_of(job) for job in mine]

    def as_completed(self, jobs: Iterable[JobLike], timeout: float | None = None) -> Iterator[Job]:
        """
        The jobs, each as soon as it has ended.

        @raise WaitTimeout: the next has not within C{timeout} seconds from the start.
        """
        mine = self._ask_for(jobs)
        by_future = {job.done: job for job in mine}
        try:
            for future in futures.as_completed(by_future, timeout):
                yield by_future[future]
        except futures.TimeoutError:
            raise WaitTimeout(f"not all of {len(mine)} jobs have ended within {timeout:g} s") from None

    def _ask_for(self, jobs: Iterable[JobLike]) -> Jobs:
        mine = [job if isinstance(job, Job) else self.job(commands.job_id(job)) for job in jobs]
        self._connection.ask_for((job.id, job.done) for job in mine if not job.done.done())
        return mine

    def watch(self, since: int | None = None, *, progress: bool = False) -> Iterator[Outcome | Event]:
        """
        Every finish from a cursor on, none skipped or repeated, also over
        lost connections; without C{since}, from now on. It has a connection
        of its own and never ends by itself.

        @param progress: also what running jobs report, as L{Event}s with the state C{progress}.
        @raise Gone: events that old are no longer kept.
        """
        return reading.watch(self._stream(Watch(since, progress=progress)))

    def follow(self, jobs: Selector, stream: str = "both", start: int = 0) -> Iterator[Output | Outcome | Event]:
        """
        What jobs write, as they write it, and each one's outcome after its
        last output; it ends when all have ended.

        @param stream: C{"stdout"}, C{"stderr"} or C{"both"}.
        @param start: the byte to begin at; negative: from the end.
        """
        ids = [commands.job_id(job) for job in self._resolve(jobs)]
        stream_ = Follow(ids, stream=stream, start=start)
        return reading.follow(self._stream(stream_), stream_)

    def _stream(self, stream: Stream) -> Session:
        connection = self._connection
        session = Session(
            connection.target,
            stream=stream,
            timeout=connection.timeout,
            patience=connection.patience,
            liveness=connection.liveness,
        )
        return reading.open_stream(session)

    def _resolve(self, jobs: Selector) -> list[JobLike]:
        if isinstance(jobs, str | Mapping):
            return [int(shown["id"]) for shown in self._do(commands.show_all(jobs))]
        return list(jobs) if isinstance(jobs, Iterable) else [jobs]

    # Looking and steering.

    def show(self, job: JobLike) -> dict[str, Any]:
        """All there is to know about one job."""
        return self._do(commands.show(job))

    def list(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """
        Jobs in short, by C{state}, C{queue}, C{group}, C{label}, C{key} or C{ids};
        oldest first, or newest first with C{newest=True}; with C{limit=} no more than so many.
        """
        listing = commands.Listing(filters, filters.pop("limit", None))
        while (command := listing.next()) is not None:
            yield from listing.take(self._do(command))

    def why(self, job: JobLike) -> str:
        """In one line what a job waits for, or how it ended."""
        return self._do(commands.why(job))

    def cancel(self, jobs: Selector) -> int:
        """End jobs that have not ended; how many will end by this."""
        return self._do(commands.cancel(jobs))

    def retry(self, jobs: Selector) -> Jobs:
        """Submit ended jobs again, as new jobs."""
        return [Job(self, job) for job in self._do(commands.retry(jobs))]

    def output(
        self,
        job: JobLike,
        stream: str = "stdout",
        *,
        start: int = 0,
        limit: int | None = None,
        attempt: int | None = None,
    ) -> bytes:
        """What a job has written so far, from a byte on (negative: from the end), C{limit} bytes at most."""
        return b"".join(reading.parts(self._do, job, stream, start, limit, attempt))

    def progress(
        self, job: JobLike, *, done: float | None = None, total: float | None = None, text: str | None = None
    ) -> None:
        """Report how far a job is; inside a job L{jobd.progress} is simpler."""
        self._do(commands.progress(job, done, total, text))

    def queue(self, name: str, **settings: Any) -> dict[str, Any]:
        """A queue; with C{limit=} or C{paused=} it is set first."""
        return self._do(commands.queue(name, settings))

    def pause(self, queue: str = "") -> None:
        """Start no more jobs of this queue, or of any."""
        self._do(commands.pause(queue))

    def resume(self, queue: str = "") -> None:
        """Undo L{pause}."""
        self._do(commands.resume(queue))

    def stats(self) -> dict[str, Any]:
        """What the daemon is doing."""
        return self._do(commands.stats())

    def hello(self) -> dict[str, Any]:
        """The daemon's version and limits, and who we are to it."""
        return self._do(commands.hello())

    def drain(self, keep_running: bool = False) -> int:
        """Have the daemon stop once its running jobs have ended; how many those are."""
        return self._do(commands.drain(keep_running))

    def ping(self) -> float:
        """Seconds that a reply takes."""
        start = time.perf_counter()
        self._do(commands.ping("jobd"))
        return time.perf_counter() - start

    def _do(self, command: Command[T]) -> T:
        return self._connection.do(command)
