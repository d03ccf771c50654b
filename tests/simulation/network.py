"""Connections: bytes under way in both directions, taken by either side as the world says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobd.session import Session

if TYPE_CHECKING:
    from .dues import Dues
    from .requests import Asked

WINDOW = 400
"""Bytes written by the daemon and not read by the client when the transport tells it to pause."""


class Link:
    """
    One connection: the daemon's transport, and the wire to the client.

    @ivar up: bytes that the client has sent and the daemon has not taken.
    @ivar down: bytes that the daemon has written and the client has not read.
    @ivar asked: the requests without a reply, the oldest first.
    @ivar delivered: how many whole lines the daemon has been given, and C{answered} how many replies it wrote.
    @ivar over: the daemon has been told that the connection is gone.
    @ivar ended: nothing more comes from the daemon, for whatever reason.
    @ivar frozen: the client is silently gone: it neither reads nor closes.
    @ivar slow: the client reads nothing for now.
    """

    def __init__(
        self,
        number: int,
        effect: Callable[[str], None],
        written: Callable[[Link, bytes], None],
        closed: Callable[[Link], None],
        dues: Dues,
    ) -> None:
        self.number = number
        self.session: Session
        self.up = bytearray()
        self.down = bytearray()
        self.asked: deque[Asked] = deque()
        self.dues = dues
        self.delivered = 0
        self.answered = 0
        self.over = False
        self.ended = False
        self.frozen = False
        self.slow = False
        self.half_closed = False
        self.quit = False
        self._effect, self._written, self._closed = effect, written, closed
        self._tail = b""
        self._lines: deque[tuple[int, bytes]] = deque()
        self._wrote = 0
        self._read = 0
        self._wanted = True
        self._told_half = False
        self._blocked = False
        self._closing = False
        self._aborted = False
        self._producer: Any = None

    # The daemon's side.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        self._effect("write")
        if self.over:
            return
        self.down += data
        *lines, self._tail = (self._tail + data).split(b"\n")
        for line in lines:
            self._wrote += len(line) + 1
            self._lines.append((self._wrote, line))
            self._written(self, line)
        if len(self.down) > WINDOW and self._producer is not None and not self._blocked:
            self._blocked = True
            self._producer.pauseProducing()

    def pauseProducing(self) -> None:
        self._wanted = False

    def resumeProducing(self) -> None:
        self._wanted = True

    def loseConnection(self) -> None:
        self._effect("close")
        if not self._closing and not self.over:
            self._closing = True
            self._closed(self)

    def abortConnection(self) -> None:
        self._effect("abort")
        self._aborted = True

    # The network.

    @property
    def busy(self) -> bool:
        """Whether something is left to be moved, if both sides do their part."""
        if self.over:
            return False
        half = self.half_closed and not self._told_half
        return bool(self._closing or self._aborted or (self._wanted and (self.up or half)) or self._drained)

    @property
    def _drained(self) -> bool:
        return self._blocked and not self.down and self._producer is not None

    def move(self, most: int) -> None:
        """The daemon's side takes one turn: bytes, the end of them, room to write, or the end of it all."""
        if self.over:
            return
        if self._aborted or (self._closing and not self.down):
            self.lose()
        elif self._drained:
            self._blocked = False
            self._producer.resumeProducing()
        elif self._wanted and self.up:
            chunk = bytes(self.up[:most])
            del self.up[:most]
            self.delivered += chunk.count(b"\n")
            self.session.dataReceived(chunk)
        elif self._wanted and self.half_closed and not self._told_half:
            self._told_half = True
            self.session.readConnectionLost()

    def lose(self) -> None:
        """The connection is gone, and the daemon notices."""
        if not self.over:
            self.over = self.ended = True
            self.session.connectionLost()

    def cut(self, left: int) -> None:
        """The daemon has died: of what it had written so many bytes still come."""
        del self.down[left:]
        self.over = self.ended = True

    # The client's side.

    def send(self, data: bytes) -> None:
        self.up += data

    def read(self, most: int) -> list[bytes]:
        """The lines that are whole now, after so many bytes more."""
        taken = min(most, len(self.down))
        del self.down[:taken]
        self._read += taken
        lines = []
        while self._lines and self._lines[0][0] <= self._read:
            lines.append(self._lines.popleft()[1])
        return lines

    @property
    def at_end(self) -> bool:
        """The client has read all there is, and there will be no more."""
        return self.over and not self.down
