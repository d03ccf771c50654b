"""
Where attempts run: a seam with two sides.

A L{Pool} is told to start and to end attempts, and reports, as events for the
scheduler: each attempt it was given ends with exactly one
L{jobd.events.Finished} or L{jobd.events.Returned}; a L{jobd.events.Capacity} says what there is
room for, and a L{jobd.events.Stuck} that what was killed does not go away. Nothing above this floor knows of
processes, pipes or machines. Every pool passes C{tests/unit/test_pool.py}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from jobd.actions import Kill, Start
from jobd.events import Capacity, Finished, Long, Returned, Stuck

Report = Finished | Returned | Capacity | Long | Stuck


class Tell(Protocol):
    """Whoever is told reports, in their order: many at a time cost less."""

    def __call__(self, *reports: Report) -> None: ...


Heard = Any
"""A pool's own note of what it has reported."""


class Pool(Protocol):
    def open(
        self,
        report: Tell,
        progress: Callable[[int, int, bytes], None],
        running: Sequence[Start],
    ) -> None:
        """
        Begin.

        @param report: to be called with all reports, in the reactor's thread.
        @param progress: called with job id, attempt and what the job said of its progress, JSON.
        @param running: what was begun when the last daemon ended. Each is reported like any other, once:
            one that still runs when it ends, one that has ended meanwhile as it did, one that was never begun
            as returned; as lost only what nobody can tell of any more.
        """

    def start(self, start: Start) -> None:
        """Begin an attempt."""

    def kill(self, kill: Kill) -> None:
        """End an attempt that was started; its report comes as always. One that is unknown is ignored."""

    def flush(self) -> None:
        """What was asked for up to now may have gathered: let it go."""

    def rest(self) -> None:
        """Until L{listen} nothing can be begun anyway for what has ended: it is enough to report it then."""

    def listen(self) -> None:
        """Report, at once, what has happened since L{rest}, and go on."""

    def heard(self) -> Heard | None:
        """How much it has reported up to now: to be said again to L{kept}. None: nothing since the last time."""

    def kept(self, heard: Heard) -> None:
        """All that had been reported then is kept by now; what was not would be reported again to the next daemon."""

    def close(self, keep: bool = False) -> Awaitable[None]:
        """
        End everything. What had not ended by itself is reported as returned: an orderly
        stop costs no attempt.

        @param keep: let what runs run on, for the next daemon; it is not reported now.
        """

    def stats(self) -> dict[str, Any]:
        """What C{stats} says of it."""
