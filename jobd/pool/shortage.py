"""The system has no room for one more process: what could not be begun is tried again, less and less often."""

from __future__ import annotations

SOON, LATE = 0.1, 5.0
"""Seconds until the next try: the first time, and at most."""


class Shortage:
    """
    @ivar lasts: nothing is to be tried until its pause is over.
    """

    def __init__(self) -> None:
        self.lasts = False
        self._pause = SOON

    def begin(self) -> float:
        """Something could not be begun. Returns for how many seconds nothing is to be tried."""
        self.lasts = True
        pause = self._pause
        self._pause = min(LATE, 2 * pause)
        return pause

    def over(self) -> None:
        """The pause is."""
        self.lasts = False

    def worked(self) -> None:
        """Something that was begun has ended: there is room again."""
        self._pause = SOON
