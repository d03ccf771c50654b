"""A connection in an asyncio event loop, made again when it is lost."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

import msgspec

from jobd.client.core import Core, Event, Item, Reply, Request, Stream
from jobd.client.dial import handshake_problem, lost, problem, tls_context, unknown_fate
from jobd.client.link import Owner
from jobd.client.liveness import Comeback, Pulse
from jobd.client.url import Target
from jobd.errors import ConnectionProblem, JobdError


class Link(asyncio.Protocol):
    """
    The core, and the transport it has at the moment.

    @param timeout: seconds a connection may take.
    @param liveness: seconds of silence after which the daemon is asked for a sign of life, or counts as lost.
    @ivar patience: seconds for which a lost daemon is looked for; 0: not at all.
    """

    def __init__(
        self,
        target: Target,
        owner: Owner,
        *,
        timeout: float,
        patience: float,
        liveness: float,
        stream: Stream | None = None,
    ) -> None:
        self.target = target
        self._owner = owner
        self._timeout = timeout
        self.patience = patience
        self._core = Core(target.token, stream, msgspec.json.decode)
        self._pulse = Pulse(self._core, liveness)
        self._comeback = Comeback()
        self._silence: ConnectionProblem | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._failure: JobdError | None = None
        self._flushing = False
        self._again: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """
        Connect.

        @raise ConnectionProblem: it cannot be reached.
        """
        target, loop = self.target, asyncio.get_running_loop()
        try:
            if target.path:
                making = loop.create_unix_connection(lambda: self, target.path)
            else:
                tls: Any = None if target.tls is None else tls_context(target.tls)
                making = loop.create_connection(lambda: self, target.host, target.port, ssl=tls)
            await asyncio.wait_for(making, self._timeout)
        except asyncio.TimeoutError:
            raise problem(target, TimeoutError()) from None
        except (OSError, UnicodeError) as error:
            if target.tls and isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError):
                raise handshake_problem(target, error) from error
            raise problem(target, error) from error

    def send(self, request: Request) -> None:
        """
        Ask for something.

        @raise ConnectionProblem: the link has ended.
        """
        if self._failure is not None:
            raise self._failure
        self._core.send(request)
        # What is asked for in one turn of the loop goes out in one write.
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        """End it; what has no reply yet is refused."""
        self._end(ConnectionProblem("this client has been closed"))

    # For asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._failure is not None:  # closed while it was being made
            transport.abort()
            return
        self._core.connected()
        self._pulse.heard(time.monotonic())
        self._silence = None
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._failure is not None:
            return
        self._pulse.heard(time.monotonic())
        try:
            items = self._core.receive(data)
        except JobdError as error:
            self._end(error)
            return
        if self._core.of_use:
            self._comeback.of_use()
        if items:
            self._owner.deliver(items)
        # The core may have something to ask for by itself.
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._failure is not None:
            return
        why = lost(self.target, self._core.reason or self._silence or exc or "the daemon closed it")
        given_up = self._core.disconnected()
        for request in given_up:
            self._owner.refused(request, unknown_fate(self.target) if self.patience > 0 else why)
        if self.patience > 0:
            self._again = asyncio.get_running_loop().create_task(self._reconnect(why))
        else:
            self._end(why)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None and self._failure is None:
            data = self._core.outgoing()
            if data:
                self._transport.write(data)
            if self._watch is None and (left := self._pulse.left(time.monotonic())) is not None:
                self._watch = asyncio.get_running_loop().call_later(left, self._listen)

    def _listen(self) -> None:
        """Nothing may have come for a while. A loop calls what is due after it has read what there is."""
        self._watch = None
        if self._transport is None:
            return
        try:
            self._pulse.check(time.monotonic())
        except ConnectionProblem as silence:
            self._silence = silence
            self._transport.abort()
        else:
            self._flush()

    async def _reconnect(self, problem: ConnectionProblem) -> None:
        while True:
            now = time.monotonic()
            pause = self._comeback.pause(now)
            if pause >= self._comeback.left(now, self.patience):
                self._end(lost(self.target, f"and it did not come back: {problem}"))
                return
            await asyncio.sleep(pause)
            try:
                await self.open()
                return
            except ConnectionProblem as error:
                problem = error
            except JobdError as error:
                self._end(error)
                return

    def _end(self, failure: JobdError) -> None:
        if self._failure is not None:
            return
        self._failure = failure
        if self._again is not None and self._again is not asyncio.current_task():
            self._again.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.close()
        for request in self._core.abandon():
            self._owner.refused(request, failure)
        self._owner.ended(failure)


class Inbox:
    """The events of one stream, for the one who iterates over it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | JobdError] = asyncio.Queue()

    async def next(self) -> Event:
        item = await self._queue.get()
        if isinstance(item, JobdError):
            raise item
        return item

    def deliver(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, Event):
                self._queue.put_nowait(item)
            elif isinstance(item, Reply) and item.error is not None:
                self._queue.put_nowait(item.error)

    def refused(self, request: Request, error: JobdError) -> None:
        """Its requests are the stream's own, which are repeated."""

    def ended(self, error: JobdError) -> None:
        self._queue.put_nowait(error)
