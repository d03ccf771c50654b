"""Files that the disk has damaged: one record, all of it, or cut at any byte."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import sqlite3
import tempfile
import zlib
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from jobd.actions import Kept, Update
from jobd.errors import StoreError
from jobd.job import State
from jobd.scheduler import NEAR
from jobd.store import log
from jobd.store.promised import Promised
from jobd.store.sqlite import SqliteStore
from jobd.testing import FakePool, MemoryDaemon
from tests.daemon import Daemon
from tests.functional.conversation import Talk
from tests.reliability.powercut_load import PATIENCE, Load, found_in, straight
from tests.unit.test_store import new_job

GARBAGE: tuple[Any, ...] = (
    "nonsense", b"\xff\xfe\x00nonsense", 77, -(2**62), 1.5, 1e999, "", b"", "{}", '{"argv": 5}', "[1]", "{", b"\n",
    None,
)  # fmt: skip
"""What may stand in a column after the disk has had its way."""

COLUMNS = {
    "jobs": ("state", "attempt", "submitted", "started", "due", "ending", "outcome", "spec"),
    "ends": ("cursor", "state", "attempt", "started", "ended", "outcome"),
}

NAME = "jobs.sqlite"


class Files(SynchronousTestCase):
    """A state folder."""

    def setUp(self) -> None:
        shared = Path("/dev/shm")
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-", dir=shared if shared.exists() else None)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve() / "state"
        self.folder.mkdir()
        self.path = self.folder / NAME

    def change(self, sql: str, *values: Any) -> None:
        """Change the file behind the store's back."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute(sql, values)


