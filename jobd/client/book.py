"""
Who waits for what: between the core, which knows requests and events, and a
client's own kind of futures. The blocking, the asyncio and the Twisted client
share it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from jobd.client.commands import Command
from jobd.client.core import Event, Forgotten, Greeting, Item, Reply, Request
from jobd.client.ids import chunks, format_ids, parse_ids
from jobd.client.outcome import FINAL, Outcome
from jobd.client.specs import Batch
from jobd.errors import JobdError

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Promise(Protocol[T_contra]):
    """What futures of every kind have in common."""

    def done(self) -> bool: ...
    def set_result(self, result: T_contra, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


Settle = Callable[[Reply], None]


class Book:
    """
    The futures of one client.

    @ivar greeted: gets, at the first greeting, whether the daemon is on this machine.
    @ivar cursor: the highest cursor seen.
    """

    def __init__(self, greeted: Promise[bool]) -> None:
        self.greeted = greeted
        self.cursor = 0
        self._waiting: dict[int, list[Promise[Outcome]]] = {}
        # In the blocking client others than the connection's thread enter futures.
        self._guard = threading.Lock()

    # Requests whose replies find their futures.

    def request(self, command: Command[T], done: Promise[T]) -> Request:
        """A command; its reply, as the command reads it, goes to C{done}."""
        return command.request(_settle(done, command.read))

    def submission(self, batch: Batch, made: Callable[[int], T], done: Promise[list[T]], *, again: bool) -> Request:
        """
        A submission; C{done} gets what C{made} makes of each id, before any
        event of those jobs is handled.
        """
        return batch.request(_settle(done, lambda text: [made(job) for job in parse_ids(text)]), again=again)

    def expect(self, job: int, done: Promise[Outcome]) -> None:
        """This future gets the outcome that will be announced anyway."""
        with self._guard:
            self._waiting.setdefault(job, []).append(done)

    def ask_for(self, jobs: Iterable[tuple[int, Promise[Outcome]]]) -> list[Request]:
        """These futures get the outcomes of their jobs; the requests for those that nobody has asked for yet."""
        new: list[int] = []
        with self._guard:
            for job, done in jobs:
                waiting = self._waiting.get(job)
                if waiting is None:
                    self._waiting[job] = [done]
                    new.append(job)
                elif not any(other is done for other in waiting):
                    waiting.append(done)
        return [Request("wait", format_ids(ids), waits=ids, context=self._refusal(ids)) for ids in chunks(sorted(new))]

    def _refusal(self, ids: Iterable[int]) -> Settle:
        def settle(reply: Reply) -> None:
            if reply.error is not None:
                for job in ids:
                    self._fail(job, reply.error)

        return settle

    # What comes.

    def deliver(self, items: list[Item]) -> None:
        """These came, in this order."""
        for item in items:
            if isinstance(item, Event):
                self.cursor = max(self.cursor, item.cursor)
                if item.state in FINAL:
                    self._finish(item)
            elif isinstance(item, Forgotten):
                self._fail(item.job, item.error)
            elif isinstance(item, Greeting):
                if item.anew:
                    self.cursor = 0
                if not self.greeted.done():
                    self.greeted.set_result(item.local)
            else:
                settle: Settle = item.request.context
                settle(item)

    def refused(self, request: Request, error: JobdError) -> None:
        """No reply to this request will ever come."""
        settle: Settle = request.context
        settle(Reply(request, "", error))

    def ended(self, error: JobdError) -> None:
        """Nothing more will come."""
        if not self.greeted.done():
            self.greeted.set_exception(error)
        with self._guard:
            left = list(self._waiting)
        for job in left:
            self._fail(job, error)

    def _finish(self, event: Event) -> None:
        with self._guard:
            waiting = self._waiting.pop(event.job, ())
        outcome = Outcome(event.job, event.cursor, event.state, event.data)
        for done in waiting:
            if not done.done():
                done.set_result(outcome)

    def _fail(self, job: int, error: JobdError) -> None:
        with self._guard:
            waiting = self._waiting.pop(job, ())
        for done in waiting:
            if not done.done():
                done.set_exception(error)


def _settle(done: Promise[T], read: Callable[[str], T]) -> Settle:
    def settle(reply: Reply) -> None:
        # Also when nobody waits any more: reading a submission's ids enters its jobs.
        error: Any = reply.error
        result: Any = None
        if error is None:
            try:
                result = read(reply.text)
            except (ValueError, KeyError, JobdError) as problem:
                error = problem if isinstance(problem, JobdError) else _unexpected(reply)
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    return settle


def _unexpected(reply: Reply) -> JobdError:
    request = reply.request.line[:60].decode("utf-8", "replace").rstrip()
    return JobdError(
        f"the daemon gave an answer to {request!r} that this client does not understand: {reply.text[:60]!r}"
    )
