"""
A connection used by one thread at a time: no background thread, no event
loop. C{jobctl} and the streams of the blocking client are built on it.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator

from jobd.client.core import Core, Greeting, Item, Reply, Request, Stream
from jobd.client.dial import dial, lost, unknown_fate
from jobd.client.liveness import LIVENESS, PATIENCE, Comeback, Pulse
from jobd.client.url import Target
from jobd.errors import ConnectionProblem, WaitTimeout

READ = 262_144
"""Bytes to read at once."""


class Session:
    """
    Requests and what comes back, one after the other.

    @ivar core: the state that outlives a connection.
    @param timeout: seconds a connection or a reply may take.
    @param patience: seconds for which a lost connection is made again; 0: not at all.
    @param liveness: seconds of silence after which the daemon is asked for a sign of life, or counts as lost.
    """

    def __init__(
        self,
        target: Target,
        *,
        stream: Stream | None = None,
        timeout: float = 10.0,
        patience: float = PATIENCE,
        liveness: float = LIVENESS,
    ) -> None:
        self.target = target
        self.core = Core(target.token, stream)
        self._pulse = Pulse(self.core, liveness)
        self._comeback = Comeback()
        self._timeout = timeout
        self._patience = patience
        self._items: deque[Item] = deque()
        self._socket: socket.socket | None = None

    def open(self) -> Session:
        """
        Connect; what is asked for at the start is sent.

        @raise ConnectionProblem: it cannot be reached.
        """
        self._socket = dial(self.target, self._timeout)
        self.core.connected()
        self._pulse.heard(time.monotonic())
        return self

    def greet(self) -> bool:
        """
        Wait until the daemon has greeted us, and tell whether it is on this machine.

        @raise NotAuthenticated: it does not let us in.
        """
        item = next((item for item in self.items(self._timeout) if isinstance(item, Greeting)), None)
        if item is None:
            raise self._late(self._timeout)
        return item.local

    def close(self) -> None:
        """Close the connection; closing twice is no error."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: Request, timeout: float | None = None) -> str:
        """
        Send a request and return the text of its reply. Other items that come
        meanwhile are kept for L{items}.

        @raise JobdError: what the daemon answered, or that it did not.
        """
        seconds = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        self.core.send(request)
        reply: Reply | None = None
        while reply is None:
            new = self._receive(deadline)
            if new is None:
                raise self._late(seconds)
            for item in new:
                if isinstance(item, Reply) and item.request is request:
                    reply = item
                else:
                    self._items.append(item)
        if reply.error is not None:
            raise reply.error
        return reply.text

    def _late(self, seconds: float) -> WaitTimeout:
        return WaitTimeout(f"{self.target.url} did not answer within {seconds:g} s")

    def check(self) -> None:
        """
        See that nothing that was asked for has been refused.

        @raise JobdError: the first refusal.
        """
        for item in self._items:
            if isinstance(item, Reply) and item.error is not None:
                raise item.error

    def items(self, timeout: float | None = None) -> Iterator[Item]:
        """
        What comes, as it comes, until C{timeout} seconds have passed without
        anything new; without a timeout for ever.
        """
        while True:
            while self._items:
                yield self._items.popleft()
            deadline = None if timeout is None else time.monotonic() + timeout
            while not self._items:
                new = self._receive(deadline)
                if new is None:
                    return
                self._items.extend(new)

    def _receive(self, deadline: float | None) -> list[Item] | None:
        """Write what is to be written and read once; None if the deadline passes first."""
        if self._socket is None and not self._reopen(deadline):
            return None
        sock = self._socket
        assert sock is not None
        try:
            data = self.core.outgoing()
            if data:
                sock.settimeout(self._timeout)
                sock.sendall(data)
            return self._read(sock, deadline)
        except OSError as error:
            return self._dropped(error)

    def _read(self, sock: socket.socket, deadline: float | None) -> list[Item] | None:
        """
        Read once; an empty list if the daemon was silent for so long that something must be done.

        @raise OSError: the connection is gone.
        """
        now = time.monotonic()
        left = None if deadline is None else deadline - now
        if left is not None and left <= 0:
            return None
        quiet = self._pulse.left(now)
        # Not 0, which would make it a socket that never waits, with other errors.
        sock.settimeout(left if quiet is None else max(0.001, quiet if left is None else min(left, quiet)))
        try:
            data = sock.recv(READ)
        except TimeoutError:
            try:
                self._pulse.check(time.monotonic())
            except ConnectionProblem as silent:
                return self._dropped(silent)
            return []
        if not data:
            return self._dropped(None)
        self._pulse.heard(time.monotonic())
        items = self.core.receive(data)
        if self.core.of_use:
            self._comeback.of_use()
        return items

    def _dropped(self, why: Exception | None) -> list[Item]:
        """
        The connection is gone.

        @raise ConnectionProblem: a request must not be sent again, or nobody wants a new connection.
        """
        self.close()
        given_up = self.core.disconnected()
        if self._patience <= 0:
            self.core.abandon()
            raise lost(self.target, self.core.reason or why or "the daemon closed it")
        if given_up:
            raise unknown_fate(self.target)
        return []

    def _reopen(self, deadline: float | None) -> bool:
        """
        Connect again; False if the deadline passes first.

        @raise ConnectionProblem: the daemon did not come back.
        """
        error: ConnectionProblem | None = None
        while True:
            now = time.monotonic()
            pause = self._comeback.pause(now)
            if pause >= self._comeback.left(now, self._patience):
                raise lost(self.target, f"and it did not come back: {error or 'it closes every connection'}")
            if deadline is not None and now + pause > deadline:
                time.sleep(max(0.0, deadline - now))
                return False
            time.sleep(pause)
            try:
                self.open()
                return True
            except ConnectionProblem as problem:
                error = problem
