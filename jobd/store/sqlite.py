"""
Jobs in an SQLite file: durability C{commit} and C{os}.

One thread writes, one reads for whoever asks, one fetches what comes near its
turn; none ever waits for another (WAL). The writer takes one batch after the
other from a queue: while it waits for the disk, the next batch gathers in the
daemon.

After an error that is not for want of room nothing more is written, and nothing synced: what a disk has
once refused to sync it may forget without another word.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

import attrs

from jobd.actions import Kept
from jobd.errors import Full, StoreError
from jobd.snapshot import Snapshot
from jobd.store import Reader, Specs, schema
from jobd.store.batches import prepare_batch, transaction, write_batch
from jobd.store.folders import sync_folders
from jobd.store.log import Log
from jobd.store.problems import explain
from jobd.store.promised import Promise, Promised
from jobd.store.pruning import Pruning
from jobd.store.restore import bring_up, check, mend, read_snapshot
from jobd.store.sqlreader import SqlReader, read_specs
from jobd.store.whole import missing_pages

T = TypeVar("T")
Call = Callable[..., None]
Task = Callable[[sqlite3.Connection], None]

OLDEST = (3, 32)
"""The first SQLite with C{iif}."""

PATIENCE = 2.0
"""Seconds to wait for another program that has locked the file. Meanwhile nothing else is told to anybody, either."""

CACHE = 1 << 20
"""
Bytes of pages that each connection remembers. More makes nothing faster, not even a million keys at random, but
commits slower: SQLite looks through all of them whenever pages have changed places (with 16 MB for 0.4 ms).
"""

CACHE_WRITTEN = 4096
"""Pages that one batch may change before some are written ahead of the rest, perhaps to be read and written again."""

LONGEST_LEFT = 64 << 20
"""Bytes that the log's file may keep when what was in it has been folded back: it had to grow once."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection as every part of the store has it. Tests put their own disk behind it."""
    return sqlite3.connect(path, isolation_level=None, timeout=PATIENCE, check_same_thread=False)


