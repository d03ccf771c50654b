"""
What works behind an L{jobd.client.executor.Executor}: the calls that wait
here, those the daemon has, and the futures of both.

All of it happens in the channel's thread but entering, withdrawing and
closing; what those share with it is under one lock.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from jobd.client import pickling, specs
from jobd.client.channel import Channel
from jobd.client.core import MAX_LINE, Core, Event, Forgotten, Item, Reply, Request
from jobd.client.ids import chunks, format_ids, parse_ids
from jobd.client.liveness import PATIENCE
from jobd.client.outcome import FINAL, Outcome
from jobd.client.url import Target
from jobd.errors import JobdError, TooLong

T = TypeVar("T")

TIMEOUT = 10.0
"""Seconds that a connection or the reply to a cancellation may take."""

_UNSTARTED = ["waiting", "queued"]


class JobFuture(Future[T]):
    """
    The future of a call.

    @ivar job: the id of its job, once the daemon has accepted it.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.job: int | None = None
        self.key = ""
        # Guarded by the engine: it was sent, or never will be.
        self.handed = False
        self.withdrawn = False

    def cancel(self) -> bool:
        """
        Cancel the call unless it has been started. That may take a round trip
        to the daemon; inside a callback of a future, where nothing can be
        waited for, only a call that has not been sent can be cancelled.
        """
        if self.done():
            return self.cancelled()
        if self._engine.withdraw(self):
            self.give_up()
        elif self.handed:
            self._engine.cancel(self)
        return self.cancelled()

    def running(self) -> bool:
        """Whether the daemon has it and it has not ended."""
        return self.handed and not self.done()

    def give_up(self) -> None:
        """It is cancelled, and whoever waits is told."""
        if super().cancel():
            with contextlib.suppress(RuntimeError):  # somebody was told already
                self.set_running_or_notify_cancel()


class _Call:
    __slots__ = ("future", "text")

    def __init__(self, future: JobFuture[Any], text: str) -> None:
        self.future = future
        self.text = text


