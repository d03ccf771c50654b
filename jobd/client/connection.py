"""The blocking client's connection: a book of futures, and the channel that fills it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent import futures
from concurrent.futures import Future
from typing import TypeVar

from jobd.client.book import Book
from jobd.client.channel import Channel
from jobd.client.commands import Command
from jobd.client.core import Core, Item, Request
from jobd.client.outcome import Outcome
from jobd.client.specs import Batch, Keys
from jobd.client.url import Target
from jobd.errors import ConnectionProblem, JobdError, WaitTimeout

T = TypeVar("T")


class Connection:
    """
    Requests from any thread; finish events to the futures that wait for them.

    @ivar book: the futures.
    @ivar keys: random keys for submissions, if a lost connection is made again.
    """

    def __init__(self, target: Target, *, timeout: float, patience: float, liveness: float) -> None:
        self.target = target
        self.timeout = timeout
        self.patience = patience
        self.liveness = liveness
        self.keys = Keys() if patience > 0 else None
        self._greeted: Future[bool] = Future()
        self.book = Book(self._greeted)
        self._local = False
        # Until it has greeted us, one that hangs up will not do better the next time.
        self._channel = Channel(target, self, timeout=timeout, patience=0, liveness=liveness)

    @property
    def cwd(self) -> str | None:
        """Where jobs run that do not say: this process's current folder, if the daemon is on the same machine."""
        return os.getcwd() if self._local else None

    def open(self) -> None:
        """
        Connect, and wait until the daemon has greeted us.

        @raise ConnectionProblem: it cannot be reached, or is not a jobd.
        @raise NotAuthenticated: it wants a token.
        """
        self._channel.open()
        try:
            self._local = self._greeted.result(self.timeout)
        except futures.TimeoutError:
            self.close()
            raise ConnectionProblem(f"{self.target.url} accepts connections but does not answer; is it jobd?") from None
        except BaseException:
            self.close()
            raise
        self._channel.patience = self.patience

    def close(self) -> None:
        self._channel.close(self.timeout)

    # For the callers, from any thread.

    def do(self, command: Command[T]) -> T:
        """
        Send a command and wait for its reply.

        @raise JobdError: what the daemon answered, or that it did not.
        """
        done: Future[T] = Future()
        return self._wait_for(self.book.request(command, done), done)

    def submit(self, batch: Batch, made: Callable[[int], T]) -> list[T]:
        """
        Submit jobs and wait until they are accepted.

        @param made: makes the job object; called before any event of that job is handled.
        """
        done: Future[list[T]] = Future()
        return self._wait_for(self.book.submission(batch, made, done, again=self.keys is not None), done)

    def ask_for(self, jobs: Iterable[tuple[int, Future[Outcome]]]) -> None:
        """These futures are to get the outcomes of their jobs."""
        for request in self.book.ask_for(jobs):
            self._channel.send(request)

    def _wait_for(self, request: Request, done: Future[T]) -> T:
        if self._channel.inside:
            raise ConnectionProblem("a callback of this client runs in its own thread and must not wait for a reply")
        self._channel.send(request)
        try:
            return done.result(self.timeout)
        except futures.TimeoutError:
            raise WaitTimeout(f"{self.target.url} did not answer within {self.timeout:g} s") from None

    # For the channel, from its thread.

    def deliver(self, items: list[Item]) -> None:
        self.book.deliver(items)

    def refused(self, request: Request, error: JobdError) -> None:
        self.book.refused(request, error)

    def ended(self, error: JobdError) -> None:
        self.book.ended(error)

    def feed(self, core: Core) -> bool:
        return True
