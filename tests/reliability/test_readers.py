"""Others use the job store's file: readers, backups, and who locks it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from jobd.errors import Full, StoreError
from jobd.store import log, sqlite
from jobd.store.sqlite import SqliteStore
from tests.daemon import Daemon
from tests.functional.conversation import Talk
from tests.reliability.powercut_load import Load, ask, contents, found_in, straight

NAME = "jobs.sqlite"

PAGE = 4096 + log.FRAME_HEADER


class Shared(SynchronousTestCase):
    """A state folder, and other processes at it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve() / "state"
        self.folder.mkdir()
        self.path = self.folder / NAME
        self.log = self.folder / f"{NAME}-wal"

    def another(self, *statements: str) -> subprocess.Popen[str]:
        """Another program that has executed these, and holds what they hold until its input ends."""
        code = (
            "import sqlite3, sys; database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "for sql in sys.argv[2:]: database.execute(sql).fetchall()\n"
            "print('ready', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", code, str(self.path), *statements]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.let_go, process)
        assert process.stdout is not None
        self.assertEqual("ready\n", process.stdout.readline())
        return process

    def let_go(self, process: subprocess.Popen[str]) -> None:
        with process:
            assert process.stdin is not None
            process.stdin.close()

    def load(self, synced: bool = False) -> Load:
        self.store = SqliteStore(self.path, synced, straight)
        self.addCleanup(self.store.close)
        return Load(9, self.store, lambda event: None, remember=False)


class Readers(Shared):
    """Who reads, for however long."""

    def test_the_log_stays_short(self) -> None:
        """The log is folded back again and again: it does not grow with what was written."""
        self.patch(log.Log.__init__, "__defaults__", (50, 400, 1))
        load = self.load()
        for _ in range(300):
            self.assertIsNone(load.batch())
        self.assertLess(self.log.stat().st_size, 150 * PAGE)

    def test_a_reader_that_stays(self) -> None:
        """
        A reader that never lets go makes the log grow up to its limit; then batches are refused as ones that may be
        given again. Nothing is ever busy. Once it lets go the log becomes short again, and its file small.
        """
        self.patch(log.Log.__init__, "__defaults__", (50, 400, 1))
        self.patch(sqlite, "LONGEST_LEFT", 100 * PAGE)
        load = self.load()
        self.assertIsNone(load.batch())
        reader = self.another("BEGIN", "SELECT count(*) FROM jobs")
        refused = None
        while refused is None:
            refused = load.batch()
        self.assertIsInstance(refused, Full)
        self.assertIn("another program has been reading the job store for too long", str(refused))
        self.assertGreater(self.log.stat().st_size, 400 * PAGE)
        self.assertLess(self.log.stat().st_size, 600 * PAGE)
        self.assertEqual(load.state(), ask(self.store, lambda reader: contents(load.model.open(), reader)))
        self.assertIsInstance(load.again(), Full)
        self.let_go(reader)
        self.assertIsNone(load.again())
        for _ in range(3):
            self.assertIsNone(load.batch())
        self.assertLess(self.log.stat().st_size, 150 * PAGE)

    def test_backups(self) -> None:
        """Copies made by SQLite's own means, while jobs are written, are whole stores that can be opened."""
        self.patch(log.Log.__init__, "__defaults__", (50, 400, 1))
        load = self.load()
        for number in range(6):
            for _ in range(5):
                self.assertIsNone(load.batch())
            copy = self.folder.with_name(f"copy-{number}") / NAME
            copy.parent.mkdir()
            if number % 2:
                self.let_go(self.another(f"VACUUM INTO '{copy}'"))
            else:
                with (
                    contextlib.closing(sqlite3.connect(self.path)) as source,
                    contextlib.closing(sqlite3.connect(copy)) as target,
                ):
                    source.backup(target)
            self.assertEqual(load.state(), found_in(copy))
            shutil.rmtree(copy.parent)

    def test_an_old_backup(self) -> None:
        """A backup put in the store's place is noticed, and taken once that is wanted."""
        load = self.load(synced=True)
        load.batch()
        self.let_go(self.another(f"VACUUM INTO '{self.folder}/copy'"))
        before = load.state()
        for _ in range(5):
            load.batch()
        self.store.close()
        (self.folder / "copy").replace(self.path)
        problem = self.assertRaises(StoreError, found_in, self.path)
        self.assertIn(f"or remove {self.folder}/jobs.promised to go on", str(problem))
        (self.folder / "jobs.promised").unlink()
        self.assertEqual(before, found_in(self.path))


class Locks(Shared):
    """Who locks the file."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(sqlite, "PATIENCE", 0.05)

    def test_a_lock_that_stays(self) -> None:
        """While another program holds the store locked, batches are refused as ones that may be given again."""
        load = self.load()
        self.assertIsNone(load.batch())
        holder = self.another("BEGIN IMMEDIATE")
        refused = load.batch()
        self.assertIsInstance(refused, Full)
        self.assertIn("another program keeps the job store", str(refused))
        self.assertEqual(load.state(), ask(self.store, lambda reader: contents(load.model.open(), reader)))
        self.let_go(holder)
        self.assertIsNone(load.again())

    def test_at_the_start(self) -> None:
        """A store that another program holds locked cannot be begun with; the error says so."""
        self.load().batch()
        self.store.close()
        holder = self.another("BEGIN EXCLUSIVE")
        problem = self.assertRaises(StoreError, SqliteStore(self.path, True, straight).open)
        self.assertIn("another program keeps the job store", str(problem))
        self.let_go(holder)
        found_in(self.path)


class Daemons(Shared):
    """With a real daemon."""

    def test_no_client_hears_of_it(self) -> None:
        """A lock of some moments delays what has to be kept, nothing else; no client hears of it."""
        daemon = Daemon(self.folder)
        self.addCleanup(daemon.stop)
        daemon.start()
        with Talk.unix(daemon) as talk, Talk.unix(daemon) as other:
            talk.run(argv=["true"])
            reader = self.another("BEGIN", "SELECT count(*) FROM jobs")
            holder = self.another("BEGIN IMMEDIATE")
            talk.send('submit {"argv": ["true"]}')
            self.assertEqual(1, other.json("hello")["cursor"])
            self.let_go(holder)
            self.assertEqual("ok 2", talk.reply())
            self.assertEqual("succeeded", talk.end_of(2).state)
            self.let_go(reader)
            self.assertEqual("succeeded", talk.run(argv=["true"]).state)
