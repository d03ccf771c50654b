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

_numbers = msgspec.json.Decoder(list[int])


class Pruning:
    """
    Which ends are old by number the index tells; which by age it does not, as clocks are set. So it is remembered that
    none of those looked at ended before a time, and next time only later ones are looked at.
    """

    def __init__(self) -> None:
        self._looked_at = 0
        self._oldest = math.inf

    def prune(self, database: sqlite3.Connection, keep: int, before: float) -> list[int]:
        """See L{jobd.store.Store.prune}. What was given out stays known as given out, by its marks."""
        floor = max(_by_number(database, keep), self._by_age(database, before))
        if not floor:
            return []
        (ids,) = database.execute(GONE, (floor,)).fetchone()
        next_id, cursor = high_marks(database)
        with transaction(database):
            database.execute("DELETE FROM jobs WHERE id IN (SELECT id FROM ends WHERE cursor <= ?)", (floor,))
            database.execute("DELETE FROM ends WHERE cursor <= ?", (floor,))
            database.execute("DELETE FROM group_events WHERE cursor <= ?", (floor,))
            for mark in (("floor", floor), ("next_id", next_id), ("cursor", cursor)):
                database.execute(schema.WRITE_MARK, mark)
        return _numbers.decode(ids)

    def _by_age(self, database: sqlite3.Connection, before: float) -> int:
        """The highest cursor of those that ended before a time, or 0."""
        sql = "SELECT max(cursor), min(ended) FROM ends WHERE cursor > ? AND typeof(ended) = 'real'"
        newest, oldest = database.execute(sql, (self._looked_at,)).fetchone()
        if newest is not None:
            self._looked_at, self._oldest = newest, min(self._oldest, oldest)
        if self._oldest >= before:
            return 0
        self._looked_at, self._oldest = 0, math.inf
        found: int | None = database.execute("SELECT max(cursor) FROM ends WHERE ended < ?", (before,)).fetchone()[0]
        return found or 0


def _by_number(database: sqlite3.Connection, keep: int) -> int:
    """The highest cursor of those that are too many, or 0."""
    surplus = database.execute("SELECT count(*) FROM ends").fetchone()[0] - keep
    if surplus <= 0:
        return 0
    sql = "SELECT cursor FROM ends ORDER BY cursor LIMIT 1 OFFSET ?"
    floor: int = database.execute(sql, (surplus - 1,)).fetchone()[0]
    return floor
