"""
Commands a little ahead: the next ones are kept on disk as begun while those
before them still run, so that a place is filled again without waiting for the
disk. Never more of them run than there are places.
"""

from __future__ import annotations

from collections import deque

from jobd.actions import Start
from jobd.pool.depth import COMMAND, MOST_COMMANDS, Depth
from jobd.pool.worker import Attempt

PATIENCE = 0.05
"""Seconds that one taken ahead may wait before it is given back."""


class Gate:
    """
    @ivar depth: how many commands are to be begun for each place.
    @ivar waiting: those that wait for a place, in their order.
    """

    def __init__(self, places: int) -> None:
        self.depth = Depth(MOST_COMMANDS, COMMAND)
        self.waiting: deque[Start] = deque()
        self._places = places
        self._running: dict[Attempt, int] = {}
        self._used = 0

    def enter(self, start: Start) -> bool:
        """Whether it may run now; else it waits."""
        if start.cpus and (self.waiting or self._used + start.cpus > self._places):
            self.waiting.append(start)
            return False
        self._run(start)
        return True

    def _run(self, start: Start) -> None:
        if start.cpus:
            self._running[start.job_id, start.attempt] = start.cpus
            self._used += start.cpus

    def hold(self, start: Start) -> None:
        """It runs already."""
        self._run(start)

    def leave(self, attempt: Attempt) -> list[Start]:
        """One has ended, or was given back. Returns those that may run now."""
        self._used -= self._running.pop(attempt, 0)
        entering = []
        while self.waiting and self._used + self.waiting[0].cpus <= self._places:
            entering.append(self.waiting.popleft())
            self._run(entering[-1])
        return entering

    def turn_back(self) -> tuple[list[Start], list[Attempt]]:
        """They have waited too long. Returns those that waited, and those that run."""
        back = list(self.waiting)
        self.waiting.clear()
        self.depth.reset()
        return back, list(self._running)

    def withdraw(self, attempt: Attempt) -> Start | None:
        """Take one that waits out again."""
        for start in self.waiting:
            if (start.job_id, start.attempt) == attempt:
                self.waiting.remove(start)
                return start
        return None
