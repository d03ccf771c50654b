"""A power cut loses nothing that was acknowledged, wherever it comes; without its syncs the store would be caught."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from jobd.errors import StoreError
from jobd.store import folders, log, promised, schema, sqlite
from jobd.store.sqlite import SqliteStore
from tests.data.make_store import JOBS, path_of
from tests.reliability.powercut import WAYS, Disk, Event, Given, Open, Sync, SyncFolder, Told, Way, Write
from tests.reliability.powercut_load import Contents, Load, ask, contents, found_in, straight
from tests.reliability.powercut_vfs import Database, Nth, Recorder, Rows, failed

SEEDS = [int(word) for word in os.environ.get("JOBD_POWERCUT_SEEDS", "1").split()]
"""Each is a load, and the cuts in it. C{make powercut SEEDS="1 2 3"} takes more of them."""

BATCHES = 30

NAME = "jobs.sqlite"


class Lost(AssertionError):
    """The store does not have what it was told to be safe."""


class Recording(SynchronousTestCase):
    """A store whose calls are recorded."""

    def setUp(self) -> None:
        shared = Path("/dev/shm")
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-", dir=shared if shared.exists() else None)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.recorder = Recorder()
        # Small enough for the log to be folded now and then.
        self.patch(log.Log.__init__, "__defaults__", (40, log.MOST, 2))

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """What the store does to files by itself is recorded, too."""
        events = self.recorder.events
        begin, note, real = promised.Promised.begin, promised.Promised.note, folders.sync_folders

        def begun(file: promised.Promised, promise: promised.Promise) -> None:
            begin(file, promise)
            self._whole(file.path)
            events.append(Sync(file.path.name))

        def noted(file: promised.Promised, next_id: int, cursor: int, changes: int) -> None:
            note(file, next_id, cursor, changes)
            self._whole(file.path)

        for module in (sqlite, promised):
            self.patch(module, "sync_folders", lambda folder: events.append(SyncFolder()))
        self.patch(promised.Promised, "begin", begun)
        self.patch(promised.Promised, "note", noted)
        yield
        for module in (sqlite, promised):
            self.patch(module, "sync_folders", real)
        self.patch(promised.Promised, "begin", begin)
        self.patch(promised.Promised, "note", note)

    def _whole(self, path: Path) -> None:
        """That file is written by Python, in one piece that is one sector."""
        events = self.recorder.events
        if not any(isinstance(event, Open) and event.name == path.name for event in events):
            events.append(Open(path.name, False))
        events.append(Write(path.name, 0, path.read_bytes()))

    def record(self, seed: int, synced: bool = True) -> tuple[list[Event], list[Contents]]:
        """All calls of a load, and what it was told to be safe."""
        home = self.folder / "recorded"
        home.mkdir()
        self.recorder.events.clear()
        with self.recorded():
            store = SqliteStore(home / NAME, synced, straight, self.recorder.connect)
            load = Load(seed, store, self.recorder.events.append)
            for number in range(BATCHES):
                self.assertIsNone(load.batch())
                if number % 10 == 9:
                    self.assertIsNone(load.prune(6))
            store.close()
        shutil.rmtree(home)
        return list(self.recorder.events), load.states

    def files(self, image: dict[str, bytes]) -> Path:
        """Rebuilds the files; returns the store's."""
        home = self.folder / "rebuilt"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for name, content in image.items():
            (home / name).write_bytes(content)
        return home / NAME

    def look(self, image: dict[str, bytes], states: list[Contents], told: int, given: int, where: str) -> None:
        """
        All is there that was told to be safe, and of what was only given all or nothing of each batch.

        @raise Lost: it is not.
        """
        try:
            found = found_in(self.files(image))
        except StoreError as problem:
            if told < 0:
                # Nothing was promised yet, and what is there may be removed.
                return
            raise Lost(f"{where}: {problem}") from problem
        if told >= 0 and found not in states[told : given + 1]:
            missing = {record[0] for record in states[told]["records"]} - {record[0] for record in found["records"]}
            raise Lost(f"{where}: not what was told to be safe; {len(missing)} jobs are missing")


