"""What is promised is kept: daemons that are killed or stopped, and started again on the same state."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from jobd.store import schema
from tests.daemon import Daemon
from tests.data.make_store import JOBS, path_of
from tests.functional.conversation import Event, Fifo, Talk
from tests.functional.test_jobs import ROOT
from tests.reliability.measures import wait_until


class Restarts(SynchronousTestCase):
    """A daemon of the test's own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        (self.folder / "state").mkdir(mode=0o700)

    def make(self, *options: str) -> Daemon:
        self.daemon = Daemon(self.folder / "state", "--workers", "2", *options)
        self.addCleanup(self.daemon.stop)
        return self.daemon

    def begin(self, *options: str) -> Talk:
        self.make(*options).start()
        return self.connect()

    def connect(self) -> Talk:
        talk = Talk.unix(self.daemon)
        self.addCleanup(talk.close)
        return talk

    def again(self, end: Callable[[Daemon], None] = Daemon.kill) -> Talk:
        """End the daemon, and start it again."""
        end(self.daemon)
        self.daemon.start()
        return self.connect()

    def fifo(self, name: str) -> Fifo:
        fifo = Fifo(self.folder / name)
        self.addCleanup(fifo.close)
        return fifo

    def watched(self, talk: Talk, since: int = 0) -> list[Event]:
        """All events from a cursor on, up to now."""
        with Talk.unix(self.daemon) as watcher:
            newest = int(watcher.ok(f'watch {{"since": {since}}}'))
            events: list[Event] = []
            while (events[-1].cursor if events else since) < newest:
                events.append(watcher.event())
        return events


