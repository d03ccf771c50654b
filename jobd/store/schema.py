"""
The SQLite file's schema, version 2, and the SQL that goes with it.

A job is a row of C{jobs}; that it has ended is one of C{ends}. So nothing that is long is written twice: rows are
only ever put at the end of a table. What C{jobs} says of a job that has ended (state, attempt, times, outcome) is
what was kept of it before.

The version stands in C{PRAGMA user_version}; C{tests/data/} holds a file of every
version that was ever released.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

VERSION = 2

APPLICATION_ID = 0x6A6F6264
"""C{jobd} in ASCII: lets C{file} tell what it is, and us that it is ours."""

_JOBS = (
    """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    state INTEGER,                  -- jobd.job.State
    attempt INTEGER,
    submitted REAL,                 -- all times: seconds since 1970
    started REAL,
    due REAL,
    ending INTEGER,                 -- the state it is being ended with
    outcome TEXT,                   -- JSON, of an earlier attempt
    spec TEXT,                      -- JSON, as submitted
    key TEXT,
    fingerprint INTEGER,
    grp TEXT,
    label TEXT,
    queue TEXT,
    retry_of INTEGER
)""",
    "CREATE UNIQUE INDEX jobs_by_key ON jobs (key) WHERE key IS NOT NULL",
    "CREATE INDEX jobs_by_group ON jobs (grp) WHERE grp IS NOT NULL",
    "CREATE INDEX jobs_by_label ON jobs (label) WHERE label IS NOT NULL",
    """
CREATE TABLE ends (
    id INTEGER PRIMARY KEY,         -- of the job
    cursor INTEGER,                 -- of its finish event
    state INTEGER,
    attempt INTEGER,
    started REAL,
    ended REAL,
    outcome TEXT                    -- JSON
)""",
    "CREATE UNIQUE INDEX ends_by_cursor ON ends (cursor)",
)

_OTHERS = (
    "CREATE TABLE group_events (cursor INTEGER PRIMARY KEY, grp TEXT NOT NULL, json TEXT NOT NULL)",
    "CREATE INDEX group_events_by_group ON group_events (grp, cursor)",
    "CREATE TABLE queues (name TEXT PRIMARY KEY, max_running INTEGER, paused INTEGER NOT NULL)",
    "CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)

CREATE = "".join(f"{statement};\n" for statement in _JOBS + _OTHERS)

FROM_VERSION_1 = (
    "ALTER TABLE jobs RENAME TO old_jobs",
    *(f"DROP INDEX jobs_by_{name}" for name in ("cursor", "key", "group", "label")),
    *_JOBS,
    """
INSERT INTO jobs SELECT id, state, attempt, submitted, started, due, ending, outcome, spec, key, fingerprint, grp,
label, queue, retry_of FROM old_jobs""",
    """
