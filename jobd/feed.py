"""C{watch}: every announcement from a cursor on, first from the store, then as they come, none skipped, none twice."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from jobd.daemon import Daemon
from jobd.listener import Listener
from jobd.pages import Pages
from jobd.recall import kept_line
from jobd.store import KeptEvent


class Feed:
    """
    @ivar position: the newest cursor that has been sent.
    @ivar live: all that was kept has been sent; what is announced now follows without a gap.
    """

    def __init__(self, daemon: Daemon, outlet: Listener, since: int, progress: bool) -> None:
        self.position = since
        self.live = False
        self._daemon = daemon
        self._outlet = outlet
        self._progress = progress

    async def catch_up(self) -> None:
        """Send what is kept, as fast as the client takes it, and then become live."""
        pages = Pages()
        while not self._outlet.gone:
            newest = self._daemon.announced
            if self.position >= newest:
                # Nothing can be announced between this look and the next line.
                self.live = True
                self._daemon.watchers.add(self)
                return
            size = pages.size
            forgotten, page = await self._read(size)
            if forgotten > self.position:
                # While it was catching up: asked again from there it is told what is gone.
                self._outlet.hang_up()
                return
            pages.read(page)
            # What is kept, but not announced yet, comes once it is announced.
            page = [event for event in page if event.cursor <= newest]
            await self._outlet.drained()
            for event in page:
                self._outlet.send(kept_line(event))
            self._outlet.flush()
            self.position = page[-1].cursor if len(page) == size else newest

    def _read(self, size: int) -> Deferred[tuple[int, list[KeptEvent]]]:
        """The newest event that is no longer kept, and the next page of those that are."""
        return self._daemon.read(lambda reader: (reader.floor(), reader.events(self.position, size)))

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
