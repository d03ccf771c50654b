"""
Makes the store's file of the present schema version, with a job in every state:

    python -m tests.data.make_store

Run it by hand, once, when a version is released. The file of a released version never changes:
tests open it to see that old state stays readable.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from jobd import spec
from jobd.actions import Insert, KeepGroupEvent, KeepQueue, Update
from jobd.job import Job, State, plan_of
from jobd.store import schema
from jobd.store.sqlite import SqliteStore

SUBMITTED = 1_795_392_000.0
"""When the first job was submitted; each other one a second after the one before it."""

JOBS: tuple[tuple[State, bytes], ...] = (
    (State.SUCCEEDED, b'{"argv": ["true"], "key": "nightly", "group": "night", "label": "first"}'),
    (State.FAILED, b'{"shell": "exit 3", "group": "night", "queue": "net", "priority": 5}'),
    (State.CANCELLED, b'{"call": "time:sleep", "args": [60], "group": "day"}'),
    (State.TIMED_OUT, b'{"argv": ["sleep", "60"], "timeout": 1, "grace": 2}'),
    (State.LOST, b'{"call": "os:abort", "cwd": "/"}'),
    (State.SKIPPED, b'{"argv": ["true"], "after": [2]}'),
    (State.RUNNING, b'{"argv": ["sleep", "3600"], "cpus": 0, "attempts": 2, "group": "day"}'),
    (State.RUNNING, b'{"argv": ["sleep", "3600"], "cpus": 0, "env": {"SECRET": "s3cret"}, "label": "caf\xc3\xa9"}'),
    (State.QUEUED, b'{"argv": ["true"], "queue": "net"}'),
    (State.WAITING, b'{"argv": ["true"], "after": {"9": "any"}}'),
    (State.WAITING, b'{"argv": ["true"], "delay": 3600}'),
    (State.WAITING, b'{"shell": "exit 1", "attempts": 3, "backoff": 7200, "group": "day"}'),
)
"""State and submission of the jobs 1, 2, …"""


def path_of(version: int) -> Path:
    """The file of a schema version."""
    return Path(__file__).parent / f"jobs-v{version}.sqlite"


def make(path: Path) -> None:
    """Write all of it in one batch."""
    batch: list[Insert | Update | KeepGroupEvent | KeepQueue] = [KeepQueue("net", 2, True), KeepQueue("*", None, False)]
    cursor = 0
    for number, (state, json) in enumerate(JOBS, 1):
        submission = spec.parse_job(json)
        job = Job(number, state, plan_of(submission.spec), submission.json, SUBMITTED + number)
        if state is State.RUNNING or (state.final and state is not State.SKIPPED):
            job.attempt, job.started = 1, SUBMITTED + 100
        if state.final:
            cursor += 1
            job.cursor, job.ended = cursor, SUBMITTED + 200
            job.outcome = (
                b'{"because": 2}' if state is State.SKIPPED else b'{"exit_code": %d, "attempt": 1}' % (number - 1)
            )
        batch.append(Insert(job, submission.spec, spec.digest(json) if submission.spec.key else None))
        if number == 2:
            cursor += 1
            batch.append(KeepGroupEvent(cursor, "night", b'{"group": "night", "succeeded": 1, "failed": 1}'))
        if number == 8:
            job.ending = State.CANCELLED
        if number == 11:
            job.due = SUBMITTED + number + 3600
        if number == 12:
            job.attempt, job.started, job.due = 1, SUBMITTED + 100, SUBMITTED + 7300
            job.outcome = b'{"exit_code": 1, "attempt": 1}'
    store = SqliteStore(path, True, lambda done, *values: done(*values))
    store.open()
    store.commit(batch, _must)
    store.close()
    with closing(sqlite3.connect(path)) as database:
        # One file, without the log beside it.
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("VACUUM")


def _must(problem: Exception | None) -> None:
    if problem is not None:
        raise problem


if __name__ == "__main__":
    target = path_of(schema.VERSION)
    if target.exists():
        sys.exit(f"{target} is there: the file of a released version does not change")
    make(target)