class Killed(Restarts):
    """C{kill -9}."""

    def test_everything_acknowledged_is_there(self) -> None:
        """
        Killed at any moment of a stream of submissions: every job that was acknowledged is there, none
        stands there half, what was queued runs, and what was told is told no other way again.
        """
        talk = self.begin("--durability", "commit")
        acknowledged: list[int] = []
        told: dict[int, Event] = {}
        for round_ in range(4):
            text = json.dumps([{"call": "math:sqrt", "args": [2]}, {"argv": ["true"], "cpus": 0}] * 10)
            talk.send(*[f"submit {text}"] * 25)
            for _ in range(5 + round_ * 5):
                first, last = talk.reply().removeprefix("ok ").split("-")
                acknowledged.extend(range(int(first), int(last) + 1))
            # What has come up to now was promised.
            self.daemon.kill()
            with contextlib.suppress(AssertionError):
                while True:
                    event = talk.event()
                    if event.cursor:
                        self.assertEqual(event, told.setdefault(event.cursor, event))
            self.daemon.start()
            talk = self.connect()
            self.assertLessEqual(set(acknowledged), {one["id"] for one in self.all_jobs(talk)})
        self.let_all_end(talk)
        events = self.watched(talk)
        cursors = [event.cursor for event in events]
        self.assertEqual(sorted(set(cursors)), cursors)
        by_cursor = {event.cursor: event for event in events}
        self.assertEqual(told, {cursor: by_cursor[cursor] for cursor in told})
        self.assertEqual(len(events), len({event.job_id for event in events}))
        self.assertLessEqual(set(acknowledged), {event.job_id for event in events})

    def let_all_end(self, talk: Talk) -> None:
        """Wait for every job that has not ended."""
        ids = [one["id"] for one in self.all_jobs(talk) if one["state"] in ("waiting", "queued", "running")]
        if ids:
            talk.ok("wait " + ",".join(map(str, ids)))
            for job_id in ids:
                talk.end_of(job_id)

    def all_jobs(self, talk: Talk) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        more, start = True, 0
        while more:
            page = talk.json(f'list {{"limit": 1000, "from": {start}}}')
            jobs += page["jobs"]
            more, start = page["more"], jobs[-1]["id"] + 1 if jobs else 0
        return jobs

    def test_running_and_waiting(self) -> None:
        """When the machine fails, what ran is lost, or tried again if it has attempts left; all else goes on."""
        told = self.fifo("told")
        talk = self.begin()
        talk.ok('queue one {"limit": 1}')
        running = talk.submit(shell=f"echo x > {told.path}; sleep 1000", queue="one", cpus=0)
        tried = talk.submit(
            shell=f"echo x > {told.path}; [ $JOBD_ATTEMPT = 2 ]", attempts=2, backoff=0, cpus=0, queue="two"
        )
        told.wait()
        told.wait()
        talk.end_of(tried)
        again = talk.submit(
            shell=f"echo x > {told.path}; [ $JOBD_ATTEMPT = 2 ] || sleep 1000",
            attempts=2,
            backoff=0,
            cpus=0,
            queue="two",
        )
        told.wait()
        told.wait()
        queued = talk.submit(argv=["true"], queue="one")
        delayed = talk.submit(argv=["true"], delay=0.5)
        after = talk.submit(argv=["true"], after={str(running): "failed"})
        skipped = talk.submit(argv=["true"], after=[running])
        talk = self.again(Daemon.crash)
        talk.ok(f"wait {running}-{skipped}")
        states = {job_id: talk.end_of(job_id).state for job_id in (running, again, queued, delayed, after, skipped)}
        expected = {
            running: "lost",
            again: "succeeded",
            queued: "succeeded",
            delayed: "succeeded",
            after: "succeeded",
            skipped: "skipped",
        }
        self.assertEqual(expected, states)

    test_running_and_waiting.timeout = 300  # type: ignore[attr-defined]

    def test_what_had_ended(self) -> None:
        """show, why, output and watch from any cursor answer as before; nothing is announced anew."""
        talk = self.begin()
        ids = [talk.run(shell=f"echo {number}; exit {number}").job_id for number in range(3)]
        requests = [f"{verb} {job_id}" for verb in ("show", "why", "output") for job_id in ids]
        before = [talk.ok(request) for request in requests]
        events = [self.watched(talk, since) for since in range(4)]
        talk = self.again()
        self.assertEqual(before, [talk.ok(request) for request in requests])
        self.assertEqual(events, [self.watched(talk, since) for since in range(4)])
        self.assertEqual(4, talk.run(argv=["true"]).cursor)

    def test_cancelled(self) -> None:
        """A cancel that was acknowledged holds: the job is cancelled, whatever the daemon came to."""
        told = self.fifo("told")
        talk = self.begin()
        job_id = talk.submit(shell=f"trap '' TERM; echo x > {told.path}; sleep 1000", attempts=5, grace=1, cpus=0)
        told.wait()
        talk.ok(f"cancel {job_id}")
        talk = self.again()
        talk.ok(f"wait {job_id}")
        self.assertEqual("cancelled", talk.end_of(job_id).state)

    def test_keys_groups_and_queues(self) -> None:
        """Keys, groups that have not ended, limits and pauses are as they were."""
        talk = self.begin()
        talk.ok('queue slow {"limit": 3, "paused": true}')
        fields = {"argv": ["true"], "key": "k", "group": "g"}
        talk.ok("pause")
        first = talk.submit(**fields)
        talk.submit(argv=["true"], queue="slow", group="g", notify=False)
        talk.ok("resume")
        talk.end_of(first)
        talk = self.again()
        event = talk.run(**fields)
        self.assertEqual((first, "succeeded"), (event.job_id, event.state))
        self.assertIn("CONFLICT", talk.ask("submit " + json.dumps({**fields, "argv": ["false"]})))
        shown = talk.json("queue slow")
        self.assertEqual((3, True, 1), (shown["limit"], shown["paused"], shown["queued"]))
        talk.ok('wait {"group": "g"}')
        talk.ok("resume slow")
        group = talk.until(lambda event: event.state == "group")
        self.assertEqual({"group": "g", "succeeded": 2}, group.json)

    def test_paused_as_a_whole(self) -> None:
        """A daemon that was paused is still paused, and starts nothing."""
        talk = self.begin()
        talk.ok("pause")
        job_id = talk.submit(argv=["true"])
        talk = self.again()
        self.assertIn("the daemon is paused", talk.ok(f"why {job_id}"))
        talk.ok("resume")
        talk.ok(f"wait {job_id}")
        self.assertEqual("succeeded", talk.end_of(job_id).state)