class SqliteStore:
    """
    @param path: the file; made if it is not there.
    @param synced: whether a batch is safe only once the disk has it (durability C{commit}), or once
        the operating system has it (C{os}).
    @param call_back: calls a function with arguments in the thread that all this belongs to, as
        C{reactor.callFromThread} does.
    @param connect: opens the file.
    """

    def __init__(
        self,
        path: Path,
        synced: bool,
        call_back: Call,
        connect: Callable[[Path], sqlite3.Connection] = connect,
    ) -> None:
        self._path = path
        self._synced = synced
        self._call_back = call_back
        self._open_file = connect
        self._log = Log(path)
        self._promised = Promised(path.with_suffix(".promised"))
        self._pruning = Pruning()
        self._failed: Exception | None = None
        self._writing: SimpleQueue[Task | None] = SimpleQueue()
        self._reading: SimpleQueue[Task | None] = SimpleQueue()
        self._fetching: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def open(self) -> Snapshot:
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreError(f"jobd needs SQLite 3.32 or later, this Python has {sqlite3.sqlite_version}")
        promise = self._promised.read()
        fresh = not self._path.exists() or not self._path.stat().st_size
        if fresh:
            self._compare(promise, Snapshot())
        connections: list[sqlite3.Connection] = []
        try:
            snapshot = self._open(connections, fresh, promise)
        except Exception as problem:
            for database in connections:
                database.close()
            if not isinstance(problem, (sqlite3.Error, OSError)):
                raise
            known = explain(problem, self._path)
            text = str(known) if isinstance(known, Full) else f"the job store {self._path} cannot be read: {problem}"
            raise StoreError(text) from problem
        work_of = {"writer": self._writing, "reader": self._reading, "fetcher": self._fetching}
        for (name, work), database in zip(work_of.items(), connections, strict=True):
            thread = Thread(target=_serve, args=(work, database), name=f"jobd store {name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return snapshot

    def _open(self, connections: list[sqlite3.Connection], fresh: bool, promise: Promise | None) -> Snapshot:
        missing = 0 if fresh else missing_pages(self._path)
        if missing:
            raise StoreError(f"the job store {self._path} cannot be read: {missing} of its pages are missing")
        database = self._connect()
        connections.append(database)
        self._prepare(database, fresh)
        snapshot = self._take_up(database, promise)
        if fresh:
            sync_folders(self._path.parent)
        connections += [self._connect(), self._connect()]
        safe = snapshot.next_id, snapshot.cursor, snapshot.changes
        self._promised.begin(Promise(snapshot.instance, self._synced, *safe))
        return snapshot

    def _connect(self) -> sqlite3.Connection:
        database = self._open_file(self._path)
        mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"the job store {self._path} cannot be in WAL mode, on this file system")
        database.execute(f"PRAGMA synchronous = {'FULL' if self._synced else 'OFF'}")
        # Where a sync alone would not reach through the disk's own cache (macOS).
        database.execute(f"PRAGMA fullfsync = {int(self._synced)}")
        # The writer folds the log: see jobd.store.log.
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute(f"PRAGMA journal_size_limit = {LONGEST_LEFT}")
        database.execute(f"PRAGMA cache_size = -{CACHE >> 10}")
        database.execute(f"PRAGMA cache_spill = {CACHE_WRITTEN}")
        return database

    def _prepare(self, database: sqlite3.Connection, fresh: bool) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if fresh or (version == 0 and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]):
            database.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            database.executescript(f"BEGIN; {schema.CREATE} PRAGMA user_version = {schema.VERSION}; COMMIT;")
        elif database.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION_ID:
            raise StoreError(f"{self._path} is an SQLite file, but not one of jobd's")
        elif not 1 <= version <= schema.VERSION:
            raise StoreError(
                f"{self._path} has schema version {version}; this jobd reads versions up to {schema.VERSION}: "
                "start the jobd that wrote it, or a newer one"
            )

    def _take_up(self, database: sqlite3.Connection, promise: Promise | None) -> Snapshot:
        """
        All there is, once it is whole and, before anybody is told of it, on the disk: the daemon before may have
        died between writing it and syncing it, or of a sync that failed, or had a lesser durability. So something is
        written, and all of the log folded into the file, which is then synced as a whole.
        """
        notes = check(database)
        with transaction(database):
            bring_up(database)
            mended = mend(database)
            snapshot = attrs.evolve(read_snapshot(database), notes=notes, mended=mended)
            snapshot = self._compare(promise, snapshot)
            for mark in (
                ("instance", int(snapshot.instance, 16)),
                ("next_id", snapshot.next_id),
                ("cursor", snapshot.cursor),
                ("changes", snapshot.changes),
            ):
                database.execute(schema.WRITE_MARK, mark)
            database.execute(*schema.COUNT_OPENED)
        self._log.begin_anew(database)
        # The first frame of a new log, synced: nothing of the old one, of which a disk that failed may have kept
        # a part only, comes back.
        database.execute(*schema.COUNT_OPENED)
        return snapshot

    def _compare(self, promise: Promise | None, found: Snapshot) -> Snapshot:
        """
        Is all there that was promised?

        @return: the snapshot under the right instance; a new one where nobody knows what was promised.
        @raise StoreError: something is missing that was on the disk.
        """
        if promise is None:
            return attrs.evolve(found, instance=f"{secrets.randbits(63):016x}")
        another = found.instance not in ("", promise.instance)
        # A record that cannot be read may be the one with the newest cursor.
        told = found.cursor >= promise.cursor or any(kept.unreadable for kept in found.jobs)
        whole = found.next_id >= promise.next_id and told and found.changes >= promise.changes
        if whole and not another:
            return attrs.evolve(found, instance=promise.instance, cursor=max(found.cursor, promise.cursor))
        if promise.synced or another:
            missing = "is another one than" if another else "knows less than"
            raise StoreError(
                f"the job store {self._path} {missing} what was here: jobs up to {promise.next_id - 1} were accepted, "
                f"it has jobs up to {found.next_id - 1}, and what last became of them may be missing. "
                f"Bring the right one back; or remove {self._promised.path} to go on without what is missing"
            )
        # What durability os allows: the machine failed. No id is given out again.
        lost = f"jobs from {found.next_id} to {promise.next_id - 1}"
        what = lost if found.next_id < promise.next_id else "what last became of some jobs"
        note = f"{what} had not reached the disk when the machine failed"
        return attrs.evolve(
            found,
            instance=promise.instance,
            next_id=max(found.next_id, promise.next_id),
            cursor=max(found.cursor, promise.cursor),
            changes=max(found.changes, promise.changes),
            notes=[*found.notes, note],
        )

    # Writing.

    def commit(self, batch: Iterable[Kept], done: Callable[[Exception | None], None]) -> None:
        prepared = prepare_batch(batch)

        def write(database: sqlite3.Connection) -> None:
            problem = self._write(database, lambda: write_batch(database, prepared.statements))
            self._call_back(done, problem if isinstance(problem, Exception) else None)
            if problem is None:
                self._promised.note(prepared.next_id, prepared.cursor, prepared.changes)
                self._pruning.ended(prepared.ended, prepared.oldest)

        self._writing.put(write)

    def fetch(self, ids: Sequence[int], done: Callable[[Specs | Exception], None]) -> None:
        def look(database: sqlite3.Connection) -> None:
            answer: Specs | Exception
            try:
                answer = read_specs(database, ids)
            except Exception as problem:
                answer = explain(problem, self._path)
            self._call_back(done, answer)

        self._fetching.put(look)

    def prune(self, keep: int, before: float, done: Callable[[list[int] | Exception], None]) -> None:
        def write(database: sqlite3.Connection) -> None:
            self._call_back(done, self._write(database, lambda: self._pruning.prune(database, keep, before)))

        self._writing.put(write)

    def _write(self, database: sqlite3.Connection, work: Callable[[], T]) -> T | Exception:
        """Do something that writes, unless a former one has failed for good."""
        if self._failed is not None:
            return self._failed
        try:
            self._keep_log_short(database)
            return work()
        except Exception as problem:
            known = explain(problem, self._path)
            if not isinstance(known, Full):
                self._failed = known
            return known

    def _keep_log_short(self, database: sqlite3.Connection) -> None:
        try:
            self._log.keep_short(database)
        except sqlite3.Error as problem:
            # Without room for that there may still be some in the log.
            if not isinstance(explain(problem, self._path), Full):
                raise

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
        for work in (self._writing, self._reading, self._fetching):
            work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._promised.close()


def _serve(work: SimpleQueue[Task | None], database: sqlite3.Connection) -> None:
    try:
        while (task := work.get()) is not None:
            task(database)
    finally:
        database.close()
