"""
From an SQLite file to a snapshot, whatever the disk has made of it.

A record is read whole or set aside: L{jobd.scheduler.Scheduler.restore} ends its job as lost. What belongs to no
single record (pages, indexes, marks) must be right, or the file is refused.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

from jobd.job import WORDS, State
from jobd.snapshot import Kept, Snapshot
from jobd.store import schema

OF_RECORD = re.compile(r"(TEXT|NUMERIC|NULL|non-\w+) value in ")
"""What the check says of one record's column."""

OF_INDEX = re.compile(r" (in|from|of) index ")
"""What it says of an index, which can be made anew."""

ENDED = "typeof(state) = 'integer' AND state BETWEEN 4 AND 9 AND typeof(cursor) = 'integer' AND cursor > 0"
"""A job that has ended, and whose event can be found."""


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


def mend(database: sqlite3.Connection) -> list[int]:
    """
    Jobs whose end was told, but of which cannot be read how they ended, are lost ones: their event stays one.

    @return: their ids.
    """
    told = f"typeof(cursor) = 'integer' AND cursor > 0 AND NOT ({ENDED})"
    ids = [row[0] for row in database.execute(f"SELECT id FROM jobs WHERE {told}")]
    if ids:
        database.execute(f"UPDATE jobs SET state = {int(State.LOST)} WHERE {told}")
    return ids


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
        database.execute("SELECT max(cursor) FROM jobs WHERE cursor < 9223372036854775807").fetchone()[0] or 0,
        database.execute("SELECT max(cursor) FROM group_events").fetchone()[0] or 0,
    )
    return max(marks.get("next_id", 1), last_id + 1), max(marks.get("cursor", 0), newest)


def instance_of(database: sqlite3.Connection) -> str:
    """The name that the store was given, or an empty text."""
    row = database.execute("SELECT value FROM marks WHERE name = 'instance'").fetchone()
    return "" if row is None else f"{row[0]:016x}"


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
        jobs=list(_jobs(database)),
        ended=database.execute(f"SELECT id, state FROM jobs WHERE {ENDED} ORDER BY id").fetchall(),
        keys=[(_text(key), number, fingerprint) for key, number, fingerprint in keys],
        queues=list(_queues(database)),
        groups=groups,
    )


def _text(found: bytes) -> str:
    return found.decode(errors="replace")


def _queues(database: sqlite3.Connection) -> Iterator[tuple[str, int | None, bool]]:
    for name, limit, paused in database.execute("SELECT CAST(name AS BLOB), max_running, paused FROM queues"):
        if limit is None or isinstance(limit, int):
            yield _text(name), limit, bool(paused)


def _jobs(database: sqlite3.Connection) -> Iterator[Kept]:
    sql = (
        "SELECT id, state, attempt, submitted, started, due, ending, cursor, CAST(spec AS BLOB), "
        f"CAST(outcome AS BLOB), CAST(grp AS BLOB) FROM jobs WHERE NOT ({ENDED}) ORDER BY id"
    )
    for number, state, attempt, submitted, started, due, ending, cursor, spec, outcome, group in database.execute(sql):
        found = {
            "state": _live(state),
            "attempt": isinstance(attempt, int) and attempt >= 0,
            "submitted": _moment(submitted),
            "started": started is None or _moment(started),
            "due": due is None or _moment(due),
            "ending": ending is None or (isinstance(ending, int) and State.SUCCEEDED <= ending <= State.SKIPPED),
            "cursor": cursor is None,
            "spec": spec is not None,
        }
        wrong = next((name for name, right in found.items() if not right), "")
        yield Kept(
            number,
            State(state) if found["state"] else State.WAITING,
            attempt if found["attempt"] else 0,
            submitted if found["submitted"] else 0.0,
            started if found["started"] else None,
            due if found["due"] else None,
            State(ending) if ending is not None and found["ending"] else None,
            spec or b"",
            outcome,
            None if group is None else _text(group),
            wrong,
        )


def _live(state: Any) -> bool:
    return isinstance(state, int) and State.WAITING <= state <= State.RUNNING


def _moment(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