class Stopped(Restarts):
    """C{TERM} and Ctrl-C."""

    def test_running_jobs_are_handed_back(self) -> None:
        """What ran when the daemon was stopped runs again later, and no attempt is used up."""
        told = self.fifo("told")
        talk = self.begin()
        script = f"echo $JOBD_ATTEMPT > {told.path}; read x < {self.folder}/gate"
        gate = self.fifo("gate")
        command = talk.submit(shell=script, cpus=0)
        code = (
            f"import os; os.write(os.open({str(told.path)!r}, 1), os.environ['JOBD_ATTEMPT'].encode() + b'\\n'); "
            f"os.read(os.open({str(gate.path)!r}, 0), 3)"
        )
        call = talk.submit(call="builtins:exec", args=[code], cwd=ROOT)
        self.assertEqual(["1", "1"], [told.wait(), told.wait()])
        talk = self.again(Daemon.stop)
        self.assertEqual(["1", "1"], [told.wait(), told.wait()])
        talk.ok(f"wait {command}-{call}")
        gate.release(2)
        for job_id in (command, call):
            event = talk.end_of(job_id)
            self.assertEqual(("succeeded", 1), (event.state, event.json["attempt"]))

    def test_waiting_for_an_io_call(self) -> None:
        """A thread of the io lane that goes on does not keep the daemon from stopping."""
        told = self.fifo("told")
        talk = self.begin()
        code = f"open({str(told.path)!r}, 'w').write('x\\n'); import time; time.sleep(1000)"
        talk.submit(call="builtins:exec", args=[code], lane="io")
        told.wait()
        self.daemon.stop()

    def test_by_ctrl_c(self) -> None:
        """Ctrl-C stops it as well."""
        self.begin().run(argv=["true"])
        self.daemon.stop(by=signal.SIGINT)
        self.daemon.start()
        self.assertEqual("succeeded", self.connect().state(1))

    def test_connections_are_closed(self) -> None:
        """When the daemon stops its clients' connections end in good order."""
        talk = self.begin()
        talk.run(argv=["true"])
        self.daemon.stop()
        self.assertEqual("", talk.line())
        self.assertFalse(self.daemon.socket_path.exists())


