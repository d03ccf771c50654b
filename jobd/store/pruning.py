"""What an SQLite store does not keep for ever: jobs that have ended, and what was told before."""

from __future__ import annotations

import math
import sqlite3

import msgspec

from jobd.store import schema
from jobd.store.batches import transaction
from jobd.store.restore import high_marks

GONE = """
SELECT '[' || group_concat(id) || ']' FROM (SELECT id FROM ends WHERE cursor <= ? ORDER BY cursor)
"""
"""All in one row: for each row the thread would have to ask for the interpreter's lock."""

ENDED = "SELECT count(*), min(iif(typeof(ended) = 'real', ended, NULL)) FROM ends"

_numbers = msgspec.json.Decoder(list[int])


class Pruning:
    """
    Which ends are old by number the index tells; which by age it does not, as clocks are set. How many there are, and
    a time before which none of them ended, is looked for once, and from then on known from what is written.
    """

    def __init__(self) -> None:
        self._count: int | None = None
        """None: both are to be looked for."""
        self._oldest = math.inf

    def ended(self, count: int, oldest: float) -> None:
        """
        That many more are kept now.

        @param oldest: when the first of them ended.
        """
        if self._count is not None:
            self._count += count
            self._oldest = min(self._oldest, oldest)

    def prune(self, database: sqlite3.Connection, keep: int, before: float) -> list[int]:
        """See L{jobd.store.Store.prune}. What was given out stays known as given out, by its marks."""
        if self._count is None:
            self._count, oldest = database.execute(ENDED).fetchone()
            self._oldest = math.inf if oldest is None else oldest
        floor = _by_number(database, self._count - keep)
        if self._oldest < before:
            floor = max(floor, _by_age(database, before))
            # The next time it is to be looked how old the others are.
            self._count = None
        if not floor:
            return []
        (text,) = database.execute(GONE, (floor,)).fetchone()
        ids = _numbers.decode(text)
        next_id, cursor = high_marks(database)
        with transaction(database):
            database.execute("DELETE FROM jobs WHERE id IN (SELECT id FROM ends WHERE cursor <= ?)", (floor,))
            database.execute("DELETE FROM ends WHERE cursor <= ?", (floor,))
            database.execute("DELETE FROM group_events WHERE cursor <= ?", (floor,))
            for mark in (("floor", floor), ("next_id", next_id), ("cursor", cursor)):
                database.execute(schema.WRITE_MARK, mark)
        if self._count is not None:
            self._count -= len(ids)
        return ids


def _by_number(database: sqlite3.Connection, surplus: int) -> int:
    """The highest cursor of those that are too many, or 0."""
    if surplus <= 0:
        return 0
    sql = "SELECT cursor FROM ends ORDER BY cursor LIMIT 1 OFFSET ?"
    floor: int = database.execute(sql, (surplus - 1,)).fetchone()[0]
    return floor


def _by_age(database: sqlite3.Connection, before: float) -> int:
    """The highest cursor of those that ended before a time, or 0."""
    found: int | None = database.execute("SELECT max(cursor) FROM ends WHERE ended < ?", (before,)).fetchone()[0]
    return found or 0
