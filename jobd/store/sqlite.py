"""
Jobs in an SQLite file: durability C{commit} and C{os}.

One thread writes, one reads; neither ever waits for the other (WAL). The
writer takes one batch after the other from a queue: while it waits for the
disk, the next batch gathers in the daemon.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from jobd.actions import Insert, KeepGroupEvent, KeepQueue, Kept, Update
from jobd.errors import Full, StoreError
from jobd.job import WORDS, Job, State
from jobd.snapshot import Kept as KeptJob
from jobd.snapshot import Snapshot
from jobd.store import Pruned, Reader, schema
from jobd.store.sqlreader import SqlReader

T = TypeVar("T")
Call = Callable[..., None]

OLDEST = (3, 33)
"""The first SQLite with C{UPDATE … FROM}."""

CHECKPOINT_PAGES = 4000
"""Pages (of 4 KiB) in the write-ahead log before it is folded back: 16 MB."""


class SqliteStore:
    """
    @param path: the file; made if it is not there.
    @param synced: whether a batch is safe only once the disk has it (durability C{commit}), or once
        the operating system has it (C{os}).
    @param call_back: calls a function with arguments in the thread that all this belongs to, as
        C{reactor.callFromThread} does.
    """

    def __init__(self, path: Path, synced: bool, call_back: Call) -> None:
        self._path = path
        self._synced = synced
        self._call_back = call_back
        self._writing: SimpleQueue[Callable[[sqlite3.Connection], None] | None] = SimpleQueue()
        self._reading: SimpleQueue[Callable[[sqlite3.Connection], None] | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def open(self) -> Snapshot:
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreError(f"jobd needs SQLite 3.33 or later, this Python has {sqlite3.sqlite_version}")
        fresh = not self._path.exists()
        try:
            database = self._connect()
            try:
                self._prepare(database, fresh)
                name_instance(database)
                snapshot = read_snapshot(database)
            finally:
                database.close()
        except sqlite3.Error as problem:
            raise StoreError(f"the job store {self._path} cannot be read: {problem}") from problem
        for name, work in (("writer", self._writing), ("reader", self._reading)):
            thread = Thread(target=self._serve, args=(work,), name=f"jobd store {name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return snapshot

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, timeout=60.0, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {'FULL' if self._synced else 'OFF'}")
        database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        database.execute("PRAGMA cache_size = -65536")
        return database

    def _prepare(self, database: sqlite3.Connection, fresh: bool) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if fresh or (version == 0 and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
            database.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            database.executescript(f"BEGIN; {schema.CREATE} PRAGMA user_version = {schema.VERSION}; COMMIT;")
        elif database.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION_ID:
            raise StoreError(f"{self._path} is an SQLite file, but not one of jobd's")
        elif version != schema.VERSION:
            raise StoreError(
                f"{self._path} has schema version {version}; this jobd reads version {schema.VERSION}: "
                "start the jobd that wrote it, or a newer one"
            )

    def _serve(self, work: SimpleQueue[Callable[[sqlite3.Connection], None] | None]) -> None:
        database = self._connect()
        try:
            while (task := work.get()) is not None:
                task(database)
        finally:
            database.close()

    # Writing.

    def commit(self, batch: Iterable[Kept], done: Callable[[Exception | None], None]) -> None:
        statements = prepare_batch(batch)

        def write(database: sqlite3.Connection) -> None:
            try:
                write_batch(database, statements)
            except Exception as problem:
                self._call_back(done, explain(problem, self._path))
            else:
                self._call_back(done, None)

        self._writing.put(write)

    def prune(self, keep: int, before: float, done: Callable[[list[Pruned] | Exception], None]) -> None:
        def write(database: sqlite3.Connection) -> None:
            answer: list[Pruned] | Exception
            try:
                answer = prune(database, keep, before)
            except Exception as problem:
                answer = explain(problem, self._path)
            self._call_back(done, answer)

        self._writing.put(write)

    # Reading.

    def read(self, ask: Callable[[Reader], T], done: Callable[[T | Exception], None]) -> None:
        def work(database: sqlite3.Connection) -> None:
            answer: T | Exception
            try:
                answer = ask(SqlReader(database))
            except sqlite3.Error as problem:
                answer = explain(problem, self._path)
            except Exception as problem:
                answer = problem
            self._call_back(done, answer)

        self._reading.put(work)

    def close(self) -> None:
        self._writing.put(None)
        self._reading.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []


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


def prune(database: sqlite3.Connection, keep: int, before: float) -> list[Pruned]:
    """See L{jobd.store.Store.prune}. What was given out stays known as given out, by its marks."""
    by_number = database.execute(
        "SELECT cursor FROM jobs WHERE cursor IS NOT NULL ORDER BY cursor DESC LIMIT 1 OFFSET ?", (keep,)
    ).fetchone()
    by_age = database.execute(
        "SELECT max(cursor) FROM jobs WHERE cursor IS NOT NULL AND ended < ?", (before,)
    ).fetchone()
    floor = max(by_number[0] if by_number else 0, by_age[0] or 0)
    if not floor:
        return []
    gone = [
        Pruned(*row)
        for row in database.execute("SELECT id, attempt FROM jobs WHERE cursor <= ? ORDER BY cursor", (floor,))
    ]
    next_id, cursor = high_marks(database)
    with_transaction(
        database,
        [
            ("DELETE FROM jobs WHERE cursor <= ?", (floor,)),
            ("DELETE FROM group_events WHERE cursor <= ?", (floor,)),
            (schema.WRITE_MARK, ("floor", floor)),
            (schema.WRITE_MARK, ("next_id", next_id)),
            (schema.WRITE_MARK, ("cursor", cursor)),
        ],
    )
    return gone


def high_marks(database: sqlite3.Connection) -> tuple[int, int]:
    """The next id, and the newest cursor."""
    marks = dict(database.execute("SELECT name, value FROM marks"))
    last_id = database.execute("SELECT max(id) FROM jobs").fetchone()[0] or 0
    newest = max(
        database.execute("SELECT max(cursor) FROM jobs WHERE cursor IS NOT NULL").fetchone()[0] or 0,
        database.execute("SELECT max(cursor) FROM group_events").fetchone()[0] or 0,
    )
    return max(marks.get("next_id", 1), last_id + 1), max(marks.get("cursor", 0), newest)


def name_instance(database: sqlite3.Connection) -> None:
    """Give the store its name, once."""
    database.execute(
        "INSERT INTO marks (name, value) VALUES ('instance', ?) ON CONFLICT (name) DO NOTHING", (secrets.randbits(63),)
    )


def read_snapshot(database: sqlite3.Connection) -> Snapshot:
    (instance,) = database.execute("SELECT value FROM marks WHERE name = 'instance'").fetchone()
    next_id, cursor = high_marks(database)
    live = database.execute(
        "SELECT id, state, attempt, submitted, started, due, ending, spec, outcome "
        "FROM jobs WHERE state < 4 ORDER BY id"
    )
    jobs = [
        KeptJob(
            number,
            State(state),
            attempt,
            submitted,
            started,
            due,
            None if ending is None else State(ending),
            spec.encode(),
            None if outcome is None else outcome.encode(),
        )
        for number, state, attempt, submitted, started, due, ending, spec, outcome in live
    ]
    groups: dict[str, dict[str, int]] = {}
    for group, state, count in database.execute(schema.OPEN_GROUPS):
        groups.setdefault(group, {})[WORDS[state]] = count
    return Snapshot(
        instance=f"{instance:016x}",
        next_id=next_id,
        cursor=cursor,
        jobs=jobs,
        ended=database.execute("SELECT id, state FROM jobs WHERE state >= 4 ORDER BY id").fetchall(),
        keys=database.execute("SELECT key, id, fingerprint FROM jobs WHERE key IS NOT NULL").fetchall(),
        queues=[
            (name, limit, bool(paused))
            for name, limit, paused in database.execute("SELECT name, max_running, paused FROM queues")
        ],
        groups=groups,
    )


def explain(problem: Exception, path: Path) -> Exception:
    """What an SQLite error means to the daemon."""
    if isinstance(problem, sqlite3.OperationalError) and "full" in str(problem):
        return Full(f"there is no room for the job store {path}")
    if isinstance(problem, sqlite3.Error):
        return StoreError(f"the job store {path} failed: {problem}")
    return problem
