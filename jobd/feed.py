"""C{watch}: every announcement from a cursor on, first from the store, then as they come, none skipped, none twice."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from jobd.daemon import Daemon, Listener, kept_line

PAGE = 500
"""Events read from the store at a time."""


class Outlet(Listener, Protocol):
    """Where a feed's lines go."""

    def drained(self) -> Deferred[None]:
        """Fires once the client has taken what was sent, or is gone."""

    @property
    def gone(self) -> bool: ...


class Feed:
    """
    @ivar position: the newest cursor that has been sent.
    @ivar live: all that was kept has been sent; what is announced now follows without a gap.
    """

    def __init__(self, daemon: Daemon, outlet: Outlet, since: int, progress: bool) -> None:
        self.position = since
        self.live = False
        self._daemon = daemon
        self._outlet = outlet
        self._progress = progress

    async def catch_up(self) -> None:
        """Send what is kept, as fast as the client takes it, and then become live."""
        while not self._outlet.gone:
            newest = self._daemon.announced
            if self.position >= newest:
                # Nothing can be announced between this look and the next line.
                self.live = True
                self._daemon.watchers.add(self)
                return
            page = await self._daemon.read(lambda reader: reader.events(self.position, PAGE))
            # What is kept, but not announced yet, comes once it is announced.
            page = [event for event in page if event.cursor <= newest]
            for event in page:
                self._outlet.send(kept_line(event))
            self._outlet.flush()
            self.position = page[-1].cursor if len(page) == PAGE else newest
            await self._outlet.drained()

    def announced(self, cursor: int, job_id: int, line: bytes) -> None:
        self.position = cursor
        self._outlet.send(line)
        self._daemon.touch(self._outlet)

    def progressed(self, job_id: int, line: bytes) -> None:
        if self._progress:
            self._outlet.send(line)
            self._outlet.flush()

    def stop(self) -> None:
        self._daemon.watchers.discard(self)
