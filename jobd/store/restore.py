"""
From an SQLite file to a snapshot, whatever the disk has made of it.

A record is read whole or set aside: L{jobd.scheduler.Scheduler.restore} ends its job as lost. What belongs to no
single record (pages, indexes, marks) must be right, or the file is refused.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from jobd.errors import StoreError
from jobd.job import WORDS, State
from jobd.snapshot import Kept, Snapshot
from jobd.store import schema

T = TypeVar("T")

OF_RECORD = re.compile(r"(TEXT|NUMERIC|NULL|non-\w+) value in ")
"""What the check says of one record's column."""

OF_INDEX = re.compile(r" (in|from|of) index ")
"""What it says of an index, which can be made anew."""

ENDED = "typeof(state) = 'integer' AND state BETWEEN 4 AND 9 AND typeof(cursor) = 'integer' AND cursor > 0"
"""Of a row of C{ends}: it says how a job ended, and its event can be found."""


def check(database: sqlite3.Connection) -> list[str]:
    """
    Find out whether the file is whole: half a second for a million jobs.

    @return: what was found and could be repaired.
    @raise sqlite3.DatabaseError: it is not.
    """
    found = _damage(database)
    if found and all(map(OF_INDEX.search, found)):
        database.execute("REINDEX")
        if not _damage(database):
            return [f"an index of the job store was damaged and has been made anew: {found[0]}"]
    if found:
        raise sqlite3.DatabaseError(found[0])
    return []


def _damage(database: sqlite3.Connection) -> list[str]:
    lines = [row[0] for row in database.execute("PRAGMA integrity_check(1000)")]
    return [line for line in lines if line != "ok" and not OF_RECORD.match(line)]


def bring_up(database: sqlite3.Connection) -> None:
    """Make a file of version 1 one of the present version. To be called within a transaction."""
    if database.execute("PRAGMA user_version").fetchone()[0] == 1:
        for statement in schema.FROM_VERSION_1:
            database.execute(statement)


def mend(database: sqlite3.Connection) -> list[int]:
    """
    Jobs whose end was told, but of which cannot be read how they ended, are lost ones: their event stays one. Where
    that cannot be found either, the end is to be told anew: the record counts as one that cannot be read.

    @return: the ids of those whose event stays.
    """
    bad = list(database.execute(f"SELECT id, typeof(cursor) = 'integer' AND cursor > 0 FROM ends WHERE NOT ({ENDED})"))
    for number, told in bad:
        if told:
            database.execute(f"UPDATE ends SET state = {int(State.LOST)} WHERE id = ?", (number,))
        else:
            database.execute("DELETE FROM ends WHERE id = ?", (number,))
            database.execute("UPDATE jobs SET state = NULL WHERE id = ?", (number,))
    return [number for number, told in bad if told]


def high_marks(database: sqlite3.Connection) -> tuple[int, int]:
    """
    The next id, and the newest cursor.

    @raise sqlite3.DatabaseError: a mark is no number.
    """
    marks = dict(database.execute("SELECT name, value FROM marks"))
    if not all(isinstance(value, int) for value in marks.values()):
        raise sqlite3.DatabaseError("a mark is no number")
    last_id = database.execute("SELECT max(id) FROM jobs").fetchone()[0] or 0
    # What is no number counts as greater than any.
    newest = max(
        database.execute("SELECT max(cursor) FROM ends WHERE cursor < 9223372036854775807").fetchone()[0] or 0,
        database.execute("SELECT max(cursor) FROM group_events").fetchone()[0] or 0,
    )
    return max(marks.get("next_id", 1), last_id + 1), max(marks.get("cursor", 0), newest)


def instance_of(database: sqlite3.Connection) -> str:
    """The name that the store was given, or an empty text."""
    found = _mark(database, "instance")
    return f"{found:016x}" if found else ""


def _mark(database: sqlite3.Connection, name: str) -> int:
    row = database.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])


class Rows(Iterable[T]):
    """
    Read each time they are gone through, and not kept: of the millions there may be, each becomes something else at
    once. That is to be done before anything is given to the store.
    """

    def __init__(self, read: Callable[[sqlite3.Connection], Iterator[T]], database: sqlite3.Connection) -> None:
        self._read = read
        self._database = database

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._read(self._database)
        except sqlite3.Error as problem:
            raise StoreError(f"the job store cannot be read: {problem}") from problem


