"""Who is told something: a connection, and whoever watches everything."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred


class Listener(Protocol):
    """A connection, as the daemon sees it: it speaks, and is told when the turn is over."""

    def send(self, line: bytes) -> None:
        """Lines for the client. They may gather until L{flush}."""

    def announce(self, line: bytes) -> None:
        """A finish event that it asked for. One that watches gets it with all the others."""

    def answer(self, line: bytes) -> None:
        """The reply line of the oldest request without one."""

    def flush(self) -> None:
        """The turn is over: let go what has gathered."""

    def finish(self) -> None:
        """It is owed nothing more, and has ended its input."""

    def hold(self, by: int) -> None:
        """Count what is still being looked up for it: it is not finished before that is told."""

    def hang_up(self) -> None:
        """It cannot be told what it has asked for: close it, once it has got what was said."""

    def drained(self) -> Deferred[None]:
        """Fires once the client has taken what was sent, or is gone."""

    @property
    def gone(self) -> bool:
        """There is nobody any more to tell anything."""


class Watcher(Protocol):
    """Gets every announcement, and progress if it wants it."""

    def announced(self, cursor: int, job_id: int, line: bytes) -> None: ...

    def progressed(self, job_id: int, line: bytes) -> None: ...
