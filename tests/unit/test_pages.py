"""How many events are read at a time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from jobd.job import State
from jobd.pages import BYTES, FIRST, MOST, Pages
from jobd.store import KeptEvent


def page(count: int, length: int) -> list[KeptEvent]:
    return [KeptEvent(number, number, State.SUCCEEDED, b"x" * length) for number in range(1, count + 1)]


class PagesTests(SynchronousTestCase):
    """From one page to the next."""

    def test_short_events(self) -> None:
        """Short events come in pages as large as may be."""
        pages = Pages()
        self.assertEqual(FIRST, pages.size)
        pages.read(page(FIRST, 100))
        self.assertEqual(MOST, pages.size)

    def test_long_events(self) -> None:
        """Of long ones there are so many in a page as there is room for, and at least one."""
        pages = Pages()
        pages.read(page(FIRST, BYTES // 4))
        self.assertEqual(3, pages.size)
        pages.read(page(3, 2 * BYTES))
        self.assertEqual(1, pages.size)
        pages.read(page(1, 10))
        self.assertEqual(MOST, pages.size)

    def test_nothing(self) -> None:
        """An empty page tells nothing."""
        pages = Pages()
        pages.read([])
        self.assertEqual(FIRST, pages.size)