class Records(Files):
    """One record is damaged."""

    def daemon(self, pool: FakePool | None = None, near: int = NEAR) -> MemoryDaemon:
        """One on the store in the folder, whose answers come at once."""
        self.store = SqliteStore(self.path, True, straight)
        self.addCleanup(self.store.close)
        return MemoryDaemon(_AtOnce(self.store), pool or FakePool(cpus=1), near=near)

    def fill(self) -> None:
        """1 has ended, 2 runs, 3 waits for it, 4 to 6 are queued, 5 with a key, 6 in a group; 7 waits, 8, 9 for 6."""
        daemon = self.daemon()
        client = daemon.connect()
        jobs: list[dict[str, Any]] = [
            {}, {}, {"after": [2]}, {}, {"key": "k"}, {"group": "g"}, {"delay": 1000}, {"after": [6]},
            {"after": {"6": "any"}},
        ]  # fmt: skip
        for fields in jobs:
            client.send("submit " + json.dumps({"argv": ["true"], "cpus": 1, "notify": False, **fields}))
            if fields == {} and len(daemon.pool.started) == 1 and daemon.pool.running:
                daemon.pool.finish(1)
                daemon.settle()
        self.assertEqual(["succeeded", "running"], [daemon.scheduler.state_of(number).word for number in (1, 2)])  # type: ignore[union-attr]
        self.store.close()

    def test_any_column(self) -> None:
        """
        Whatever stands in any column of any record: the daemon starts, every id still answers, an ended job that
        cannot be read stays ended, another is lost and says why, and all others go on.
        """
        self.fill()
        sound = self.folder.with_name("sound")
        shutil.copytree(self.folder, sound)
        for table, numbers in (("jobs", (1, 2, 4)), ("ends", (1,))):
            for column, value, number in itertools.product(COLUMNS[table], GARBAGE, numbers):
                shutil.rmtree(self.folder)
                shutil.copytree(sound, self.folder)
                self.change(f"UPDATE {table} SET {column} = ? WHERE id = ?", value, number)
                self.check(f"{table}: {column} = {value!r} of job {number}", number)

    def check(self, case: str, number: int) -> None:
        daemon = self.daemon()
        client = daemon.connect()
        for one in range(1, 10):
            shown = client.ask(f"show {one}")
            self.assertTrue(shown.startswith(f'ok {{"id":{one},'), (case, shown))
            self.assertTrue(client.ask(f"why {one}").startswith(f"ok job {one} "), case)
            if one == number and '"state":"lost"' in shown:
                client.send(f"wait {one}")
                reply, event = client.take()
                self.assertTrue(reply == "ok 1" and f" {one} lost " in event, (case, reply, event))
        self.assertEqual(9, len(json.loads(client.ask("list")[3:])["jobs"]), case)
        client.send('watch {"since": 0}')
        watched = client.take()
        self.assertTrue(all(line.startswith(("ok ", "* ")) for line in watched), (case, watched))
        for line in watched[1:]:
            json.loads(line.split(" ", 4)[4])
        self.store.close()

    def test_far_from_its_turn(self) -> None:
        """One that is damaged while the daemon runs, and has not come near its turn, is lost when it does."""
        daemon = self.daemon(near=1)
        client = daemon.connect()
        client.send(*["run true"] * 10)
        text = '{"argv":["true"],\n"cwd":"/"}'
        damage = (("spec", b"\xff{", 5), ("spec", None, 6), ("submitted", "x", 7), ("spec", "{", 8), ("spec", text, 9))
        for column, value, number in damage:
            self.change(f"UPDATE jobs SET {column} = ? WHERE id = ?", value, number)
        for number in (1, 2, 3, 4, 10):
            daemon.pool.finish(number)
            daemon.settle()
        ends = [line.split()[2:4] for line in client.take() if line.startswith("* ")]
        lost = [[number, "lost"] for number in "56789"]
        self.assertEqual(sorted([[number, "succeeded"] for number in ("1", "2", "3", "4", "10")] + lost), sorted(ends))
        self.store.close()

    def test_lost(self) -> None:
        """A queued job whose record cannot be read is lost, is counted, and its key and its group know of it."""
        self.fill()
        self.change("UPDATE jobs SET spec = ? WHERE id IN (4, 5, 6)", b"\xff{")
        daemon = self.daemon()
        client = daemon.connect()
        self.assertEqual(3, json.loads(client.ask("stats")[3:])["unreadable"])
        shown = json.loads(client.ask("show 4")[3:])
        self.assertEqual("its record in the store could not be read", shown["outcome"]["error"])
        self.assertEqual(("lost", {}), (shown["state"], shown["spec"]))
        # What came after it with ok is skipped, with any goes on.
        self.assertEqual(["skipped", "running"], [daemon.scheduler.state_of(number).word for number in (8, 9)])  # type: ignore[union-attr]
        client.send('wait {"group": "g"}')
        self.assertIn('"lost":1', client.take()[1])
        self.assertIn("error CONFLICT", client.ask('submit {"argv": ["other"], "key": "k"}'))
        self.store.close()
        again = self.daemon().connect()
        self.assertEqual(0, json.loads(again.ask("stats")[3:])["unreadable"])
        self.assertIn('"state":"lost"', again.ask("show 4"))

    def test_an_attempt_of_it_is_ended(self) -> None:
        """What still runs of a job whose record cannot be read is not wanted any more: it counts as no place."""
        self.fill()
        self.change("UPDATE jobs SET attempt = 'x' WHERE id = 2")
        pool = FakePool(cpus=1)
        daemon = self.daemon(pool)
        self.assertEqual("lost", daemon.scheduler.state_of(2).word)  # type: ignore[union-attr]
        self.assertEqual([4], [start.job_id for start in pool.started])

    def test_other_tables(self) -> None:
        """Settings that cannot be read are forgotten, a group's event tells what it can; marks must be right."""
        self.fill()
        self.change("INSERT INTO queues VALUES (?, 'x', 1)", b"\xff")
        self.change("INSERT INTO group_events VALUES (99, 'h', ?)", b"\xff")
        client = self.daemon().connect()
        client.send('wait {"group": "h"}')
        self.assertEqual("ok 1", client.take()[0])
        self.assertTrue(client.ask("queue q").startswith("ok "))
        self.store.close()
        self.change("UPDATE marks SET value = 'x' WHERE name = 'next_id'")
        self.assertRaises(StoreError, SqliteStore(self.path, True, straight).open)

    def test_an_index(self) -> None:
        """An index that does not fit its table is made anew: a key is still known."""
        self.fill()
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("PRAGMA writable_schema = ON")
            ((root,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs_by_key'")
            database.execute("DELETE FROM sqlite_master WHERE name = 'jobs_by_key'")
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("UPDATE jobs SET key = 'other' WHERE key = 'k'")
            database.execute("PRAGMA writable_schema = ON")
            sql = "CREATE UNIQUE INDEX jobs_by_key ON jobs (key) WHERE key IS NOT NULL"
            database.execute("INSERT INTO sqlite_master VALUES ('index', 'jobs_by_key', 'jobs', ?, ?)", (root, sql))
        store = SqliteStore(self.path, True, straight)
        snapshot = store.open()
        store.close()
        self.assertEqual([("other", 5)], [(key, number) for key, number, _ in snapshot.keys])
        self.assertIn("has been made anew", snapshot.notes[0])


class _AtOnce:
    """A store of threads as one that answers before it returns."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.open, self.close = store.open, store.close

    def commit(self, batch: Any, done: Any) -> None:
        self._wait(lambda told: self._store.commit(batch, told), done)

    def read(self, question: Any, done: Any) -> None:
        self._wait(lambda told: self._store.read(question, told), done)

    def fetch(self, ids: Any, done: Any) -> None:
        self._wait(lambda told: self._store.fetch(ids, told), done)

    def prune(self, keep: int, before: float, done: Any) -> None:
        self._wait(lambda told: self._store.prune(keep, before, told), done)

    def _wait(self, begin: Any, done: Any) -> None:
        answers: Any = SimpleQueue()
        begin(answers.put)
        done(answers.get(timeout=PATIENCE))


class Cut(Files):
    """Files that are cut."""

    def filled(self, fold: int) -> Load:
        self.patch(log.Log.__init__, "__defaults__", (fold, log.MOST, 1))
        self.store = SqliteStore(self.path, True, straight)
        load = Load(3, self.store, lambda event: None)
        for _ in range(20):
            self.assertIsNone(load.batch())
        return load

    def copy(self) -> Path:
        """The files of a daemon that was killed just now."""
        killed = self.folder.with_name("killed")
        shutil.rmtree(killed, ignore_errors=True)
        shutil.copytree(self.folder, killed)
        return killed

    def test_at_any_byte(self) -> None:
        """
        Cut anywhere, the store's file or its log: the daemon says so and does not start, or all is there. A store that
        has lost something is never taken for one that has not, and never for an empty one.
        """
        load = self.filled(fold=20)
        expected = load.state()
        rng = random.Random(5)
        refused = 0
        for name in (NAME, f"{NAME}-wal"):
            size = (self.folder / name).stat().st_size
            self.assertGreater(size, 4096)
            edges = [0, 1, 31, 32, 33, 56, 100, 512, 4095, 4096, 4097, size - 4096, size - 1]
            for cut in (*edges, *rng.sample(range(size), 200)):
                killed = self.copy()
                with (killed / name).open("r+b") as file:
                    file.truncate(cut)
                refused += self.look(killed, expected, f"{name} cut at {cut} of {size}")
        self.assertGreater(refused, 250)
        self.store.close()

    def look(self, folder: Path, expected: dict[str, Any], case: str) -> int:
        try:
            found = found_in(folder / NAME)
        except StoreError:
            return 1
        self.assertEqual(expected, found, case)
        return 0

    def test_bytes_that_changed(self) -> None:
        """
        Some bytes are others: the daemon does not start, or every job that was accepted is known, and those that do not
        stand as they stood are lost and counted, or their text is other text that can be read.
        """
        load = self.filled(fold=20)
        expected = load.state()
        self.store.close()
        ids = [record[0] for record in expected["records"]]
        rng = random.Random(6)
        size = self.path.stat().st_size
        for _ in range(300):
            killed = self.copy()
            with (killed / NAME).open("r+b") as file:
                place = rng.randrange(size)
                file.seek(place)
                file.write(rng.randbytes(rng.choice([1, 1, 4, 16])))
            try:
                found = found_in(killed / NAME)
            except StoreError:
                continue
            self.assertEqual(ids, [record[0] for record in found["records"]], place)

    def test_what_is_missing(self) -> None:
        """The log, the store, or both are gone, or an old copy is there: the daemon says so and does not start."""
        load = self.filled(fold=10_000)
        old = self.copy()
        old = old.rename(old.with_name("old"))
        for _ in range(5):
            load.batch()
        for gone in ((NAME,), (f"{NAME}-wal",), (NAME, f"{NAME}-wal", f"{NAME}-shm")):
            killed = self.copy()
            for name in gone:
                (killed / name).unlink()
            problem = self.assertRaises(StoreError, found_in, killed / NAME)
            self.assertIn("jobs up to", str(problem))
            self.assertIn("Bring the right one back", str(problem))
        killed = self.copy()
        for name in (NAME, f"{NAME}-wal"):
            shutil.copy(old / name, killed / name)
        self.assertRaises(StoreError, found_in, killed / NAME)
        self.store.close()

    def test_going_on_without(self) -> None:
        """Who removes the file that says what was promised goes on with what there is, as another instance."""
        self.filled(fold=10_000)
        self.store.close()
        before = self.instance()
        self.assertEqual(before, self.instance())
        (self.folder / "jobs.promised").unlink()
        self.assertNotEqual(before, self.instance())
        self.path.unlink()
        self.assertRaises(StoreError, self.instance)
        (self.folder / "jobs.promised").unlink()
        self.instance()

    def instance(self) -> str:
        store = SqliteStore(self.path, True, straight)
        snapshot = store.open()
        store.close()
        return snapshot.instance

    def test_the_promise_itself(self) -> None:
        """What was promised, cut or changed anywhere, is not believed, and the store is taken as it is."""
        load = self.filled(fold=10_000)
        expected = load.state()
        whole = (self.folder / "jobs.promised").read_bytes()
        for place in range(len(whole)):
            for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
                if place % 7 == 0:
                    killed = self.copy()
                    (killed / "jobs.promised").write_bytes(damaged)
                    self.assertEqual(expected, found_in(killed / NAME), place)
        self.store.close()

    def test_durability_os(self) -> None:
        """With durability os a power cut may take what was told: the daemon starts, says so, and gives no id again."""
        load = self.filled(fold=10_000)
        self.store.close()
        state = load.state()
        path = self.folder / "jobs.promised"
        promise = Promised(path).read()
        assert promise is not None
        path.write_bytes(attrs.evolve(promise, synced=False, next_id=promise.next_id + 5).line())
        store = SqliteStore(self.path, False, straight)
        snapshot = store.open()
        store.close()
        self.assertEqual((promise.instance, state["next_id"] + 5), (snapshot.instance, snapshot.next_id))
        self.assertIn("had not reached the disk when the machine failed", snapshot.notes[0])

    def test_changes_alone(self) -> None:
        """A store is missed as well that has lost what became of jobs, and no job and no event."""
        for synced in (True, False):
            self.store = SqliteStore(self.path, synced, straight)
            snapshot = self.store.open()
            change = new_job(snapshot.next_id)
            self.keep(change)
            self.store.close()
            self.store = SqliteStore(self.path, synced, straight)
            self.store.open()
            change.job.state, change.job.attempt, change.job.started = State.RUNNING, 1, 1500.0
            self.keep(Update(change.job))
            # It is told before it is noted; when the next one is told, it has been.
            self.keep()
            killed = self.copy()
            self.store.close()
            (killed / f"{NAME}-wal").unlink()
            if synced:
                problem = self.assertRaises(StoreError, found_in, killed / NAME)
                self.assertIn("what last became of them may be missing", str(problem))
            else:
                store = SqliteStore(killed / NAME, synced, straight)
                self.assertIn("what last became of some jobs had not reached the disk", store.open().notes[0])
                store.close()

    def keep(self, *changes: Kept) -> None:
        answers: SimpleQueue[Exception | None] = SimpleQueue()
        self.store.commit(changes, answers.put)
        self.assertIsNone(answers.get(timeout=PATIENCE))

    def test_promise_of_version_1(self) -> None:
        """A file of the version before, which did not count such changes, is read."""
        load = self.filled(fold=10_000)
        self.store.close()
        path = self.folder / "jobs.promised"
        text = b" ".join(path.read_bytes().replace(b"promised 2", b"promised 1").split(b" ")[:-2])
        path.write_bytes(b"%s %08x\n" % (text, zlib.crc32(text)))
        promise = Promised(path).read()
        assert promise is not None
        self.assertEqual((load.state()["next_id"], 0), (promise.next_id, promise.changes))
        self.assertEqual(load.state(), found_in(self.path))


class Started(Files):
    """With a real daemon."""

    def test_one_record(self) -> None:
        """The daemon starts, logs the record it could not read, and goes on with the others."""
        daemon = Daemon(self.folder)
        self.addCleanup(daemon.stop)
        daemon.start()
        with Talk.unix(daemon) as talk:
            damaged = talk.submit(argv=["true"], delay=1000)
            other = talk.submit(argv=["true"], delay=1000)
            before = talk.json("hello")["instance"]
        daemon.kill()
        self.change("UPDATE jobs SET spec = 'x' WHERE id = ?", damaged)
        daemon.start()
        with Talk.unix(daemon) as talk:
            self.assertEqual(["lost", "waiting"], [talk.state(number) for number in (damaged, other)])
            self.assertEqual(1, talk.json("stats")["unreadable"])
            self.assertEqual(before, talk.json("hello")["instance"])
        # Then all that it has printed is here.
        daemon.stop()
        self.assertIn(f"the record of job {damaged} cannot be read: it is lost", daemon.log())

    def test_nothing_kept(self) -> None:
        """With durability memory ids begin anew with each daemon, and so does the instance that hello names."""
        daemon = Daemon(self.folder, "--durability", "memory")
        self.addCleanup(daemon.stop)
        seen = []
        for _ in range(2):
            daemon.start()
            with Talk.unix(daemon) as talk:
                self.assertEqual(1, talk.submit(argv=["true"], delay=1000))
                seen.append(talk.json("hello")["instance"])
            daemon.kill()
        self.assertEqual(2, len(set(seen)))

    def test_a_store_that_is_gone(self) -> None:
        """The daemon does not start with an empty queue where there were jobs: it ends with one clear line."""
        daemon = Daemon(self.folder)
        daemon.start()
        with Talk.unix(daemon) as talk:
            # What was promised by the first is written when the second is told.
            talk.submit(argv=["true"], delay=1000)
            talk.submit(argv=["true"], delay=1000)
        daemon.kill()
        for path in self.folder.glob(f"{NAME}*"):
            path.unlink()
        problem = self.assertRaises(AssertionError, daemon.start)
        lines = [line for line in str(problem).splitlines() if "] jobd: " in line]
        self.assertEqual(1, len(lines), problem)
        self.assertRegex(lines[0], "knows less than what was here: jobs up to [12] were accepted")
        self.assertFalse(self.path.exists())
