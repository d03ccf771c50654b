"""How many events are read from the store at a time: so many that a page of them stays small, whatever they hold."""

from __future__ import annotations

from collections.abc import Sequence

from jobd.store import KeptEvent

MOST = 500
"""Events in a page, if they are short."""

FIRST = 16
"""Events in the first page, of which nobody knows yet how long they are."""

BYTES = 1024 * 1024
"""What a page is to hold about; a single event may be as long as a call's result."""


class Pages:
    """@ivar size: events to be read next."""

    def __init__(self) -> None:
        self.size = min(FIRST, MOST)

    def read(self, page: Sequence[KeptEvent]) -> None:
        """This was the last page: the next one is as large as its events allow."""
        if page:
            length = sum(len(event.json) for event in page) // len(page) + 1
            self.size = max(1, min(MOST, BYTES // length))
