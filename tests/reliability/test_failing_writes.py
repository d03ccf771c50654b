"""The disk is full, or fails: the nth call of each kind, for every n there is; and the same under a real daemon."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import apsw
from twisted.trial.unittest import SynchronousTestCase

from jobd.errors import Full, StoreError
from jobd.store import log
from jobd.store.sqlite import SqliteStore
from tests.reliability.powercut import Given, Told
from tests.reliability.powercut_load import Load, ask, contents, found_in, straight
from tests.reliability.powercut_vfs import Nth, Recorder, failed, no_room

BATCHES = 6

NAME = "jobs.sqlite"


class Failing(SynchronousTestCase):
    """Every place in a short load."""

    def setUp(self) -> None:
        shared = Path("/dev/shm")
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-", dir=shared if shared.exists() else None)
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name) / "state"
        self.patch(log.Log.__init__, "__defaults__", (20, log.MOST, 2))

    def each(self, kind: str, problem: Callable[[str], apsw.Error], lasting: bool, live: Callable[[Nth], None]) -> int:
        """One life for each call of this kind. Returns how many there were."""
        nth = 0
        while True:
            nth += 1
            shutil.rmtree(self.home, ignore_errors=True)
            self.home.mkdir()
            fault = Nth(kind, nth, problem, lasting)
            self.recorder = Recorder(fault)
            live(fault)
            if fault.seen < nth:
                return nth - 1

    def store(self) -> SqliteStore:
        return SqliteStore(self.home / NAME, True, straight, self.recorder.connect)

    def steps(self, load: Load) -> list[Callable[[], Exception | None]]:
        batches: list[Callable[[], Exception | None]] = [load.batch] * BATCHES
        return [*batches, lambda: load.prune(3), *batches, lambda: load.prune(3)]

    # No room.

    def test_no_room(self) -> None:
        """
        From any write on there is no room: the batch is refused as one that may be given again, nothing of it is kept,
        questions are answered; and as soon as there is room it is kept, with nothing to be done.
        """
        self.refused = 0
        calls = self.each("write", no_room, True, self.live_without_room)
        self.assertGreater(calls, 100)
        self.assertGreater(self.refused, 80)

    def live_without_room(self, fault: Nth) -> None:
        store = self.store()
        try:
            load = Load(7, store, lambda event: None, remember=False)
        except StoreError as problem:
            self.assertIn("there is no room for the job store", str(problem))
            fault.over = True
            store = self.store()
            load = Load(7, store, lambda event: None, remember=False)
        for step in self.steps(load):
            refused = step()
            if refused is not None:
                self.refused += 1
                self.assertIsInstance(refused, Full)
                # The whole of what a client may see; the snapshot is that of the model.
                before = load.state()
                seen = ask(store, lambda reader: contents(load.model.open(), reader))
                self.assertEqual(before, seen)
                again = load.again()
                self.assertIsInstance(again, Full)
                fault.over = True
                self.assertIsNone(load.again())
        store.close()
        self.assertEqual(load.state(), found_in(self.home / NAME))

    # The disk fails.

    def test_writes_that_fail(self) -> None:
        """A write that fails ends the store."""
        self.fail_each("write", 100)

    def test_syncs_that_fail(self) -> None:
        """A sync that fails ends the store: its batch is not told to be safe, and nothing is synced again."""
        self.fail_each("sync", 20)

    def test_truncations_that_fail(self) -> None:
        """So does a truncation."""
        self.fail_each("truncate", 2)

    def test_files_that_cannot_be_opened(self) -> None:
        """And a file that cannot be opened."""
        self.fail_each("open", 3)

    def fail_each(self, kind: str, least: int) -> None:
        self.assertGreaterEqual(self.each(kind, failed, False, self.live_with_failure), least)

    def live_with_failure(self, fault: Nth) -> None:
        store = self.store()
        told: list[Given | Told] = []
        try:
            load = Load(7, store, told.append, remember=False)
        except StoreError:
            # Nothing was promised; what is there is a store, or nothing.
            self.assertEqual([], told)
            found = found_in(self.home / NAME)
            self.assertEqual((1, []), (found["next_id"], found["records"]))
            return
        for step in self.steps(load):
            problem = step()
            if problem is not None:
                self.assertIsInstance(problem, StoreError)
                self.assertNotIsInstance(told[-1], Told)
                calls = len(self.recorder.events)
                self.assertIs(problem, load.again())
                self.assertIsInstance(load.prune(1), StoreError)
                self.assertEqual(calls, len(self.recorder.events))
                break
        store.close()
        found = found_in(self.home / NAME)
        if found != load.state():
            self.assertEqual(load.perhaps(), found)
