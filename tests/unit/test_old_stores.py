"""State that was written by a released version stays readable."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from jobd.job import State
from jobd.selector import Filter
from jobd.store import KeptEvent, Reader, schema
from jobd.store.sqlite import SqliteStore
from jobd.store.sqlreader import SqlReader
from tests.data.make_store import JOBS, SUBMITTED, path_of


class VersionOne(SynchronousTestCase):
    """The file of schema version 1, with a job in every state."""

    version = 1

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        shutil.copy(path_of(self.version), self.path)
        self.answers: list[object] = []
        store = SqliteStore(self.path, True, lambda done, *values: done(*values))
        self.addCleanup(store.close)
        self.store = store
        self.snapshot = store.open()

    def test_there_is_a_file_of_every_version(self) -> None:
        """A file of each version up to the present one is there."""
        self.assertEqual([], [version for version in range(1, schema.VERSION + 1) if not path_of(version).exists()])

    def test_jobs_that_had_not_ended(self) -> None:
        """They come back with state, attempt, times and what they were being ended for."""
        live = [(number, state) for number, (state, _) in enumerate(JOBS, 1) if not state.final]
        self.assertEqual(live, [(kept.id, kept.state) for kept in self.snapshot.jobs])
        jobs = {kept.id: kept for kept in self.snapshot.jobs}
        self.assertEqual([JOBS[number - 1][1] for number, _ in live], [jobs[number].spec for number, _ in live])
        self.assertEqual((1, SUBMITTED + 100, None), (jobs[7].attempt, jobs[7].started, jobs[7].ending))
        self.assertEqual(State.CANCELLED, jobs[8].ending)
        self.assertEqual((SUBMITTED + 11, SUBMITTED + 11 + 3600), (jobs[11].submitted, jobs[11].due))
        expected = (1, SUBMITTED + 7300, b'{"exit_code": 1, "attempt": 1}')
        self.assertEqual(expected, (jobs[12].attempt, jobs[12].due, jobs[12].outcome))

    def test_all_else(self) -> None:
        """Final states, keys, queues, groups, the next id and the cursor come back."""
        self.assertEqual((13, 7), (self.snapshot.next_id, self.snapshot.cursor))
        self.assertEqual([(number, number + 3) for number in range(1, 7)], list(self.snapshot.ended))
        self.assertEqual([("nightly", 1)], [(key, number) for key, number, _ in self.snapshot.keys])
        self.assertEqual([("*", None, False), ("net", 2, True)], sorted(self.snapshot.queues))
        self.assertEqual({"day": {"cancelled": 1}}, self.snapshot.groups)

    def test_questions(self) -> None:
        """Old jobs and events can be asked for."""

        def ask(reader: Reader) -> None:
            assert isinstance(reader, SqlReader)
            self.answers = [
                [(event.cursor, event.job_id) for event in reader.events(0, 100)],
                reader.group_event("night"),
                reader.ids(Filter(label="first", key="nightly", group="night"), 10),
                [record.state for record in reader.records([6])],
                [(record.id, record.state) for record in reader.select(Filter(), 0, 100, False)],
                msgspec.structs.astuple(reader.records([1])[0])[2:9],
            ]

        self.store.read(ask, lambda answer: None)
        self.store.close()
        events = [(1, 1), (2, 2), (3, 0), (4, 3), (5, 4), (6, 5), (7, 6)]
        group = KeptEvent(3, 0, None, b'{"group": "night", "succeeded": 1, "failed": 1}')
        states = [(number, state) for number, (state, _) in enumerate(JOBS, 1)]
        first = (1, SUBMITTED + 1, SUBMITTED + 100, SUBMITTED + 200, None, 1, b'{"exit_code": 0, "attempt": 1}')
        self.assertEqual([events, group, [1], [State.SKIPPED], states, first], self.answers)

    def test_present_version(self) -> None:
        """From then on it is a file of the present version."""
        self.store.close()
        with closing(sqlite3.connect(self.path)) as database, closing(sqlite3.connect(":memory:")) as new:
            new.executescript(schema.CREATE)
            tables = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
            self.assertEqual(new.execute(tables).fetchall(), database.execute(tables).fetchall())
            self.assertEqual(schema.VERSION, database.execute("PRAGMA user_version").fetchone()[0])


class VersionTwo(VersionOne):
    """The file of schema version 2, with the same."""

    version = 2


class Damaged(SynchronousTestCase):
    """An old file that the disk has damaged."""

    def test_ends(self) -> None:
        """
        A job whose end was told is lost where it cannot be read how it ended, and its event stays; where the event
        cannot be found either it is not known to have ended, and its record counts as one that cannot be read.
        """
        path = Path(self.mktemp())
        shutil.copy(path_of(1), path)
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("UPDATE jobs SET state = 'x' WHERE id = 1")
            database.execute("UPDATE jobs SET cursor = 'x' WHERE id = 2")
        store = SqliteStore(path, True, lambda done, *values: done(*values))
        self.addCleanup(store.close)
        snapshot = store.open()
        self.assertEqual([1], snapshot.mended)
        self.assertEqual((1, State.LOST), next(iter(snapshot.ended)))
        self.assertEqual([(2, "state")], [(kept.id, kept.unreadable) for kept in snapshot.jobs if kept.unreadable])
