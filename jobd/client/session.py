"""
A connection used by one thread at a time: no background thread, no event
loop. C{jobctl} and the streams of the blocking client are built on it.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator

from jobd.client.core import Core, Item, Reply, Request, Stream
from jobd.client.dial import dial, lost, unknown_fate
from jobd.client.url import Target
from jobd.errors import ConnectionProblem, WaitTimeout

READ = 262_144
"""Bytes to read at once."""

PATIENCE = 60.0
"""Seconds for which a lost daemon is looked for before the client gives up."""


def pauses() -> Iterator[float]:
    """Seconds between attempts to reach a daemon that went away: soon at first, then every other second."""
    pause = 0.05
    while True:
        yield pause
        pause = min(pause * 2, 2.0)


class Session:
    """
    Requests and what comes back, one after the other.

    @ivar core: the state that outlives a connection.
    @param timeout: seconds a connection or a reply may take.
    @param patience: seconds for which a lost connection is made again; 0: not at all.
    """

    def __init__(
        self, target: Target, *, stream: Stream | None = None, timeout: float = 10.0, patience: float = PATIENCE
    ) -> None:
        self.target = target
        self.core = Core(target.token, stream)
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
        return self

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
                raise WaitTimeout(f"{self.target.url} did not answer within {seconds:g} s")
            for item in new:
                if isinstance(item, Reply) and item.request is request:
                    reply = item
                else:
                    self._items.append(item)
        if reply.error is not None:
            raise reply.error
        return reply.text

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
            new = self._receive(None if timeout is None else time.monotonic() + timeout)
            if new is None:
                return
            self._items.extend(new)

    def _receive(self, deadline: float | None) -> list[Item] | None:
        """Write what is to be written and read once; None if the deadline passes first."""
        if self._socket is None:
            self._reopen(deadline)
        sock = self._socket
        assert sock is not None
        try:
            data = self.core.outgoing()
            if data:
                sock.settimeout(self._timeout)
                sock.sendall(data)
        except OSError as error:
            return self._dropped(error)
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return None
        sock.settimeout(left)
        try:
            data = sock.recv(READ)
        except TimeoutError:
            return None
        except OSError as error:
            return self._dropped(error)
        if not data:
            return self._dropped(None)
        return self.core.receive(data)

    def _dropped(self, error: OSError | None) -> list[Item]:
        """
        The connection is gone.

        @raise ConnectionProblem: a request must not be sent again, or nobody wants a new connection.
        """
        self.close()
        given_up = self.core.disconnected()
        if self._patience <= 0:
            self.core.abandon()
            raise lost(self.target, self.core.reason or error or "the daemon closed it")
        if given_up:
            raise unknown_fate(self.target)
        return []

    def _reopen(self, deadline: float | None) -> None:
        until = time.monotonic() + self._patience
        if deadline is not None:
            until = min(until, deadline)
        for pause in pauses():
            try:
                self.open()
                return
            except ConnectionProblem as error:
                if time.monotonic() + pause > until:
                    raise lost(self.target, f"and it did not come back: {error}") from error
            time.sleep(pause)
