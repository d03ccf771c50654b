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
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any

from jobd.client import pickling, specs
from jobd.client.channel import Channel
from jobd.client.core import MAX_LINE, Core, Event, Forgotten, Item, Reply, Request
from jobd.client.future import JobFuture
from jobd.client.ids import chunks, format_ids, parse_ids
from jobd.client.liveness import PATIENCE
from jobd.client.outcome import FINAL, Outcome
from jobd.client.together import Together
from jobd.client.url import Target
from jobd.errors import Conflict, JobdError, NoSuchJob, TooLong

TIMEOUT = 10.0
"""Seconds that a connection or the reply to a cancellation may take."""

_UNSTARTED = ["waiting", "queued"]

_BETWEEN = 18
"""Bytes of a job in a line that are neither its pickle nor common to all."""


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
        self._common = ""
        self._longest = MAX_LINE - 200
        self._guard = threading.Lock()
        self._queue: deque[JobFuture[Any]] = deque()
        self._unwanted: deque[tuple[JobFuture[Any], Future[None]]] = deque()
        self._unanswered = 0
        self._closing = False
        self._failure: JobdError | None = None
        # Only in the channel's thread:
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
        self._common = common
        self._longest -= len(common)
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

    def submit(self, future: JobFuture[Any]) -> None:
        """
        Enter a call.

        @raise RuntimeError: as L{check_open}.
        """
        size = len(future.text)
        with self._guard:
            self.check_open()
            if size <= self._longest:
                self._queue.append(future)
            send = self._ready()
        if size > self._longest:
            problem = f"the call and its arguments have {size} bytes as a pickle in base64; a line may have {MAX_LINE}"
            future.set_exception(TooLong(problem + "; give large data in files"))
        elif send:
            self._channel.wake()

    def _ready(self) -> bool:
        """
        Whether there is a line to be sent; under the guard.

        While one has no reply, further calls gather until they fill another:
        many lines with a few calls each cost all sides more. No call waits
        here longer than for that reply, however long the calls before it take.
        """
        if self._unanswered and len(self._queue) < specs.BATCH_JOBS:
            return False
        return self._most > self._unanswered + len(self._accepted)

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
        with self._guard:
            if self._failure is not None:
                return
            self._unwanted.append((future, answered))
        self._channel.wake()
        with contextlib.suppress(FutureTimeout):
            answered.result(TIMEOUT)

    def close(self, *, cancel: bool = False) -> None:
        """
        Accept no more, and end when all that was accepted has ended.

        @param cancel: without that which has not been started.
        """
        withdrawn: list[JobFuture[Any]] = []
        with self._guard:
            self._closing = True
            if cancel:
                self._dropping = True
                withdrawn = list(self._queue)
                self._queue.clear()
                for future in withdrawn:
                    future.withdrawn = True
        for future in withdrawn:
            future.give_up()
        self._channel.wake()

    def join(self) -> None:
        """Wait until it has ended."""
        self._channel.join()

    # For the channel, from its thread.

    def feed(self, core: Core) -> bool:
        if self._dropping and not self._drop_asked:
            self._drop_asked = True
            self._drop(core, list(self._accepted))
        while self._unwanted and self._cancel(core, *self._unwanted[0]):
            self._unwanted.popleft()
        while self._queue and (calls := self._take()):
            self._send(core, calls)
        return not self._closing or bool(self._queue or self._unanswered or self._accepted)

    def _cancel(self, core: Core, future: JobFuture[Any], answered: Future[None]) -> bool:
        """Ask for it; False if the id is not known yet."""
        if future.done():
            answered.set_result(None)
        elif future.job is None:
            return False
        else:

            def settle(reply: Reply) -> None:
                if reply.error is None and reply.text != "0":
                    future.give_up()
                answered.set_result(None)

            argument = json.dumps({"ids": str(future.job), "state": _UNSTARTED})
            core.send(Request("cancel", argument, context=settle))
        return True

    def _take(self) -> list[JobFuture[Any]]:
        """The next calls for one line; from now on they can no longer be withdrawn."""
        calls: list[JobFuture[Any]] = []
        size = 0
        with self._guard:
            room = self._most - self._unanswered - len(self._accepted)
            most = min(room, specs.BATCH_JOBS) if self._ready() else 0
            while self._queue and len(calls) < most:
                future = self._queue[0]
                size += len(future.text) + len(self._common) + _BETWEEN
                if size > specs.BATCH_BYTES and calls:
                    break
                self._queue.popleft()
                if not future.withdrawn:
                    future.handed = True
                    calls.append(future)
            self._unanswered += len(calls)
        return calls

    def _send(self, core: Core, calls: list[JobFuture[Any]]) -> None:
        key = self._keys.next()
        replied = partial(self._replied, core, calls, key)
        core.send(Together([future.text for future in calls], key, self._common, replied))
        for future in calls:
            future.text = ""

    def _replied(self, core: Core, calls: list[JobFuture[Any]], key: str, reply: Reply) -> None:
        if isinstance(reply.error, Conflict):
            # An earlier line with these calls was accepted, and the reply to it was lost.
            core.send(Request("list", json.dumps({"key": key}), context=partial(self._found, core, calls)))
        elif reply.error is None:
            self._accept(core, calls, parse_ids(reply.text))
        else:
            self._refuse(calls, reply.error)

    def _found(self, core: Core, calls: list[JobFuture[Any]], reply: Reply) -> None:
        """The first of these calls is the job in the reply, and the others have the ids after its own."""
        jobs = [] if reply.error is not None else json.loads(reply.text)["jobs"]
        if not jobs:
            self._refuse(calls, reply.error or NoSuchJob("the jobs of these calls are no longer kept"))
            return
        first = int(jobs[0]["id"])
        ids = range(first, first + len(calls))

        def settle(reply: Reply) -> None:
            if reply.error is not None:
                for job in ids:
                    self._forgotten(Forgotten(job, reply.error))

        self._accept(core, calls, ids)
        core.send(Request("wait", format_ids(ids), waits=ids, context=settle))

    def _accept(self, core: Core, calls: list[JobFuture[Any]], ids: Sequence[int]) -> None:
        for job, future in zip(ids, calls, strict=True):
            future.job = job
        self._accepted.update(zip(ids, calls, strict=True))
        with self._guard:
            self._unanswered -= len(calls)
        if self._dropping:
            self._drop(core, ids)

    def _refuse(self, calls: list[JobFuture[Any]], error: JobdError) -> None:
        with self._guard:
            self._unanswered -= len(calls)
        for future in calls:
            future.set_exception(error)

    def _drop(self, core: Core, ids: Iterable[int]) -> None:
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
        try:
            result = pickling.value(Outcome(event.job, event.cursor, event.state, event.data))
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
            waiting = [future for future in self._queue if not future.withdrawn]
            self._queue.clear()
            unwanted = list(self._unwanted)
        for future in (*waiting, *self._accepted.values()):
            if not future.done():
                future.set_exception(error)
        self._accepted.clear()
        for _, answered in unwanted:
            answered.set_result(None)


_live: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _finish_all() -> None:
    """A program that ends without a shutdown still gets its calls done."""
    for engine in list(_live):
        engine.close()
        engine.join()
