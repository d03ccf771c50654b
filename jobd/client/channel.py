"""
A connection served by one background thread, for clients that are used from
any thread.

Only that thread touches the core and the socket (an SSL socket allows nothing
else); the others put requests into a deque and wake it. While it is busy,
requests gather, and go out together in one write.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from typing import Protocol

import msgspec

from jobd.client.core import Core, Request
from jobd.client.dial import dial, lost, unknown_fate
from jobd.client.link import Owner
from jobd.client.liveness import Comeback, Pulse
from jobd.client.session import READ
from jobd.client.url import Target
from jobd.errors import ConnectionProblem, JobdError


class Feeder(Owner, Protocol):
    """The owner of a channel; it is told everything in the channel's thread."""

    def feed(self, core: Core) -> bool:
        """A chance to send more before each write; False once the channel may end."""


class Channel:
    """
    The thread and its connection.

    @param timeout: seconds a connection may take.
    @param liveness: seconds of silence after which the daemon is asked for a sign of life, or counts as lost.
    @ivar patience: seconds for which a lost daemon is looked for; 0: not at all.
    """

    def __init__(self, target: Target, owner: Feeder, *, timeout: float, patience: float, liveness: float) -> None:
        self.target = target
        self._owner = owner
        self._timeout = timeout
        self.patience = patience
        self._core = Core(target.token, decode=msgspec.json.decode)
        self._pulse = Pulse(self._core, liveness)
        self._comeback = Comeback()
        self._inbox: deque[Request] = deque()
        self._unsent = memoryview(b"")
        # To have a new one made for each word that comes takes longer than to read it.
        self._buffer = memoryview(bytearray(READ))
        self._closing = False
        self._failure: JobdError | None = None
        self._guard = threading.Lock()
        self._woken = False
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._busy_errors: tuple[type[OSError], ...] = (BlockingIOError, InterruptedError)
        if target.tls is not None:
            import ssl

            self._busy_errors += (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._thread = threading.Thread(target=self._run, name=f"jobd client {target.url}", daemon=True)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """
        Connect, and start the thread.

        @raise ConnectionProblem: it cannot be reached.
        """
        try:
            self._connect()
        except BaseException:
            self._ear.close()
            self._mouth.close()
            raise
        self._thread.start()

    @property
    def inside(self) -> bool:
        """Whether the caller is the thread itself, which must never wait for a reply."""
        return threading.current_thread() is self._thread

    def send(self, request: Request) -> None:
        """
        Ask for something.

        @raise ConnectionProblem: the channel has ended.
        """
        with self._guard:
            if self._failure is not None:
                raise self._failure
            self._inbox.append(request)
        self.wake()

    def wake(self) -> None:
        """Have the thread look for what there is to send."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):  # it is full, so it wakes anyway; or it has ended
                self._mouth.send(b"\0")

    def close(self, timeout: float | None = None) -> None:
        """End the thread; what has no reply yet is refused. Closing twice is no error."""
        self._closing = True
        self.wake()
        self.join(timeout)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended by itself, and tell whether it has."""
        if not self.inside:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _connect(self) -> None:
        self._socket = dial(self.target, self._timeout)
        self._socket.setblocking(False)
        self._unsent = memoryview(b"")
        self._core.connected()
        self._pulse.heard(time.monotonic())

    def _run(self) -> None:
        failure: JobdError = ConnectionProblem("this client has been closed")
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._ear, selectors.EVENT_READ)
                while self._serve(selector):
                    pass
        except JobdError as error:
            failure = error
        except Exception as error:
            failure = JobdError(f"a bug in jobd's client: {error!r}")
            raise
        finally:
            self._end(failure)

    def _end(self, failure: JobdError) -> None:
        with self._guard:
            self._failure = failure
        if self._socket is not None:
            self._socket.close()
        self._mouth.close()
        self._ear.close()
        for request in (*self._core.abandon(), *self._inbox):
            self._owner.refused(request, failure)
        self._owner.ended(failure)

    def _serve(self, selector: selectors.BaseSelector) -> bool:
        """Serve one connection until it is lost; False to end."""
        sock = self._socket
        assert sock is not None
        selector.register(sock, selectors.EVENT_READ)
        try:
            why = self._exchange(sock, selector)
        finally:
            selector.unregister(sock)
            sock.close()
            self._socket = None
        if self._closing or why is None:
            return False
        problem = lost(self.target, self._core.reason or why)
        given_up = self._core.disconnected()
        for request in given_up:
            self._owner.refused(request, unknown_fate(self.target) if self.patience > 0 else problem)
        if self.patience <= 0:
            raise problem
        return self._reconnect(selector, problem)

    def _exchange(self, sock: socket.socket, selector: selectors.BaseSelector) -> object:
        """Read and write; returns why the connection was lost, or None if the owner needs it no more."""
        interest = selectors.EVENT_READ
        while not self._closing:
            while self._inbox:
                self._core.send(self._inbox.popleft())
            if not self._owner.feed(self._core):
                return None
            try:
                done = self._write(sock)
                wanted = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
                if wanted != interest:
                    selector.modify(sock, wanted)
                    interest = wanted
                silent = True
                for key, _ in selector.select(self._pulse.left(time.monotonic())):
                    if key.fileobj is self._ear:
                        self._hear()
                        continue
                    silent = False
                    if not self._read(sock):
                        return "the daemon closed it"
            except OSError as error:
                return error
            if silent:
                try:
                    self._pulse.check(time.monotonic())
                except ConnectionProblem as error:
                    return error
        return None

    def _write(self, sock: socket.socket) -> bool:
        """Write what there is and tell whether all of it is gone."""
        while True:
            if not self._unsent:
                data = self._core.outgoing()
                if not data:
                    return True
                self._unsent = memoryview(data)
            try:
                sent = sock.send(self._unsent[:READ])
            except self._busy_errors:
                return False
            self._unsent = self._unsent[sent:]

    def _read(self, sock: socket.socket) -> bool:
        """Read what there is; False at the end."""
        while True:
            try:
                count = sock.recv_into(self._buffer)
            except self._busy_errors:
                return True
            if not count:
                return False
            self._pulse.heard(time.monotonic())
            items = self._core.receive(bytes(self._buffer[:count]))
            if self._core.of_use:
                self._comeback.of_use()
            if items:
                self._owner.deliver(items)
            if self.target.tls is None:
                return True

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        self._woken = False

    def _reconnect(self, selector: selectors.BaseSelector, problem: ConnectionProblem) -> bool:
        """Connect again; False to end."""
        while True:
            now = time.monotonic()
            ready = now + self._comeback.pause(now)
            if ready - now >= self._comeback.left(now, self.patience):
                raise lost(self.target, f"and it did not come back: {problem}") from problem
            while not self._closing and (left := ready - time.monotonic()) > 0:
                if selector.select(left):
                    self._hear()
            if self._closing or not self._owner.feed(self._core):
                return False
            try:
                self._connect()
                return True
            except ConnectionProblem as error:
                problem = error
