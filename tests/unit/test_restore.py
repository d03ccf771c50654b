"""What is read from a store when a daemon begins."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import TestCase

from jobd.errors import StoreError
from jobd.job import State
from jobd.snapshot import Kept
from jobd.store import schema
from jobd.store.restore import read_snapshot

SPEC = '{"argv": ["true"]}'


class RowTests(TestCase):
    """The rows of a snapshot."""

    def setUp(self) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.database.close)
        self.database.executescript(schema.CREATE)

    def insert(self, table: str = "jobs", **columns: object) -> None:
        row = {"state": 2, "attempt": 0, "submitted": 1.5, "spec": SPEC, **columns} if table == "jobs" else columns
        names = ", ".join(row)
        self.database.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", [*row.values()])

    def test_alike(self) -> None:
        """A job that was begun once comes as one that never was, between such, with what it has more."""
        self.insert(id=1)
        self.insert(id=2, attempt=1, started=2.5, outcome="{}", grp="g", due=3.5, state=1)
        self.insert(id=3, state=3, attempt=1, started=2.5, ending=6)
        self.insert(id=4, grp="g", state=1)
        spec = SPEC.encode()
        expected = [
            Kept(1, State.QUEUED, 0, 1.5, None, None, None, spec, None),
            Kept(2, State.WAITING, 1, 1.5, 2.5, 3.5, None, spec, b"{}", "g"),
            Kept(3, State.RUNNING, 1, 1.5, 2.5, None, State.CANCELLED, spec, None),
            Kept(4, State.WAITING, 0, 1.5, None, None, None, spec, None, "g"),
        ]
        self.assertEqual(expected, list(read_snapshot(self.database).jobs))

    def test_not_held(self) -> None:
        """They are read as they are gone through, and can be again."""
        snapshot = read_snapshot(self.database)
        self.insert(id=1)
        self.insert(id=2, state=3)
        self.insert("ends", id=2, state=4, cursor=1)
        for _ in range(2):
            self.assertEqual([1], [kept.id for kept in snapshot.jobs])
            self.assertEqual([(2, 4)], list(snapshot.ended))

    def test_cannot_be_read(self) -> None:
        """When the file fails meanwhile the store is refused, as when it fails at first."""
        snapshot = read_snapshot(self.database)
        self.database.execute("DROP TABLE jobs")
        problem = self.assertRaises(StoreError, lambda: list(snapshot.jobs))
        self.assertEqual("the job store cannot be read: no such table: jobs", str(problem))
