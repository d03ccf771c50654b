"""
The Twisted client: C{jobd.tx.connect(reactor)}. Its methods are those of the
blocking client and return Deferreds; C{watch}, C{follow}, C{as_completed},
C{map} and C{list} are asynchronous iterators, for C{async for} in a coroutine.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar, overload

from twisted.internet.defer import Deferred, DeferredQueue, FirstError, gatherResults
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from jobd.client import commands, specs
from jobd.client.book import Book
from jobd.client.commands import Command, JobLike, Selector
from jobd.client.core import Event, Item, Reply, Request, Stream
from jobd.client.liveness import LIVENESS, PATIENCE, Manners
from jobd.client.outcome import FINAL, Outcome
from jobd.client.reading import Output, told
from jobd.client.specs import Spec
from jobd.client.streams import Follow, Watch
from jobd.client.txjobs import Job
from jobd.client.txlink import Link, Promise
from jobd.client.url import locate
from jobd.errors import ConnectionProblem, JobdError, WaitTimeout

T = TypeVar("T")


def connect(
    reactor: Any,
    url: str | None = None,
    *,
    endpoint: IStreamClientEndpoint | None = None,
    token: str | None = None,
    timeout: float = 10.0,
    reconnect: bool | float = True,
    liveness: float = LIVENESS,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> Deferred[Client]:
    """
    A client of the daemon at C{url}; everything as in L{jobd.connect}.

    @param endpoint: connect to this instead; C{url} then only names it in messages.
    @return: fires with the client, or fails with L{ConnectionProblem} or L{UsageError}.
    """
    patience = PATIENCE if reconnect is True else float(reconnect)

    async def opened() -> Client:
        target = locate(url, token=token, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
        greeted: Promise[bool] = Promise()
        book = Book(greeted)
        # Until it has greeted us, one that hangs up will not do better the next time.
        link = Link(reactor, target, book, endpoint=endpoint, timeout=timeout, patience=0, liveness=liveness)
        client = Client(link, book, Manners(timeout, patience, liveness))
        await client._open(greeted)
        return client

    return Deferred.fromCoroutine(opened())


# Inside the client "list" is a method.
Jobs = list[Job]
Outcomes = list[Outcome]


class Client:
    """One connection to a daemon; get it from L{connect}."""

    def __init__(self, link: Link, book: Book, manners: Manners, fields: Spec | None = None) -> None:
        self._link = link
        self._book = book
        self._manners = manners
        self._fields = dict(fields or {})
        self._keys = specs.Keys() if manners.patience > 0 else None
        self._local = False

    async def _open(self, greeted: Promise[bool]) -> None:
        await self._link.open()
        text = f"{self.url} accepts connections but does not answer; is it jobd?"
        late = _late(ConnectionProblem(text))
        try:
            self._local = await greeted.when().addTimeout(self._manners.timeout, self._link.reactor, late)
        except BaseException:
            await self.close()
            raise
        self._link.patience = self._manners.patience

    def close(self) -> Deferred[None]:
        """Close the connection; jobs go on. What still waits fails with L{ConnectionProblem}."""
        return self._link.close()

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._link.target.url

    @property
    def cursor(self) -> int:
        """The highest cursor this client has seen."""
        return self._book.cursor

    def options(self, **fields: Any) -> Client:
        """The same client, with these fields in every job it submits."""
        other = Client(self._link, self._book, self._manners, {**self._fields, **fields})
        other._keys, other._local = self._keys, self._local
        return other

    # Submitting.

    @overload
    def submit(self, jobs: Spec) -> Deferred[Job]: ...
    @overload
    def submit(self, jobs: Sequence[Spec]) -> Deferred[Jobs]: ...
    def submit(self, jobs: Spec | Sequence[Spec]) -> Deferred[Job] | Deferred[Jobs]:
        """Submit one job or several, all or none."""
        if isinstance(jobs, Mapping):
            return self._one(lambda: jobs)
        return Deferred.fromCoroutine(self._submit(lambda: jobs))

    def run(self, *argv: Any, **fields: Any) -> Deferred[Job]:
        """Submit a command."""
        return self._one(lambda: {**fields, "argv": specs.argv(argv)})

    def shell(self, line: str, **fields: Any) -> Deferred[Job]:
        """Submit a line for the shell."""
        return self._one(lambda: {**fields, "shell": line})

    def call(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Deferred[Job]:
        """Submit a call, of C{"module:name"} or of a callable."""
        return self._one(lambda: specs.call(func, args, kwargs))

    async def map(
        self, func: str | Callable[..., Any], *iterables: Iterable[Any], ahead: int = 1000
    ) -> AsyncIterator[Any]:
        """Call C{func} for each item; the results in the order of the items."""
        calls = (specs.call(func, args, {}) for args in zip(*iterables, strict=False))
        window: Jobs = []
        while True:
            step = ahead - len(window) if len(window) <= ahead // 2 else 0
            for part in specs.batches(self._finished(islice(calls, step))):
                window += await self._accepted(part)
            if not window:
                return
            yield await window.pop(0).result()

    def _one(self, make: Callable[[], Spec]) -> Deferred[Job]:
        async def one() -> Job:
            return (await self._submit(lambda: [make()]))[0]

        return Deferred.fromCoroutine(one())

    async def _submit(self, make: Callable[[], Sequence[Spec]]) -> Jobs:
        jobs = make()
        return await self._accepted(specs.batch(self._finished(jobs))) if jobs else []

    def _finished(self, jobs: Iterable[Spec]) -> Iterable[dict[str, Any]]:
        cwd = os.getcwd() if self._local else None
        return (specs.finish(job, self._fields, self._keys, cwd) for job in jobs)

    def _accepted(self, batch: specs.Batch) -> Deferred[Jobs]:
        notified = iter(batch.notified)

        def made(job: int) -> Job:
            new = Job(self, job)
            if next(notified):
                self._book.expect(job, new.done)
            return new

        done: Promise[Jobs] = Promise()
        return self._reply(self._book.submission(batch, made, done, again=self._keys is not None), done)

    # Waiting.

    def job(self, job: int) -> Job:
        """The job with this id; nothing is asked yet."""
        return Job(self, commands.job_id(job))

    def wait(self, jobs: Iterable[JobLike], timeout: float | None = None) -> Deferred[Outcomes]:
        """
        Wait until all of these have ended; their outcomes in the order of the
        jobs. Fails with L{WaitTimeout} if not all have within C{timeout} seconds; they go on.
        """

        async def ended() -> Outcomes:
            mine = self._ask_for(jobs)
            everything = gatherResults([job.done.when() for job in mine], consumeErrors=True)
            if timeout is not None:
                text = f"not all of {len(mine)} jobs have ended within {timeout:g} s"
                everything.addTimeout(timeout, self._link.reactor, _late(WaitTimeout(text)))
            try:
                return list(await everything)
            except FirstError as error:
                error.subFailure.raiseException()
                raise

        return Deferred.fromCoroutine(ended())

    async def as_completed(self, jobs: Iterable[JobLike]) -> AsyncIterator[Job]:
        """The jobs, each as soon as it has ended."""
        mine = self._ask_for(jobs)
        ended: DeferredQueue[Job] = DeferredQueue()
        for job in mine:
            job.done.when().addBoth(partial(_put, ended, job))
        for _ in mine:
            yield await ended.get()

    def _ask_for(self, jobs: Iterable[JobLike]) -> Jobs:
        mine = [job if isinstance(job, Job) else self.job(commands.job_id(job)) for job in jobs]
        for request in self._book.ask_for((job.id, job.done) for job in mine if not job.done.done()):
            self._link.send(request)
        return mine

    async def watch(self, since: int | None = None, *, progress: bool = False) -> AsyncIterator[Outcome | Event]:
        """Every finish from a cursor on, none skipped or repeated; without C{since}, from now on."""
        async for event in self._stream(Watch(since, progress=progress)):
            yield Outcome(event.job, event.cursor, event.state, event.data) if event.state in FINAL else event

    async def follow(
        self, jobs: Selector, stream: str = "both", start: int = 0
    ) -> AsyncIterator[Output | Outcome | Event]:
        """What jobs write, as they write it, and each one's outcome after its last output."""
        if isinstance(jobs, str | Mapping):
            ids = [int(shown["id"]) for shown in await self._do(commands.show_all(jobs))]
        else:
            ids = [commands.job_id(job) for job in (jobs if isinstance(jobs, Iterable) else [jobs])]
        follow = Follow(ids, stream=stream, start=start)
        left = follow.total
        async for event in self._stream(follow):
            yield told(event)
            left -= event.state in FINAL
            if not left:
                return

    async def _stream(self, stream: Stream) -> AsyncIterator[Event]:
        inbox = _Inbox()
        mine = self._link
        link = Link(
            mine.reactor,
            mine.target,
            inbox,
            endpoint=mine.endpoint,
            **self._manners._asdict(),
            stream=stream,
        )
        await link.open()
        try:
            while True:
                item = await inbox.queue.get()
                if isinstance(item, JobdError):
                    raise item
                yield item
        finally:
            link.close()

    # Looking and steering.

    def show(self, job: JobLike) -> Deferred[dict[str, Any]]:
        """All there is to know about one job."""
        return self._do(commands.show(job))

    async def list(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Jobs in short, as L{jobd.client.blocking.Client.list}."""
        listing = commands.Listing(filters, filters.pop("limit", None))
        while (command := listing.next()) is not None:
            for job in listing.take(await self._do(command)):
                yield job

    def why(self, job: JobLike) -> Deferred[str]:
        """In one line what a job waits for, or how it ended."""
        return self._do(commands.why(job))

    def cancel(self, jobs: Selector) -> Deferred[int]:
        """End jobs that have not ended; how many will end by this."""
        return self._do(commands.cancel(jobs))

    def retry(self, jobs: Selector) -> Deferred[Jobs]:
        """Submit ended jobs again, as new jobs."""
        return self._do(commands.retry(jobs)).addCallback(lambda ids: [Job(self, job) for job in ids])

    def output(
        self,
        job: JobLike,
        stream: str = "stdout",
        *,
        start: int = 0,
        limit: int | None = None,
        attempt: int | None = None,
    ) -> Deferred[bytes]:
        """What a job has written so far, from a byte on, C{limit} bytes at most."""

        async def read() -> bytes:
            reading = commands.Reading(job, stream, start, limit, attempt)
            parts = []
            while (command := reading.next()) is not None:
                parts.append(reading.take(await self._do(command)))
            return b"".join(parts)

        return Deferred.fromCoroutine(read())

    def progress(
        self, job: JobLike, *, done: float | None = None, total: float | None = None, text: str | None = None
    ) -> Deferred[None]:
        """Report how far a job is."""
        return self._do(commands.progress(job, done, total, text))

    def queue(self, name: str, **settings: Any) -> Deferred[dict[str, Any]]:
        """A queue; with C{limit=} or C{paused=} it is set first."""
        return self._do(commands.queue(name, settings))

    def pause(self, queue: str = "") -> Deferred[None]:
        """Start no more jobs of this queue, or of any."""
        return self._do(commands.pause(queue))

    def resume(self, queue: str = "") -> Deferred[None]:
        """Undo L{pause}."""
        return self._do(commands.resume(queue))

    def stats(self) -> Deferred[dict[str, Any]]:
        """What the daemon is doing."""
        return self._do(commands.stats())

    def hello(self) -> Deferred[dict[str, Any]]:
        """The daemon's version and limits, and who we are to it."""
        return self._do(commands.hello())

    def drain(self, keep_running: bool = False) -> Deferred[int]:
        """Have the daemon stop once its running jobs have ended; how many those are."""
        return self._do(commands.drain(keep_running))

    def ping(self) -> Deferred[str]:
        """Fires when all that was asked for before has been handled."""
        return self._do(commands.ping(""))

    def _do(self, command: Command[T]) -> Deferred[T]:
        done: Promise[T] = Promise()
        return self._reply(self._book.request(command, done), done)

    def _reply(self, request: Request, done: Promise[T]) -> Deferred[T]:
        reply = done.when()
        try:
            self._link.send(request)
        except JobdError as error:
            done.set_exception(error)
        seconds = self._manners.timeout
        late = WaitTimeout(f"{self.url} did not answer within {seconds:g} s")
        return reply.addTimeout(seconds, self._link.reactor, _late(late))


def _late(error: JobdError) -> Callable[[Any, float], Any]:
    def late(result: Any, seconds: float) -> Any:
        return Failure(error)

    return late


def _put(ended: DeferredQueue[Job], job: Job, result: Any) -> None:
    ended.put(job)


class _Inbox:
    """The events of one stream, for the one who iterates over it."""

    def __init__(self) -> None:
        self.queue: DeferredQueue[Event | JobdError] = DeferredQueue()

    def deliver(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, Event):
                self.queue.put(item)
            elif isinstance(item, Reply) and item.error is not None:
                self.queue.put(item.error)

    def refused(self, request: Request, error: JobdError) -> None:
        """Its requests are the stream's own, which are repeated."""

    def ended(self, error: JobdError) -> None:
        self.queue.put(error)
