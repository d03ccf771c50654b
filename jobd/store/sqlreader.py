"""What can be asked of an SQLite store."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from jobd.job import JobSpec, State
from jobd.selector import Filter
from jobd.store import KeptEvent, Record, Specs, schema

MOST_PARAMETERS = 500
"""Ids looked up by one statement."""

UNREADABLE = b'{"error": "the record of this outcome can no longer be read"}'

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_specs = msgspec.json.Decoder(JobSpec)


class SqlReader:
    """A L{jobd.store.Reader} over a connection of its own."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def records(self, ids: Sequence[int]) -> list[Record]:
        found: dict[int, Record] = {}
        for part in _parts(ids):
            sql = f"{schema.RECORDS} WHERE jobs.id IN ({_marks(part)})"
            found.update((row[0], _record(row)) for row in self._database.execute(sql, part))
        return [found[number] for number in ids if number in found]

    def select(self, chosen: Filter, start: int, limit: int, newest: bool) -> list[Record]:
        where, values = _where(chosen)
        if start:
            where.append("jobs.id <= ?" if newest else "jobs.id >= ?")
            values.append(start)
        order = "DESC" if newest else "ASC"
        sql = f"{schema.RECORDS} WHERE {' AND '.join(where)} ORDER BY jobs.id {order} LIMIT ?"
        return [_record(row) for row in self._database.execute(sql, [*values, limit])]

    def ids(self, chosen: Filter, limit: int) -> list[int]:
        where, values = _where(chosen)
        tables = "jobs LEFT JOIN ends ON ends.id = jobs.id"
        sql = f"SELECT jobs.id FROM {tables} WHERE {' AND '.join(where)} ORDER BY jobs.id LIMIT ?"
        return [row[0] for row in self._database.execute(sql, [*values, limit])]

    def events(self, after: int, limit: int) -> list[KeptEvent]:
        return [_event(row) for row in self._database.execute(schema.EVENTS, (after, limit))]

    def finishes(self, ids: Sequence[int]) -> list[KeptEvent]:
        found: list[KeptEvent] = []
        for part in _parts(ids):
            sql = f"SELECT cursor, id, state, CAST(outcome AS BLOB) FROM ends WHERE id IN ({_marks(part)})"
            found.extend(_event(row) for row in self._database.execute(sql, part))
        return sorted(found, key=lambda event: event.cursor)

    def group_event(self, group: str) -> KeptEvent | None:
        sql = "SELECT cursor, 0, NULL, CAST(json AS BLOB) FROM group_events WHERE grp = ? ORDER BY cursor DESC LIMIT 1"
        row = self._database.execute(sql, (group,)).fetchone()
        return None if row is None else _event(row)

    def floor(self) -> int:
        row = self._database.execute("SELECT value FROM marks WHERE name = 'floor'").fetchone()
        return 0 if row is None else int(row[0])


SPECS = """
SELECT CAST(group_concat(printf('%d %.6f ', id, submitted) || spec, char(10)) AS BLOB) FROM jobs
WHERE typeof(submitted) = 'real' AND instr(spec, char(10)) = 0 AND json_valid(spec)
"""
"""
All in one row, and looked at by the file itself: for each row the thread would have to ask for the interpreter's lock,
and to find out whether a spec can be read would take the reactor as long as all else.
"""


def read_specs(database: sqlite3.Connection, ids: Sequence[int]) -> Specs:
    """See L{jobd.store.Store.fetch}."""
    found: Specs = {}
    for part in _parts(ids):
        (text,) = database.execute(f"{SPECS} AND id IN ({_marks(part)})", part).fetchone()
        for line in text.split(b"\n") if text else ():
            number, submitted, spec = line.split(b" ", 2)
            found[int(number)] = (float(submitted), spec)
    return found


def _parts(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[place : place + MOST_PARAMETERS] for place in range(0, len(ids), MOST_PARAMETERS)]


def _marks(part: Sequence[int]) -> str:
    return ", ".join("?" * len(part))


def _where(chosen: Filter) -> tuple[list[str], list[Any]]:
    where: list[str] = ["true"]
    values: list[Any] = []
    states = chosen.states()
    if states:
        live, final = [+state for state in states if not state.final], [+state for state in states if state.final]
        either = [f"(jobs.state IN ({_marks(live)}) AND ends.id IS NULL)"] if live else []
        either += [f"ends.state IN ({_marks(final)})"] if final else []
        where.append("(" + " OR ".join(either) + ")")
        values += live + final
    ranges = chosen.ranges()
    if ranges:
        where.append("(" + " OR ".join(["jobs.id BETWEEN ? AND ?"] * len(ranges)) + ")")
        values += [end for pair in ranges for end in pair]
    for column, value in (("queue", chosen.queue), ("grp", chosen.group), ("label", chosen.label), ("key", chosen.key)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    return where, values


def _record(row: Any) -> Record:
    number, state, attempt, submitted, started, ended, due, cursor, outcome, spec, retry_of = row
    return Record(
        number,
        _state(state),
        _number(attempt) or 0,
        _moment(submitted) or 0.0,
        _moment(started),
        _moment(ended),
        _moment(due),
        _number(cursor),
        None if outcome is None else _readable(_objects, outcome, UNREADABLE),
        _readable(_specs, spec, b"{}"),
        _number(retry_of),
    )


def _event(row: Any) -> KeptEvent:
    cursor, number, state, outcome = row
    json = _readable(_objects, b"{}" if outcome is None else outcome, UNREADABLE)
    return KeptEvent(cursor, number, None if number == 0 else _state(state), json)


# What the disk has made of a record must not fail the question, nor break a line of the protocol.


def _state(value: Any) -> State:
    return State(value) if isinstance(value, int) and State.WAITING <= value <= State.SKIPPED else State.LOST


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _moment(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _readable(decoder: msgspec.json.Decoder[Any], text: bytes | None, otherwise: bytes) -> bytes:
    if text is None or b"\n" in text:
        return otherwise
    try:
        text.decode()
        decoder.decode(text)
    except (UnicodeDecodeError, msgspec.MsgspecError):
        return otherwise
    return text