def read_snapshot(database: sqlite3.Connection) -> Snapshot:
    """
    All that is to be known again.

    @raise sqlite3.DatabaseError: it cannot be read.
    """
    next_id, cursor = high_marks(database)
    groups: dict[str, dict[str, int]] = {}
    for group, state, count in database.execute(schema.OPEN_GROUPS):
        groups.setdefault(_text(group), {})[WORDS[state]] = count
    keys = database.execute("SELECT CAST(key AS BLOB), id, fingerprint FROM jobs WHERE key IS NOT NULL")
    return Snapshot(
        instance=instance_of(database),
        next_id=next_id,
        cursor=cursor,
        changes=_mark(database, "changes"),
        jobs=Rows(_jobs, database),
        ended=Rows(_ended, database),
        keys=[(_text(key), number, fingerprint) for key, number, fingerprint in keys],
        queues=list(_queues(database)),
        groups=groups,
    )


def _ended(database: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    return database.execute("SELECT id, state FROM ends ORDER BY id")


def _text(found: bytes) -> str:
    return found.decode(errors="replace")


def _queues(database: sqlite3.Connection) -> Iterator[tuple[str, int | None, bool]]:
    for name, limit, paused in database.execute("SELECT CAST(name AS BLOB), max_running, paused FROM queues"):
        if limit is None or isinstance(limit, int):
            yield _text(name), limit, bool(paused)


_MOMENT = "(typeof({0}) = 'real' AND {0} BETWEEN -1e300 AND 1e300)"
"""A time is a finite number."""

_WRONG = f"""
CASE WHEN typeof(state) != 'integer' OR state NOT BETWEEN 1 AND 3 THEN 'state'
    WHEN typeof(attempt) != 'integer' OR attempt < 0 THEN 'attempt'
    WHEN NOT {_MOMENT.format("submitted")} THEN 'submitted'
    WHEN started IS NOT NULL AND NOT {_MOMENT.format("started")} THEN 'started'
    WHEN due IS NOT NULL AND NOT {_MOMENT.format("due")} THEN 'due'
    WHEN ending IS NOT NULL AND (typeof(ending) != 'integer' OR ending NOT BETWEEN 4 AND 9) THEN 'ending'
    WHEN spec IS NULL THEN 'spec'
    ELSE '' END
"""
"""Which column of a job that has not ended is none that was ever written: the file asks itself, a million in 0.2 s."""

_PLAIN = f"""
state IN (1, 2) AND attempt IS 0 AND started IS NULL AND due IS NULL AND ending IS NULL AND outcome IS NULL
AND {_MOMENT.format("submitted")}
"""
"""A job of which there is nothing new since it was submitted, as of nearly all where there are very many."""

_LIVE = f"""
SELECT id, state, submitted, CAST(grp AS BLOB), CASE WHEN {_PLAIN} THEN CAST(spec AS BLOB) END FROM jobs
WHERE {schema.LIVE} ORDER BY id
"""
"""Every column costs a tenth of a second for a million jobs."""

_WHOLE = f"""
SELECT state, attempt, submitted, started, due, ending, CAST(spec AS BLOB), CAST(outcome AS BLOB),
CAST(grp AS BLOB), {_WRONG} FROM jobs WHERE id = ?
"""

_STATES = dict(enumerate(State, 1))


def _jobs(database: sqlite3.Connection) -> Iterator[Kept]:
    states = _STATES
    for number, state, submitted, group, spec in database.execute(_LIVE):
        if spec is None:
            yield _job(number, *database.execute(_WHOLE, (number,)).fetchone())
        else:
            name = None if group is None else _text(group)
            yield Kept(number, states[state], 0, submitted, None, None, None, spec, None, name)


def _job(
    number: int,
    state: Any,
    attempt: Any,
    submitted: Any,
    started: Any,
    due: Any,
    ending: Any,
    spec: bytes | None,
    outcome: bytes | None,
    group: bytes | None,
    wrong: str,
) -> Kept:
    """A row of C{_WHOLE}. If the record cannot be read, what little can be said of its job."""
    name = None if group is None else _text(group)
    if wrong or spec is None:
        tries = attempt if isinstance(attempt, int) and attempt >= 0 else 0
        began = started if isinstance(started, float) and math.isfinite(started) else None
        return Kept(number, State.WAITING, tries, 0.0, began, None, None, spec or b"", None, name, wrong)
    end = None if ending is None else _STATES[ending]
    return Kept(number, _STATES[state], attempt, submitted, started, due, end, spec, outcome, name)
