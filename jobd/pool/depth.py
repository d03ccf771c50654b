"""How much short work is begun ahead of its turn."""

from __future__ import annotations

from collections.abc import Iterable

AHEAD = 0.02
"""Seconds of work that may be begun for one place: what the next urgent job waits at most."""

MOST_CALLS, CALL = 1024, 0.000005
"""How many calls a worker may hold, and the seconds that even an empty one takes."""

MOST_COMMANDS, COMMANDS = 16, 0.0003
"""The same for the commands of one place."""


class Depth:
    """
    A power of two, from the durations of what has ended: one that takes longer counts at once, shorter
    ones bit by bit.

    @param most: the largest value; a power of two.
    @param overhead: seconds that even the shortest takes.
    """

    def __init__(self, most: int, overhead: float) -> None:
        self.value = 1
        self._most = most
        self._overhead = overhead
        self._usual = AHEAD

    def ended(self, seconds: Iterable[float]) -> bool:
        """These took so long, one after the other. Returns whether the value has changed."""
        usual = self._usual
        for wall in seconds:
            usual = wall if wall > AHEAD else 0.7 * usual + 0.3 * wall
        self._usual = usual
        fits = AHEAD / (usual + self._overhead)
        value = self.value
        if value <= fits and (value == self._most or fits <= 3 * value):
            return False
        while value > 1 and fits < value:
            value //= 2
        # Up only with room to spare, so that it does not swing.
        while value < self._most and fits > 3 * value:
            value *= 2
        changed = value != self.value
        self.value = value
        return changed

    def reset(self) -> bool:
        """It was too much: begin again with one. Returns whether the value has changed."""
        changed = self.value != 1
        self.value = 1
        self._usual = AHEAD
        return changed
