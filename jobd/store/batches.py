"""
Batches of changes as SQL: few statements, each of a size that comes again.

What is not there is given as 0 or as an empty text, which none of these values can be, and made NULL by the
statement: C{sqlite3} takes 0.4 microseconds for each None, as it looks for a way to adapt it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, NamedTuple

from jobd.actions import Insert, KeepGroupEvent, KeepQueue, Kept, Update
from jobd.job import RUNNING, Job, JobSpec
from jobd.store import schema

Value = int | float | str
Statement = tuple[str, Sequence[Any]]

_PLAIN = JobSpec()
"""Of a job that has neither key nor group nor label."""


class Batch(NamedTuple):
    """
    @ivar next_id: once this is kept; 0 where no job is new.
    @ivar cursor: of its newest event; 0 if it has none.
    @ivar changes: 1 if it has neither, and is counted.
    @ivar ended: how many jobs end in it; C{oldest}: when the first of them did.
    """

    statements: list[Statement]
    next_id: int
    cursor: int
    changes: int
    ended: int
    oldest: float


def prepare_batch(batch: Iterable[Kept]) -> Batch:
    """
    The statements that keep a batch. Each changed job is one row, however often it changed, with
    the values it has now; one that has ended is one row of C{ends}.
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
            if change.job.cursor:
                changed[change.job.id] = change.job
        elif isinstance(change, KeepGroupEvent):
            cursor = max(cursor, change.cursor)
            others.append((schema.WRITE_GROUP_EVENT, (change.cursor, change.group, change.json.decode())))
        elif isinstance(change, KeepQueue):
            others.append((schema.WRITE_QUEUE, (change.name, change.limit, change.paused)))
    plain, whole = _new_rows(new)
    begun: list[Value] = []
    rest: list[Value] = []
    ends: list[Value] = []
    for job_id, job in changed.items():
        if job.cursor:
            if job.cursor > cursor:
                cursor = job.cursor
            ends += _end_row(job)
        elif job_id in new:
            pass
        elif job.state is RUNNING and job.ending is None and job.attempt == 1:
            begun += (job_id, job.started or 0)
        else:
            rest += _change_row(job)
    width = len(schema.END.columns)
    ended, oldest = len(ends) // width, float(min(ends[schema.ENDED_AT :: width], default=inf))
    written = (
        (schema.PLAIN, plain),
        (schema.WHOLE, whole),
        (schema.BEGIN, begun),
        (schema.CHANGE, rest),
        (schema.END, ends),
    )
    statements = [statement for form, values in written for statement in _statements(form, values)]
    statements += others
    counted = bool(statements and not new and not cursor)
    if counted:
        # Else nobody would notice if the store came to lose it.
        statements.append(schema.COUNT_CHANGES)
    return Batch(statements, max(new, default=-1) + 1, cursor, int(counted), ended, oldest)


def _new_rows(new: dict[int, Insert]) -> tuple[list[Value], list[Value]]:
    """The values of C{schema.PLAIN}, and those of C{schema.WHOLE}."""
    plain: list[Value] = []
    whole: list[Value] = []
    for job_id, insert in new.items():
        if _is_plain(insert):
            job = insert.job
            plain += (job_id, +job.state, job.submitted, job.started or 0, job.spec.decode(), job.plan.queue)
        else:
            whole += _whole_row(insert)
    return plain, whole


# Numbers of an enumeration are not quite numbers to sqlite3, which looks for a way to adapt each: a plus makes
# them such.


def _is_plain(insert: Insert) -> bool:
    """Whether there is no more to a new job than the columns of C{schema.PLAIN}, as for most."""
    job = insert.job
    return (
        insert.spec is None
        and insert.retry_of is None
        and job.due is None
        and job.outcome is None
        and job.ending is None
        and job.attempt == (job.state is RUNNING)
    )


def _whole_row(insert: Insert) -> tuple[Value, ...]:
    job, spec = insert.job, insert.spec or _PLAIN
    return (
        job.id,
        +job.state,
        job.attempt,
        job.submitted,
        job.started or 0,
        job.due or 0,
        +(job.ending or 0),
        "" if job.outcome is None else job.outcome.decode(),
        job.spec.decode(),
        spec.key or "",
        insert.fingerprint or 0,
        spec.group or "",
        spec.label or "",
        job.plan.queue,
        insert.retry_of or 0,
    )


def _change_row(job: Job) -> tuple[Value, ...]:
    return (
        job.id,
        +job.state,
        job.attempt,
        job.started or 0,
        job.due or 0,
        +(job.ending or 0),
        "" if job.outcome is None else job.outcome.decode(),
    )


def _end_row(job: Job) -> tuple[Value, ...]:
    return (
        job.id,
        job.cursor,
        +job.state,
        job.attempt,
        job.started or 0,
        job.ended or 0,
        "" if job.outcome is None else job.outcome.decode(),
    )


def _statements(form: schema.Form, values: list[Value]) -> Iterator[Statement]:
    """
    Statements that write the rows these values make up, filled up with empty rows to a power of two or one and a
    half times that: so few different statements that each is compiled just once, and so few in a batch that its
    thread seldom has to ask for the interpreter's lock.
    """
    width = len(form.columns)
    most = schema.MOST_ROWS * width
    for place in range(0, len(values), most):
        part = values[place : place + most]
        rows = len(part) // width
        step = 1 << max(0, rows.bit_length() - 2)
        size = -(-rows // step) * step
        part += [0] * ((size - rows) * width)
        yield schema.write_rows(form, size), part


def write_batch(database: sqlite3.Connection, statements: list[Statement]) -> None:
    if len(statements) == 1:
        # A statement alone is a transaction of its own.
        database.execute(*statements[0])
    else:
        with transaction(database):
            for sql, values in statements:
                database.execute(sql, values)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is done meanwhile is kept, or if it fails nothing of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
