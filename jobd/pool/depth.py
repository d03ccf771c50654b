"""How many short calls a worker is given ahead."""

from __future__ import annotations

AHEAD = 0.005
"""Seconds of work that a worker may hold: what the next urgent job waits at most."""

OVERHEAD = 0.00002
"""Seconds that even an empty call takes."""

MOST = 256


class Depth:
    """
    A power of two from 1 to L{MOST}, from the durations of the calls that have ended: one call
    that takes longer counts at once, shorter ones bit by bit.
    """

    def __init__(self) -> None:
        self.value = 1
        self._usual = AHEAD

    def ended(self, wall: float) -> bool:
        """A call took so many seconds. Returns whether the value has changed."""
        self._usual = wall if wall > AHEAD else 0.9 * self._usual + 0.1 * wall
        fits = AHEAD / (self._usual + OVERHEAD)
        value = self.value
        while value > 1 and fits < value:
            value //= 2
        # Up only with room to spare, so that it does not swing.
        while value < MOST and fits > 3 * value:
            value *= 2
        changed = value != self.value
        self.value = value
        return changed
