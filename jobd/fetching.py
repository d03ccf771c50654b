"""Having jobs that come near their turn brought from the store."""

from __future__ import annotations

from collections.abc import Callable

from jobd.alarm import Clock
from jobd.errors import Full
from jobd.events import Fetched
from jobd.far import Block
from jobd.store import RETRY_FULL, Specs, Store

TOGETHER = 4
"""Blocks at a time: neither the store nor the reactor has others wait long for so many."""


class Fetching:
    """
    @param tell: called with what has come, in the order in which it was wanted.
    @param failed: called with the error when the store has failed: else those jobs, and all behind them, would wait
        for ever, and nobody would know why.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tell: Callable[..., object],
        failed: Callable[[Exception], object],
    ) -> None:
        self._store, self._clock, self._tell, self._failed = store, clock, tell, failed
        self._wanted: list[Block] = []

    def want(self, block: Block) -> None:
        """Its jobs are to come, after those that were wanted before."""
        self._wanted.append(block)
        if len(self._wanted) == 1:
            self._fetch()

    def _fetch(self) -> None:
        blocks = self._wanted[:TOGETHER]

        def done(found: Specs | Exception) -> None:
            if isinstance(found, Full):
                self._clock.callLater(RETRY_FULL, self._fetch)
            elif isinstance(found, Exception):
                self._failed(found)
            else:
                del self._wanted[: len(blocks)]
                self._tell(*(Fetched(block, found) for block in blocks))
                if self._wanted:
                    self._fetch()

        self._store.fetch([number for block in blocks for number in block.ids()], done)
