"""Batches of changes as SQL: few statements, each of a size that comes again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from jobd.actions import Insert, KeepGroupEvent, KeepQueue, Kept, Update
from jobd.job import Job, State
from jobd.store import schema

Statement = tuple[str, Sequence[Any]]


def prepare_batch(batch: Iterable[Kept]) -> list[Statement]:
    """
    The statements that keep a batch. Each changed job is one row, however often it changed, with
    the values it has now.
    """
    new: dict[int, Insert] = {}
    changed: dict[int, Job] = {}
    others: list[Statement] = []
    for change in batch:
        if isinstance(change, Update):
            changed[change.job.id] = change.job
        elif isinstance(change, Insert):
            new[change.job.id] = change
        elif isinstance(change, KeepGroupEvent):
            others.append((schema.WRITE_GROUP_EVENT, (change.cursor, change.group, change.json.decode())))
        elif isinstance(change, KeepQueue):
            others.append((schema.WRITE_QUEUE, (change.name, change.limit, change.paused)))
    begun = []
    rest = []
    for job in changed.values():
        if job.id in new:
            continue
        if job.state is State.RUNNING and job.ending is None and job.attempt == 1:
            begun.append((job.id, job.started))
        else:
            rest.append(_change_row(job))
    return [
        *_chunks(schema.insert_rows, [_insert_row(change) for change in new.values()]),
        *_chunks(lambda count: schema.update_rows(schema.BEGIN, count), begun),
        *_chunks(lambda count: schema.update_rows(schema.CHANGE, count), rest),
        *others,
    ]


def _insert_row(change: Insert) -> tuple[Any, ...]:
    # Numbers of an enumeration are not quite numbers to sqlite3, which looks for a way to adapt each.
    job, spec = change.job, change.spec
    return (
        job.id,
        int(job.state),
        job.attempt,
        job.submitted,
        job.started,
        job.ended,
        job.due,
        None if job.ending is None else int(job.ending),
        job.cursor or None,
        None if job.outcome is None else job.outcome.decode(),
        job.spec.decode(),
        spec.key,
        change.fingerprint,
        spec.group,
        spec.label,
        spec.queue,
        change.retry_of,
    )


def _change_row(job: Job) -> tuple[Any, ...]:
    return (
        job.id,
        int(job.state),
        job.attempt,
        job.started,
        job.ended,
        job.due,
        None if job.ending is None else int(job.ending),
        job.cursor or None,
        None if job.outcome is None else job.outcome.decode(),
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
        values += [None] * ((size - len(part)) * len(part[0]))
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