class Kept(Restarts):
    """What is kept, for how long, and how."""

    def test_on_disk(self) -> None:
        """The store is an SQLite file of this version, in WAL mode, readable by its owner only."""
        talk = self.begin()
        talk.run(argv=["true"])
        self.daemon.stop()
        path = self.daemon.state / "jobs.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as database:
            pragmas = [
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version", "journal_mode")
            ]
        self.assertEqual([schema.APPLICATION_ID, schema.VERSION, "wal"], pragmas)
        self.assertEqual(0, self.daemon.state.stat().st_mode & 0o077)

    def test_synced_before_told(self) -> None:
        """Durability commit syncs the store for a submission, os does not; both survive kill -9."""
        for durability in ("commit", "os"):
            shutil.rmtree(self.folder / "state")
            (self.folder / "state").mkdir(mode=0o700)
            talk = self.begin("--durability", durability)
            job_id = talk.submit(argv=["true"], delay=1000)
            talk = self.again()
            self.assertEqual("waiting", talk.state(job_id))
            self.daemon.stop()

    def test_in_memory(self) -> None:
        """Durability memory keeps nothing, and says nothing of a store."""
        talk = self.begin("--durability", "memory")
        talk.run(argv=["true"])
        self.assertFalse((self.daemon.state / "jobs.sqlite").exists())
        talk = self.again(Daemon.stop)
        self.assertIn("NO_SUCH_JOB", talk.ask("show 1"))

    def test_by_number(self) -> None:
        """Only so many ended jobs are kept; with the others their output goes."""
        talk = self.begin("--keep-jobs", "5")
        text = json.dumps([{"shell": "echo x", "cpus": 0}] * 120)
        talk.ok(f"submit {text}")
        talk.events(120)
        # What is too much is removed soon after.
        wait_until(lambda: len(talk.json('list {"limit": 1000}')["jobs"]) < 120, "ended jobs are removed")
        talk = self.again(Daemon.stop)
        # Kept after what is no longer kept has gone.
        self.assertEqual(121, talk.submit(argv=["true"], delay=1000))
        kept = [one["id"] for one in talk.json('list {"state": "succeeded"}')["jobs"]]
        self.assertEqual(5, len(kept))
        self.assertIn("GONE", talk.ask('watch {"since": 0}'))
        self.assertIn("NO_SUCH_JOB", talk.ask("show 1"))
        self.daemon.stop()
        outputs = {int(path.name.partition(".")[0]) for path in (self.daemon.state / "output").glob("*/*.out")}
        self.assertEqual(set(kept), outputs)

    def test_by_age(self) -> None:
        """What ended too long ago is not kept."""
        talk = self.begin("--keep-days", "0")
        talk.run(shell="echo x")
        waiting = talk.submit(argv=["true"], delay=1000)
        talk = self.again(Daemon.stop)
        # Kept after what is no longer kept has gone.
        last = talk.submit(argv=["true"], delay=1000)
        self.assertEqual(3, last)
        self.assertEqual([waiting, last], [one["id"] for one in talk.json("list")["jobs"]])

    def test_an_old_file(self) -> None:
        """A store of schema version 1, with a job in every state, is taken over: it goes on where it stood."""
        daemon = self.make()
        shutil.copy(path_of(1), daemon.state / "jobs.sqlite")
        daemon.start()
        talk = self.connect()
        shown = {one["id"]: one["state"] for one in talk.json("list")["jobs"]}
        final = {number: state.word for number, (state, _) in enumerate(JOBS, 1) if state.final}
        self.assertEqual(final, {number: shown[number] for number in final})
        talk.ok("wait 8")
        self.assertEqual("cancelled", talk.end_of(8).state)
        self.assertEqual((2, True), tuple(talk.json("queue net")[name] for name in ("limit", "paused")))
        self.assertIn("queue 'net' is paused", talk.ok("why 9"))
        self.assertEqual("job 10 is waiting for job 9, which is queued", talk.ok("why 10"))
        talk.ok("resume net")
        talk.ok("wait 9-10")
        self.assertEqual(["succeeded", "succeeded"], [talk.end_of(job_id).state for job_id in (9, 10)])
        self.assertEqual(13, talk.submit(argv=["true"]))

    def test_no_room(self) -> None:
        """A disk that is full is an error that says so, for new jobs; the daemon goes on once there is room."""
        state = self.folder / "state"
        if (
            sys.platform == "win32"
            or os.geteuid()
            or os.system(f"mount -t tmpfs -o size=8m,mode=700 tmpfs {state} 2>/dev/null")
        ):
            raise SkipTest("needs a small file system, which only root can mount")
        self.addCleanup(os.system, f"umount {state}")
        talk = self.begin()
        talk.run(argv=["true"])
        filler = state / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        talk.send('submit {"call": "builtins:len", "args": ["' + "x" * 500_000 + '"]}')
        with Talk.unix(self.daemon) as other:
            while not other.json("stats")["full"]:
                pass
            self.assertIn("error FULL", other.ask("run true"))
            self.assertEqual("succeeded", other.state(1))
            filler.unlink()
            job_id = int(talk.reply().split()[1])
            self.assertEqual("succeeded", talk.end_of(job_id).state)
            self.assertEqual("succeeded", other.run(argv=["true"]).state)
