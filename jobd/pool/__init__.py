"""
Where attempts run: a seam with two sides.

A L{Pool} is told to start and to end attempts, and reports, as events for the
scheduler: each attempt it was given ends with exactly one
L{jobd.events.Finished} or L{jobd.events.Returned}; a L{jobd.events.Capacity} says what there is
room for. Nothing above this floor knows of processes, pipes or machines. Every
pool passes C{tests/unit/test_pool.py}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from jobd.actions import Kill, Start
from jobd.events import Capacity, Finished, Long, Returned

Report = Finished | Returned | Capacity | Long


class Pool(Protocol):
    def open(self, report: Callable[[Report], None], progress: Callable[[int, int, bytes], None]) -> None:
        """
        Begin.

        @param report: to be called with each report, in the reactor's thread.
        @param progress: called with job id, attempt and what the job said of its progress, JSON.
        """

    def start(self, start: Start) -> None:
        """Begin an attempt."""

    def kill(self, kill: Kill) -> None:
        """End an attempt that was started; its report comes as always. One that is unknown is ignored."""

    def flush(self) -> None:
        """What was asked for up to now may have gathered: let it go."""

    def close(self) -> Awaitable[None]:
        """
        End everything. What had not ended by itself is reported as returned: an orderly
        stop costs no attempt.
        """

    def stats(self) -> dict[str, Any]:
        """What C{stats} says of it."""
