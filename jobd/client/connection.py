"""
What stands between the blocking client and its channel: who waits for which
reply and for which job.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent import futures
from concurrent.futures import Future
from typing import TypeVar

from jobd.client import commands
from jobd.client.channel import Channel
from jobd.client.commands import Command
from jobd.client.core import Core, Event, Forgotten, Item, Reply, Request
from jobd.client.ids import chunks, format_ids, parse_ids
from jobd.client.outcome import FINAL, Outcome
from jobd.client.specs import Batch, Keys
from jobd.client.url import Target
from jobd.errors import ConnectionProblem, JobdError, WaitTimeout

T = TypeVar("T")

Settle = Callable[[Reply], None]


class Connection:
    """
    Requests from any thread; finish events to the futures that wait for them.

    @ivar keys: random keys for submissions, if a lost connection is made again.
    @ivar cwd: where jobs run that do not say: this process's current folder,
        if the daemon is on the same machine.
    @ivar cursor: the highest cursor seen.
    """

    def __init__(self, target: Target, *, timeout: float, patience: float) -> None:
        self.target = target
        self.timeout = timeout
        self.patience = patience
        self.keys = Keys() if patience > 0 else None
        self.cursor = 0
        self._local = False
        self._channel = Channel(target, self, timeout=timeout, patience=patience)
        self._waiting: dict[int, list[Future[Outcome]]] = {}
        self._guard = threading.Lock()

    @property
    def cwd(self) -> str | None:
        return os.getcwd() if self._local else None

    def open(self) -> None:
        """
        Connect and greet.

        @raise ConnectionProblem: it cannot be reached, or is not a jobd.
        """
        self._channel.open()
        try:
            self._local = bool(self.do(commands.hello()).get("local", self.target.path))
        except WaitTimeout:
            self.close()
            raise ConnectionProblem(f"{self.target.url} accepts connections but does not answer; is it jobd?") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._channel.close(self.timeout)

    # For the callers, from any thread.

    def do(self, command: Command[T]) -> T:
        """
        Send a command and wait for its reply.

        @raise JobdError: what the daemon answered, or that it did not.
        """
        done: Future[str] = Future()

        def settle(reply: Reply) -> None:
            if reply.error is not None:
                done.set_exception(reply.error)
            else:
                done.set_result(reply.text)

        return command.read(self._wait_for(command.request(settle), done))

    def submit(self, batch: Batch, made: Callable[[int, bool], T]) -> list[T]:
        """
        Submit jobs and wait until they are accepted.

        @param made: makes the job object from the id and whether its finish
            will be announced; called before any event of that job is handled.
        """
        done: Future[list[T]] = Future()

        def settle(reply: Reply) -> None:
            if reply.error is not None:
                done.set_exception(reply.error)
            else:
                pairs = zip(parse_ids(reply.text), batch.notified, strict=True)
                done.set_result([made(job, announced) for job, announced in pairs])

        return self._wait_for(batch.request(settle, again=self.keys is not None), done)

    def _wait_for(self, request: Request, done: Future[T]) -> T:
        if self._channel.inside:
            raise ConnectionProblem("a callback of this client runs in its own thread and must not wait for a reply")
        self._channel.send(request)
        try:
            return done.result(self.timeout)
        except futures.TimeoutError:
            raise WaitTimeout(f"{self.target.url} did not answer within {self.timeout:g} s") from None

    def expect(self, job: int, done: Future[Outcome]) -> None:
        """This future is to get the outcome that will be announced anyway."""
        with self._guard:
            self._waiting.setdefault(job, []).append(done)

    def ask_for(self, jobs: Iterable[tuple[int, Future[Outcome]]]) -> None:
        """These futures are to get their jobs' outcomes; what nobody has asked for yet is asked for."""
        new: list[int] = []
        with self._guard:
            for job, done in jobs:
                waiting = self._waiting.get(job)
                if waiting is None:
                    self._waiting[job] = [done]
                    new.append(job)
                elif done not in waiting:
                    waiting.append(done)
        for ids in chunks(sorted(new)):
            self._channel.send(Request("wait", format_ids(ids), waits=ids, context=self._asked(ids)))

    def _asked(self, ids: Iterable[int]) -> Settle:
        def settle(reply: Reply) -> None:
            if reply.error is not None:
                for job in ids:
                    self._fail(job, reply.error)

        return settle

    # For the channel, from its thread.

    def deliver(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, Event):
                self.cursor = max(self.cursor, item.cursor)
                if item.state in FINAL:
                    self._finish(item)
            elif isinstance(item, Forgotten):
                self._fail(item.job, item.error)
            else:
                settle: Settle = item.request.context
                settle(item)

    def refused(self, request: Request, error: JobdError) -> None:
        settle: Settle = request.context
        settle(Reply(request, "", error))

    def ended(self, error: JobdError) -> None:
        with self._guard:
            left, self._waiting = list(self._waiting), self._waiting
        for job in left:
            self._fail(job, error)

    def feed(self, core: Core) -> bool:
        return True

    def _finish(self, event: Event) -> None:
        with self._guard:
            waiting = self._waiting.pop(event.job, ())
        outcome = Outcome(event.job, event.cursor, event.state, event.data)
        for done in waiting:
            done.set_result(outcome)

    def _fail(self, job: int, error: JobdError) -> None:
        with self._guard:
            waiting = self._waiting.pop(job, ())
        for done in waiting:
            done.set_exception(error)
