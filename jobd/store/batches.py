"""
Batches of changes as SQL: few statements, each of a size that comes again.

What is not there is given as 0 or as an empty text, which none of these values can be, and made NULL by the
statement: C{sqlite3} takes 0.4 microseconds for each None, as it looks for a way to adapt it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from jobd.actions import Insert, KeepGroupEvent, KeepQueue, Kept, Update
from jobd.job import RUNNING, Job
from jobd.store import schema

Statement = tuple[str, Sequence[Any]]


class Batch(NamedTuple):
    """
    @ivar next_id: once this is kept; 0 where no job is new.
    @ivar cursor: of its newest event; 0 if it has none.
    """

    statements: list[Statement]
    next_id: int
    cursor: int


def prepare_batch(batch: Iterable[Kept]) -> Batch:
    """
    The statements that keep a batch. Each changed job is one row, however often it changed, with
    the values it has now.
    """
    cursor = 0
    new: dict[int, Insert] = {}
    changed: dict[int, Job] = {}
    others: list[Statement] = []
    for change in batch:
        if isinstance(change, Update):
            changed[change.job.id] = change.job
        elif isinstance(change, Insert):
            new[change.job.id] = change
        elif isinstance(change, KeepGroupEvent):
            cursor = max(cursor, change.cursor)
            others.append((schema.WRITE_GROUP_EVENT, (change.cursor, change.group, change.json.decode())))
        elif isinstance(change, KeepQueue):
            others.append((schema.WRITE_QUEUE, (change.name, change.limit, change.paused)))
    begun = []
    rest = []
    for job_id, job in changed.items():
        if job.cursor > cursor:
            cursor = job.cursor
        if job_id in new:
            continue
        if job.state is RUNNING and job.ending is None and job.attempt == 1:
            begun.append((job_id, job.started))
        else:
            rest.append(_change_row(job))
    statements = [
        *_chunks(schema.insert_rows, [_insert_row(change) for change in new.values()]),
        *_chunks(lambda count: schema.update_rows(schema.BEGIN, count), begun),
        *_chunks(lambda count: schema.update_rows(schema.CHANGE, count), rest),
        *others,
    ]
    return Batch(statements, max(new, default=-1) + 1, cursor)


def _insert_row(change: Insert) -> tuple[Any, ...]:
    # Numbers of an enumeration are not quite numbers to sqlite3, which looks for a way to adapt each.
    job, spec = change.job, change.spec
    return (
        job.id,
        int(job.state),
        job.attempt,
        job.submitted,
        job.started or 0,
        job.ended or 0,
        job.due or 0,
        int(job.ending or 0),
        job.cursor,
        "" if job.outcome is None else job.outcome.decode(),
        job.spec.decode(),
        spec.key or "",
        change.fingerprint or 0,
        spec.group or "",
        spec.label or "",
        spec.queue,
        change.retry_of or 0,
    )


def _change_row(job: Job) -> tuple[Any, ...]:
    return (
        job.id,
        int(job.state),
        job.attempt,
        job.started or 0,
        job.ended or 0,
        job.due or 0,
        int(job.ending or 0),
        job.cursor,
        "" if job.outcome is None else job.outcome.decode(),
    )


def _chunks(sql: Callable[[int], str], rows: list[tuple[Any, ...]]) -> Iterator[Statement]:
    """
    Statements of a power of two of rows, filled up with empty ones: so few different statements that
    each is compiled just once, and so few in a batch that its thread seldom has to ask for
    the interpreter's lock.
    """
    for place in range(0, len(rows), schema.MOST_ROWS):
        part = rows[place : place + schema.MOST_ROWS]
        size = 1 << (len(part) - 1).bit_length()
        values = list(chain.from_iterable(part))
        values += [0] * ((size - len(part)) * len(part[0]))
        yield sql(size), values


def write_batch(database: sqlite3.Connection, statements: list[Statement]) -> None:
    if len(statements) == 1:
        # A statement alone is a transaction of its own.
        database.execute(*statements[0])
    else:
        with_transaction(database, statements)


def with_transaction(database: sqlite3.Connection, statements: list[Statement]) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        for sql, values in statements:
            database.execute(sql, values)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
