"""
The asyncio client: C{await jobd.aio.connect()}. Its methods are those of the
blocking client as coroutines; C{watch}, C{follow}, C{as_completed} and C{map}
are asynchronous iterators. Use it in one event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar, overload

from jobd.client import commands, specs
from jobd.client.aiojobs import Job
from jobd.client.aiolink import Inbox, Link
from jobd.client.book import Book
from jobd.client.commands import Command, JobLike, Selector
from jobd.client.core import Event, Request, Stream
from jobd.client.liveness import LIVENESS, PATIENCE, Manners
from jobd.client.outcome import FINAL, Outcome
from jobd.client.reading import Output, told
from jobd.client.specs import Spec
from jobd.client.streams import Follow, Watch
from jobd.client.url import locate
from jobd.errors import ConnectionProblem, WaitTimeout

T = TypeVar("T")


async def connect(
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
    A client of the daemon at C{url}; everything as in L{jobd.connect}.

    @raise ConnectionProblem: it cannot be reached.
    """
    target = locate(url, token=token, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
    patience = PATIENCE if reconnect is True else float(reconnect)
    greeted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    book = Book(greeted)
    # Until it has greeted us, one that hangs up will not do better the next time.
    link = Link(target, book, timeout=timeout, patience=0, liveness=liveness)
    client = Client(link, book, Manners(timeout, patience, liveness))
    await client._open(greeted)
    return client


# Inside the client "list" is a method.
Jobs = list[Job]
Outcomes = list[Outcome]


class Client:
    """One connection to a daemon; get it from L{connect}. It is an asynchronous context manager that closes it."""

    def __init__(self, link: Link, book: Book, manners: Manners, fields: Spec | None = None) -> None:
        self._link = link
        self._book = book
        self._manners = manners
        self._fields = dict(fields or {})
        self._keys = specs.Keys() if manners.patience > 0 else None
        self._local = False

    async def _open(self, greeted: asyncio.Future[bool]) -> None:
        await self._link.open()
        try:
            self._local = await asyncio.wait_for(greeted, self._manners.timeout)
        except asyncio.TimeoutError:
            await self.close()
            raise ConnectionProblem(f"{self.url} accepts connections but does not answer; is it jobd?") from None
        except BaseException:
            await self.close()
            raise
        self._link.patience = self._manners.patience

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; jobs go on. Whoever still waits gets a L{ConnectionProblem}."""
        self._link.close()
        await asyncio.sleep(0)

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
    async def submit(self, jobs: Spec) -> Job: ...
    @overload
    async def submit(self, jobs: Sequence[Spec]) -> Jobs: ...
    async def submit(self, jobs: Spec | Sequence[Spec]) -> Job | Jobs:
        """Submit one job or several, all or none."""
        if isinstance(jobs, Mapping):
            return (await self._submit([jobs]))[0]
        return await self._submit(jobs) if jobs else []

    async def run(self, *argv: Any, **fields: Any) -> Job:
        """Submit a command."""
        return (await self._submit([{**fields, "argv": specs.argv(argv)}]))[0]

    async def shell(self, line: str, **fields: Any) -> Job:
        """Submit a line for the shell."""
        return (await self._submit([{**fields, "shell": line}]))[0]

    async def call(self, func: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Job:
        """Submit a call, of C{"module:name"} or of a callable."""
        return (await self._submit([specs.call(func, args, kwargs)]))[0]

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

    async def _submit(self, jobs: Iterable[Spec]) -> Jobs:
        return await self._accepted(specs.batch(self._finished(jobs)))

    def _finished(self, jobs: Iterable[Spec]) -> Iterable[dict[str, Any]]:
        cwd = os.getcwd() if self._local else None
        return (specs.finish(job, self._fields, self._keys, cwd) for job in jobs)

    async def _accepted(self, batch: specs.Batch) -> Jobs:
        notified = iter(batch.notified)

        def made(job: int) -> Job:
            new = Job(self, job)
            if next(notified):
                self._book.expect(job, new.done)
            return new

        done: asyncio.Future[Jobs] = asyncio.get_running_loop().create_future()
        return await self._reply(self._book.submission(batch, made, done, again=self._keys is not None), done)

    # Waiting.

    def job(self, job: int) -> Job:
        """The job with this id; nothing is asked yet."""
        return Job(self, commands.job_id(job))

    async def wait(self, jobs: Iterable[JobLike], timeout: float | None = None) -> Outcomes:
        """
        Wait until all of these have ended; their outcomes in the order of the jobs.

        @raise WaitTimeout: not all have within C{timeout} seconds; they go on.
        """
        mine = self._ask_for(jobs)
        # The futures belong to all who wait: one who gives up must not cancel them.
        everything = asyncio.gather(*(asyncio.shield(job.done) for job in mine))
        try:
            return list(await asyncio.wait_for(everything, timeout))
        except asyncio.TimeoutError:
            late = sum(not job.done.done() for job in mine)
            raise WaitTimeout(f"{late} of {len(mine)} jobs have not ended within {timeout:g} s") from None

    async def as_completed(self, jobs: Iterable[JobLike], timeout: float | None = None) -> AsyncIterator[Job]:
        """The jobs, each as soon as it has ended; C{timeout} seconds at most for each."""
        by_future = {job.done: job for job in self._ask_for(jobs)}
        while by_future:
            ended, _ = await asyncio.wait(by_future, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                raise WaitTimeout(f"none of {len(by_future)} jobs has ended within {timeout:g} s")
            for done in ended:
                yield by_future.pop(done)

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
        inbox = Inbox()
        link = Link(self._link.target, inbox, **self._manners._asdict(), stream=stream)
        await link.open()
        try:
            while True:
                yield await inbox.next()
        finally:
            link.close()

    # Looking and steering.

    async def show(self, job: JobLike) -> dict[str, Any]:
        """All there is to know about one job."""
        return await self._do(commands.show(job))

    async def list(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Jobs in short, as L{jobd.client.blocking.Client.list}."""
        listing = commands.Listing(filters, filters.pop("limit", None))
        while (command := listing.next()) is not None:
            for job in listing.take(await self._do(command)):
                yield job

    async def why(self, job: JobLike) -> str:
        """In one line what a job waits for, or how it ended."""
        return await self._do(commands.why(job))

    async def cancel(self, jobs: Selector) -> int:
        """End jobs that have not ended; how many will end by this."""
        return await self._do(commands.cancel(jobs))

    async def retry(self, jobs: Selector) -> Jobs:
        """Submit ended jobs again, as new jobs."""
        return [Job(self, job) for job in await self._do(commands.retry(jobs))]

    async def output(
        self,
        job: JobLike,
        stream: str = "stdout",
        *,
        start: int = 0,
        limit: int | None = None,
        attempt: int | None = None,
    ) -> bytes:
        """What a job has written so far, from a byte on, C{limit} bytes at most."""
        reading = commands.Reading(job, stream, start, limit, attempt)
        parts = []
        while (command := reading.next()) is not None:
            parts.append(reading.take(await self._do(command)))
        return b"".join(parts)

    async def progress(
        self, job: JobLike, *, done: float | None = None, total: float | None = None, text: str | None = None
    ) -> None:
        """Report how far a job is."""
        await self._do(commands.progress(job, done, total, text))

    async def queue(self, name: str, **settings: Any) -> dict[str, Any]:
        """A queue; with C{limit=} or C{paused=} it is set first."""
        return await self._do(commands.queue(name, settings))

    async def pause(self, queue: str = "") -> None:
        """Start no more jobs of this queue, or of any."""
        await self._do(commands.pause(queue))

    async def resume(self, queue: str = "") -> None:
        """Undo L{pause}."""
        await self._do(commands.resume(queue))

    async def stats(self) -> dict[str, Any]:
        """What the daemon is doing."""
        return await self._do(commands.stats())

    async def hello(self) -> dict[str, Any]:
        """The daemon's version and limits, and who we are to it."""
        return await self._do(commands.hello())

    async def drain(self, keep_running: bool = False) -> int:
        """Have the daemon stop once its running jobs have ended; how many those are."""
        return await self._do(commands.drain(keep_running))

    async def ping(self) -> None:
        """Return when all that was asked for before has been handled."""
        await self._do(commands.ping(""))

    async def _do(self, command: Command[T]) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        return await self._reply(self._book.request(command, done), done)

    async def _reply(self, request: Request, done: asyncio.Future[T]) -> T:
        self._link.send(request)
        try:
            return await asyncio.wait_for(done, self._manners.timeout)
        except asyncio.TimeoutError:
            raise WaitTimeout(f"{self.url} did not answer within {self._manners.timeout:g} s") from None