class Cuts(Recording):
    """The cut itself."""

    def cut(self, events: list[Event], states: list[Contents], seed: int) -> list[str]:
        """Cut the power at every place. Returns what was wrong afterwards."""
        problems = []
        seen: set[tuple[bytes, int, int]] = set()
        disk = Disk()
        told, given = -1, 0
        for place, event in enumerate(events):
            for way, number in ways(events, place):
                image = disk.cut(way, random.Random(f"{seed} {place} {number}"))
                mark = hashlib.sha256(repr(sorted(image.items())).encode()).digest()
                if (mark, told, given) in seen:
                    continue
                seen.add((mark, told, given))
                try:
                    self.look(image, states, told, given, f"seed {seed}, cut before call {place} ({way} {number})")
                except Lost as problem:
                    problems.append(str(problem))
            disk.happen([event])
            told = event.number if isinstance(event, Told) else told
            given = event.number if isinstance(event, Given) else given
        self.looked = len(seen)
        return problems

    def test_nothing_is_lost(self) -> None:
        """
        At every call of the store's, whatever part of what was not synced is on the disk: all that was told to be
        safe is there, nothing is half there, and ids and cursors go on where they stood.
        """
        for seed in SEEDS:
            events, states = self.record(seed)
            self.assertEqual([], self.cut(events, states, seed))
            self.assertGreater(self.looked, 500)

    def lost(self, events: list[Event], states: list[Contents]) -> int:
        """After how many cuts, in the first third of it all, jobs are missing that were acknowledged."""
        problems = self.cut(events[: len(events) // 3], states, SEEDS[0])
        return sum("jobs are missing" in problem and " 0 jobs" not in problem for problem in problems)

    def test_control(self) -> None:
        """Control: without syncs (durability os) jobs that were acknowledged are lost, and that is found."""
        self.assertGreater(self.lost(*self.record(SEEDS[0], synced=False)), 50)

    def test_control_with_fewer_syncs(self) -> None:
        """Control: with those syncs only that keep the file whole, as SQLite's NORMAL has them, it is found too."""
        execute = Database.execute

        def weaker(database: Database, sql: str, values: Sequence[Any] = ()) -> Rows:
            return execute(database, sql.replace("synchronous = FULL", "synchronous = NORMAL"), values)

        self.patch(Database, "execute", weaker)
        self.assertGreater(self.lost(*self.record(SEEDS[0])), 50)


class Lives(Recording):
    """A cut after a daemon was killed, and another one had begun to tell what it found."""

    def second_life(self, disk: Disk, where: str) -> None:
        """A store opens what a killed one left in the cache; then the power is cut."""
        self.recorder.events.clear()
        self.recorder.fault = lambda kind, name: None
        with self.recorded():
            store = SqliteStore(self.files(disk.image()), True, straight, self.recorder.connect)
            snapshot = store.open()
            opened = len(self.recorder.events)
            found = ask(store, lambda reader: contents(snapshot, reader))
            store.close()
        disk.happen(self.recorder.events[:opened])
        for number, way in enumerate((*WAYS, *WAYS)):
            self.look(disk.cut(way, random.Random(f"{where} {number}")), [found], 0, 0, f"{where}, {way} {number}")

    def test_what_was_found_is_safe(self) -> None:
        """
        What a daemon tells of after it found it on the disk survives a power cut, also what the one before had
        written and not synced when it was killed.
        """
        for seed in SEEDS:
            events, _ = self.record(seed)
            first = next(place for place, event in enumerate(events) if isinstance(event, Told))
            for place in random.Random(seed).sample(range(first, len(events)), 25):
                disk = Disk()
                disk.happen(events[:place])
                self.second_life(disk, f"seed {seed}, killed before call {place}")

    def test_what_was_found_after_a_sync_that_failed(self) -> None:
        """
        After a sync that failed the store is not used again, and what the next daemon finds in the cache and tells
        of survives a power cut, though the disk may have kept nothing of it and no later sync would bring it there.
        """
        for seed in SEEDS:
            self.fail_syncs(seed)

    def test_control(self) -> None:
        """Control: with a store that goes on with the log it found that is caught."""
        self.patch(log.Log, "begin_anew", lambda found, database: None)
        self.assertRaises(Lost, self.fail_syncs, SEEDS[0])

    def fail_syncs(self, seed: int) -> None:
        """A life with a sync that fails, and a second one; with one sync after the other."""
        for nth in range(1, 40, 4):
            home = self.folder / "recorded"
            home.mkdir()
            self.recorder.events.clear()
            with self.recorded():
                store = SqliteStore(home / NAME, True, straight, self.recorder.connect)
                load = Load(seed, store, self.recorder.events.append)
                self.recorder.fault = Nth("sync", nth, failed)
                problem = None
                while problem is None:
                    problem = load.batch()
                self.assertIsInstance(problem, StoreError)
                called = len(self.recorder.events)
                self.assertIsInstance(load.keep(), StoreError)
                self.assertEqual([], [one for one in self.recorder.events[called:] if not isinstance(one, Given)])
                store.close()
            disk = Disk()
            disk.happen(self.recorder.events[:called])
            shutil.rmtree(home)
            self.second_life(disk, f"seed {seed}, sync {nth} failed")


class Older(Recording):
    """A cut while a store that an older jobd has written is brought up to the present schema."""

    def test_nothing_is_lost(self) -> None:
        """Wherever it comes, the next daemon finds all of it."""
        for version in range(1, schema.VERSION):
            old = path_of(version).read_bytes()
            expected = found_in(self.files({NAME: old}))
            self.assertEqual(len(JOBS), len(expected["records"]))
            self.recorder.events[:] = [Open(NAME, False), Write(NAME, 0, old), Sync(NAME), SyncFolder()]
            written = len(self.recorder.events)
            with self.recorded():
                store = SqliteStore(self.files({NAME: old}), True, straight, self.recorder.connect)
                store.open()
                store.close()
            events = list(self.recorder.events)
            self.assertGreater(len(events), written + 20)
            disk = Disk()
            for place, event in enumerate(events):
                for way in WAYS if place >= written else ():
                    where = f"version {version}, cut before call {place}, {way}"
                    self.look(disk.cut(way, random.Random(where)), [expected], 0, 0, where)
                disk.happen([event])
            self.look(disk.image(), [expected], 0, 0, f"version {version}, afterwards")


def ways(events: list[Event], place: int) -> Iterator[tuple[Way, int]]:
    """Around a sync all ways, some of them twice; elsewhere, where little can differ, one at a time."""
    near = any(isinstance(event, (Sync, Told)) for event in events[max(0, place - 1) : place + 2])
    if near:
        yield from ((way, 0) for way in WAYS)
        yield "torn", 1
    elif place % 3 == 0:
        yield WAYS[place // 3 % len(WAYS)], 2
