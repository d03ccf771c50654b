"""
The SQLite file's schema, version 1, and the SQL that goes with it.

The version stands in C{PRAGMA user_version}; C{tests/data/} holds a file of every
version that was ever released.
"""

from __future__ import annotations

from functools import cache

VERSION = 1

APPLICATION_ID = 0x6A6F6264
"""C{jobd} in ASCII: lets C{file} tell what it is, and us that it is ours."""

CREATE = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,         -- jobd.job.State
    attempt INTEGER NOT NULL,
    submitted REAL,                 -- all times: seconds since 1970
    started REAL,
    ended REAL,
    due REAL,
    ending INTEGER,                 -- the state it is being ended with
    cursor INTEGER,                 -- of its finish event
    outcome TEXT,                   -- JSON
    spec TEXT,                      -- JSON, as submitted
    key TEXT,
    fingerprint INTEGER,
    grp TEXT,
    label TEXT,
    queue TEXT,
    retry_of INTEGER
);
CREATE UNIQUE INDEX jobs_by_cursor ON jobs (cursor) WHERE cursor IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_key ON jobs (key) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_group ON jobs (grp) WHERE grp IS NOT NULL;
CREATE INDEX jobs_by_label ON jobs (label) WHERE label IS NOT NULL;
CREATE TABLE group_events (cursor INTEGER PRIMARY KEY, grp TEXT NOT NULL, json TEXT NOT NULL);
CREATE INDEX group_events_by_group ON group_events (grp, cursor);
CREATE TABLE queues (name TEXT PRIMARY KEY, max_running INTEGER, paused INTEGER NOT NULL);
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

INSERT = (
    "id", "state", "attempt", "submitted", "started", "ended", "due", "ending", "cursor", "outcome",
    "spec", "key", "fingerprint", "grp", "label", "queue", "retry_of",
)  # fmt: skip
"""The columns of a new job."""

BEGIN = ("id", "started")
"""The columns that say when the first attempt began."""

CHANGE = ("id", "state", "attempt", "started", "ended", "due", "ending", "cursor", "outcome")
"""The columns that may change at any time."""

NOTHING = {
    **dict.fromkeys(("started", "ended", "due", "ending", "cursor", "retry_of"), "0"),
    **dict.fromkeys(("outcome", "key", "grp", "label"), "''"),
}
"""What a column that may be NULL is given for that. (A fingerprint may be any number: it counts where a key is.)"""

MOST_ROWS = 1024
"""Rows in one statement: a power of two."""


@cache
def insert_rows(count: int) -> str:
    """Rows with an id of 0 are left out: see L{jobd.store.batches}."""
    names = ", ".join(INSERT)
    values = ", ".join(_value(name, f"column{place}") for place, name in enumerate(INSERT, 1))
    return f"INSERT INTO jobs ({names}) SELECT {values} FROM (VALUES {_rows(count, len(INSERT))}) WHERE column1 > 0"


@cache
def update_rows(columns: tuple[str, ...], count: int) -> str:
    """
    Many rows in one statement: four times as fast as one by one or as JSON, and one release
    of the interpreter's lock instead of one a row.
    """
    changed = ", ".join(f"{name} = {_value(name, f'new.column{place}')}" for place, name in enumerate(columns[1:], 2))
    if columns == BEGIN:
        changed += ", state = 3, attempt = 1, due = NULL, ending = NULL"
    return f"UPDATE jobs SET {changed} FROM (VALUES {_rows(count, len(columns))}) AS new WHERE id = new.column1"


def _value(name: str, column: str) -> str:
    """Nothing is given as 0, or as an empty text."""
    return f"nullif({column}, {NOTHING[name]})" if name in NOTHING else column


def _rows(count: int, width: int) -> str:
    return ", ".join(["(" + ", ".join("?" * width) + ")"] * count)


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

RECORD_COLUMNS = (
    "id, state, attempt, submitted, started, ended, due, cursor, CAST(outcome AS BLOB), CAST(spec AS BLOB), retry_of"
)
"""As bytes whatever the disk has made of it: text that is not UTF-8 would fail a whole query."""

EVENTS = """
SELECT cursor, id, state, CAST(outcome AS BLOB) FROM jobs WHERE cursor > ?1
UNION ALL SELECT cursor, 0, NULL, CAST(json AS BLOB) FROM group_events WHERE cursor > ?1
ORDER BY cursor LIMIT ?2
"""

OPEN_GROUPS = """
SELECT CAST(jobs.grp AS BLOB), jobs.state, count(*) FROM jobs
LEFT JOIN (SELECT grp, max(cursor) AS last FROM group_events GROUP BY grp) AS told ON told.grp = jobs.grp
WHERE jobs.grp IN (SELECT DISTINCT grp FROM jobs WHERE state < 4 AND grp IS NOT NULL)
AND jobs.state BETWEEN 4 AND 9 AND jobs.cursor > coalesce(told.last, 0)
GROUP BY jobs.grp, jobs.state
"""