class Engine:
    """
    Calls on their way.

    @param most: how many the daemon has at a time.
    """

    def __init__(self, target: Target, most: int, liveness: float) -> None:
        self._most = most
        self._keys = specs.Keys()
        self._greeted: Future[bool] = Future()
        self._channel = Channel(target, self, timeout=TIMEOUT, patience=0, liveness=liveness)
        self._tail = "}"
        self._guard = threading.Lock()
        self._queue: deque[_Call] = deque()
        self._closing = False
        self._failure: JobdError | None = None
        # Only in the channel's thread:
        self._unanswered: set[JobFuture[Any]] = set()
        self._accepted: dict[int, JobFuture[Any]] = {}
        self._dropping = False
        self._drop_asked = False

    def open(self, fields: Mapping[str, Any]) -> None:
        """
        Connect.

        @param fields: of every job.
        @raise JobdError: it cannot be reached, or a field is no JSON.
        """
        self._channel.open()
        try:
            cwd = os.getcwd() if self._greeted.result(TIMEOUT) else None
            common = specs.encode(specs.finish(fields, {}, None, cwd))[1:-1]
        except BaseException:
            self._channel.close()
            raise
        self._channel.patience = PATIENCE
        self._tail = f", {common}}}" if common else "}"
        _live.add(self)

    # From any thread.

    def check_open(self) -> None:
        """
        @raise RuntimeError: it has been shut down.
        @raise ConnectionProblem: the daemon is gone.
        """
        if self._closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._failure is not None:
            raise self._failure

    def submit(self, future: JobFuture[Any], pickle: str) -> None:
        """
        Enter a call.

        @raise RuntimeError: as L{check_open}.
        """
        future.key = self._keys.next()
        text = f'{{"pickle": "{pickle}", "key": "{future.key}"{self._tail}'
        with self._guard:
            self.check_open()
            if len(text) <= MAX_LINE - 100:
                self._queue.append(_Call(future, text))
        if len(text) > MAX_LINE - 100:
            problem = (
                f"the call and its arguments have {len(pickle)} bytes as a pickle in base64; a line may have {MAX_LINE}"
            )
            future.set_exception(TooLong(problem + "; give large data in files"))
        self._channel.wake()

    def withdraw(self, future: JobFuture[Any]) -> bool:
        """Whether it has not been sent, and now never will be."""
        with self._guard:
            if future.handed:
                return False
            future.withdrawn = True
            return True

    def cancel(self, future: JobFuture[Any]) -> None:
        """Ask the daemon to cancel a call that it has, if it has not started it, and wait for the answer."""
        if self._channel.inside:
            return
        answered: Future[None] = Future()
        which = {"key": future.key} if future.job is None else {"ids": str(future.job)}

        def settle(reply: Reply) -> None:
            if reply.error is None and reply.text != "0":
                future.give_up()
            answered.set_result(None)

        request = Request("cancel", json.dumps({**which, "state": _UNSTARTED}), context=settle)
        with contextlib.suppress(JobdError, FutureTimeout):
            self._channel.send(request)
            answered.result(TIMEOUT)

    def close(self, *, cancel: bool = False) -> None:
        """
        Accept no more, and end when all that was accepted has ended.

        @param cancel: without that which has not been started.
        """
        withdrawn: list[_Call] = []
        with self._guard:
            self._closing = True
            if cancel:
                self._dropping = True
                withdrawn = list(self._queue)
                self._queue.clear()
                for call in withdrawn:
                    call.future.withdrawn = True
        for call in withdrawn:
            call.future.give_up()
        self._channel.wake()

    def join(self) -> None:
        """Wait until it has ended."""
        self._channel.join()

    # For the channel, from its thread.

    def feed(self, core: Core) -> bool:
        if self._dropping and not self._drop_asked:
            self._drop_asked = True
            self._drop(core, list(self._accepted))
        room = self._most - len(self._unanswered) - len(self._accepted)
        while room > 0:
            calls = self._take(min(room, specs.BATCH_JOBS))
            if not calls:
                break
            room -= len(calls)
            self._send(core, calls)
        return not self._closing or bool(self._queue or self._unanswered or self._accepted)

    def _take(self, most: int) -> list[_Call]:
        """The next calls for one line; from now on they can no longer be withdrawn."""
        calls: list[_Call] = []
        size = 0
        with self._guard:
            while self._queue and len(calls) < most and (not calls or size + len(self._queue[0].text) < MAX_LINE // 2):
                call = self._queue.popleft()
                if call.future.withdrawn:
                    continue
                call.future.handed = True
                size += len(call.text) + 2
                calls.append(call)
        return calls

    def _send(self, core: Core, calls: list[_Call]) -> None:
        sent = [call.future for call in calls]
        self._unanswered.update(sent)

        def settle(reply: Reply) -> None:
            self._unanswered.difference_update(sent)
            if reply.error is not None:
                for future in sent:
                    future.set_exception(reply.error)
                return
            ids = parse_ids(reply.text)
            for job, future in zip(ids, sent, strict=True):
                future.job = job
                self._accepted[job] = future
            if self._dropping:
                self._drop(core, ids)

        batch = specs.Batch([call.text for call in calls], [True] * len(calls))
        core.send(batch.request(settle))

    def _drop(self, core: Core, ids: list[int]) -> None:
        """Have these cancelled where they have not been started; their finish events tell which."""
        for part in chunks(sorted(ids)):
            argument = json.dumps({"ids": format_ids(part), "state": _UNSTARTED})
            core.send(Request("cancel", argument, context=lambda reply: None))

    def deliver(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, Event):
                if item.state in FINAL:
                    self._finish(item)
            elif isinstance(item, Reply):
                item.request.context(item)
            elif isinstance(item, Forgotten):
                self._forgotten(item)
            elif not self._greeted.done():
                self._greeted.set_result(item.local)

    def _finish(self, event: Event) -> None:
        future = self._accepted.pop(event.job, None)
        if future is None or future.done():
            return
        if event.state == "cancelled":
            future.give_up()
            return
        outcome = Outcome(event.job, event.cursor, event.state, event.data)
        try:
            result = pickling.value(outcome)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _forgotten(self, item: Forgotten) -> None:
        future = self._accepted.pop(item.job, None)
        if future is not None and not future.done():
            future.set_exception(item.error)

    def refused(self, request: Request, error: JobdError) -> None:
        request.context(Reply(request, "", error))

    def ended(self, error: JobdError) -> None:
        if not self._greeted.done():
            self._greeted.set_exception(error)
        with self._guard:
            self._failure = error
            waiting = [call.future for call in self._queue if not call.future.withdrawn]
            self._queue.clear()
        for future in (*waiting, *self._accepted.values()):
            if not future.done():
                future.set_exception(error)
        self._accepted.clear()


_live: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _finish_all() -> None:
    """A program that ends without a shutdown still gets its calls done."""
    for engine in list(_live):
        engine.close()
        engine.join()
