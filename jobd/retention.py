"""How long jobs that have ended are kept."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from jobd.alarm import Clock, Timer
from jobd.events import Pruned
from jobd.store import Store

PRUNE_EVERY = 3600.0
"""Seconds between two looks for jobs that are too old to be kept."""

PRUNED_TOGETHER = 2000
"""
So many jobs that are too many are removed at a time, or of few that are kept a tenth: no batch waits long for it, and
all at once would cost as much.
"""


class Retention:
    """
    @param tell: called when the store has forgotten jobs.
    @ivar forgotten: called with their ids, for whatever else there is of them.
    """

    log = Logger()

    def __init__(self, store: Store, clock: Clock, wall: Callable[[], float], tell: Callable[[Pruned], object]) -> None:
        self.forgotten: Callable[[list[int]], None] = lambda gone: None
        self._store, self._clock, self._wall, self._tell = store, clock, wall, tell
        self._number, self._age = 0, 0.0
        self._surplus = 0
        self._announced = self._kept_from = 0

    def begin(self, announced: int, ended: int) -> None:
        """
        @param announced: the newest cursor.
        @param ended: how many jobs are kept that have ended.
        """
        self._announced, self._kept_from = announced, announced - ended

    def keep(self, number: int, age: float) -> None:
        """Keep that many ended jobs at most, and none that ended more than C{age} seconds ago."""
        self._number, self._age = number, age
        self._surplus = min(number // 10 + 100, PRUNED_TOGETHER)
        self.prune()

    def announced(self, cursor: int) -> None:
        """That is the newest cursor now: remove jobs if there are too many."""
        self._announced = cursor
        if self._number and cursor - self._kept_from > self._number + self._surplus:
            self.prune()

    def prune(self) -> None:
        """Remove what is too old, or too many, now."""
        self._kept_from = max(self._kept_from, self._announced - self._number)
        self._store.prune(self._number, self._wall() - self._age, self._pruned)

    def prune_regularly(self) -> Timer:
        """Look for old jobs now and every hour. Returns the timer of the first hour."""
        self.prune()
        return self._clock.callLater(PRUNE_EVERY, self.prune_regularly)

    def _pruned(self, gone: list[int] | Exception) -> None:
        if isinstance(gone, Exception):
            self.log.error("old jobs could not be removed: {problem}", problem=gone)
        elif gone:
            self._tell(Pruned(gone))
            self.forgotten(gone)