INSERT INTO ends SELECT id, cursor, state, attempt, started, ended, outcome FROM old_jobs
WHERE typeof(cursor) = 'integer' AND cursor > 0""",
    "DROP TABLE old_jobs",
    f"PRAGMA user_version = {VERSION}",
)
"""There all was one table. A cursor that is none is one that the disk has damaged: then the state says what to do."""


class Form(NamedTuple):
    """
    What is written as many rows at once.

    @ivar columns: what is given of each row, the id first.
    @ivar also: what follows from that: names of columns, and expressions.
    @ivar changes: what becomes of a row that is there.
    """

    table: str
    columns: tuple[str, ...]
    also: tuple[str, str] = ("", "")
    changes: str = ""


PLAIN = Form("jobs", ("id", "state", "submitted", "started", "spec", "queue"), (", attempt", ", column2 = 3"))
"""A new job that has nothing else: queued or waiting, or in its first attempt."""

WHOLE = Form(
    "jobs",
    ("id", "state", "attempt", "submitted", "started", "due", "ending", "outcome",
     "spec", "key", "fingerprint", "grp", "label", "queue", "retry_of"),
)  # fmt: skip
"""Any other new job."""

BEGIN = Form(
    "jobs",
    ("id", "started"),
    changes="started = excluded.started, state = 3, attempt = 1, due = NULL, ending = NULL",
)
"""A first attempt has begun."""

_MAY_CHANGE = ("state", "attempt", "started", "due", "ending", "outcome")

CHANGE = Form("jobs", ("id", *_MAY_CHANGE), changes=", ".join(f"{name} = excluded.{name}" for name in _MAY_CHANGE))
"""Whatever else may happen to a job that has not ended."""

END = Form("ends", ("id", "cursor", "state", "attempt", "started", "ended", "outcome"))
"""A job has ended."""

ENDED_AT = END.columns.index("ended")
"""Where in such a row stands when."""

NOTHING = {
    **dict.fromkeys(("started", "ended", "due", "ending", "retry_of"), "0"),
    **dict.fromkeys(("outcome", "key", "grp", "label"), "''"),
}
"""What a column that may be NULL is given for that. (A fingerprint may be any number: it counts where a key is.)"""

MOST_ROWS = 512
"""Rows in one statement. A compiled one takes 24 bytes a value and more, and is kept."""


@cache
def write_rows(form: Form, count: int) -> str:
    """
    Many rows in one statement: four times as fast as one by one or as JSON, and one release
    of the interpreter's lock instead of one a row. Rows with an id of 0 are left out: see L{jobd.store.batches}.
    C{ON CONFLICT} takes two thirds of the time of C{UPDATE … FROM}, which first writes all rows to a table of its own.
    """
    names, values = form.also
    names = ", ".join(form.columns) + names
    values = ", ".join(_value(name, f"column{place}") for place, name in enumerate(form.columns, 1)) + values
    row = "(" + ", ".join("?" * len(form.columns)) + ")"
    rows = ", ".join([row] * count)
    changes = f" ON CONFLICT (id) DO UPDATE SET {form.changes}" if form.changes else ""
    return f"INSERT INTO {form.table} ({names}) SELECT {values} FROM (VALUES {rows}) WHERE column1 > 0{changes}"


def _value(name: str, column: str) -> str:
    """Nothing is given as 0, or as an empty text."""
    return f"nullif({column}, {NOTHING[name]})" if name in NOTHING else column


WRITE_GROUP_EVENT = "INSERT INTO group_events (cursor, grp, json) VALUES (?, ?, ?)"

WRITE_QUEUE = (
    "INSERT INTO queues (name, max_running, paused) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET max_running = excluded.max_running, paused = excluded.paused"
)

WRITE_MARK = "INSERT INTO marks (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

COUNT_OPENED: tuple[str, tuple[()]] = (
    "INSERT INTO marks (name, value) VALUES ('opened', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
    (),
)
"""A change for its own sake, as a row that stays the same is not written."""

COUNT_CHANGES: tuple[str, tuple[()]] = (COUNT_OPENED[0].replace("'opened'", "'changes'"), ())
"""One more batch that has neither a new id nor an event."""

LIVE = "NOT EXISTS (SELECT 1 FROM ends WHERE ends.id = jobs.id)"
"""Of a row of C{jobs}: it has not ended."""

RECORDS = """
SELECT jobs.id, iif(ends.id IS NULL, jobs.state, ends.state), iif(ends.id IS NULL, jobs.attempt, ends.attempt),
submitted, iif(ends.id IS NULL, jobs.started, ends.started), ended, iif(ends.id IS NULL, due, NULL), cursor,
CAST(iif(ends.id IS NULL, jobs.outcome, ends.outcome) AS BLOB), CAST(spec AS BLOB), retry_of
FROM jobs LEFT JOIN ends ON ends.id = jobs.id
"""
"""As bytes whatever the disk has made of it: text that is not UTF-8 would fail a whole query."""

EVENTS = """
SELECT cursor, id, state, CAST(outcome AS BLOB) FROM ends WHERE cursor > ?1
UNION ALL SELECT cursor, 0, NULL, CAST(json AS BLOB) FROM group_events WHERE cursor > ?1
ORDER BY cursor LIMIT ?2
"""

OPEN_GROUPS = f"""
SELECT CAST(jobs.grp AS BLOB), ends.state, count(*) FROM jobs JOIN ends ON ends.id = jobs.id
LEFT JOIN (SELECT grp, max(cursor) AS last FROM group_events GROUP BY grp) AS told ON told.grp = jobs.grp
WHERE jobs.grp IN (SELECT DISTINCT grp FROM jobs WHERE grp IS NOT NULL AND {LIVE})
AND ends.state BETWEEN 4 AND 9 AND ends.cursor > coalesce(told.last, 0)
GROUP BY jobs.grp, ends.state
"""
