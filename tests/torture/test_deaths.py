"""Daemons that die at one point, with one job of each lane: what the kill loop has found, and what it rests on."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.functional.conversation import Event, Fifo, Talk
from tests.torture.plan import Point

if sys.platform == "linux":
    from tests.torture import processes
    from tests.torture.mortal import Mortal

LANES = ("command", "cpu", "io")


class Deaths(SynchronousTestCase):
    """
    Jobs that say when they begin, and end when the test says so.

    @ivar folder: for all files.
    """

    timeout = 900

    def setUp(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("the daemon that dies where it is told to needs Linux")
        folder = tempfile.TemporaryDirectory(prefix="jobd-torture-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.daemon = Mortal(self.folder)
        self.addCleanup(self.daemon.close)
        self.ran = self.folder / "ran"
        self.told, self.gate = Fifo(self.folder / "told"), Fifo(self.folder / "gate")
        self.addCleanup(self.told.close)
        self.addCleanup(self.gate.close)

    def connect(self) -> Talk:
        talk = self.daemon.connect()
        self.addCleanup(talk.close)
        return talk

    def begun(self, talk: Talk) -> dict[str, int]:
        """A job of each lane that runs, with a single attempt; by lane."""
        ran, told, gate = str(self.ran), str(self.told.path), str(self.gate.path)
        code = (
            f"import os; open({ran!r}, 'a').write('x\\n'); os.write(os.open({told!r}, 1), b'x\\n'); "
            f"os.read(os.open({gate!r}, 0), 3)"
        )
        ids = {"command": talk.submit(shell=f"echo x >> {ran}; echo x > {told}; read x < {gate}", cpus=0)}
        for lane in LANES[1:]:
            ids[lane] = talk.submit(call="builtins:exec", args=[code], lane=lane)
        for _ in ids:
            self.told.wait()
        return ids

    def ends(self, talk: Talk, ids: dict[str, int]) -> dict[str, Event]:
        talk.ok("wait " + ",".join(map(str, ids.values())))
        return {lane: talk.end_of(job_id) for lane, job_id in ids.items()}

    def check_all_run_again(self, talk: Talk, ids: dict[str, int]) -> None:
        """All of them run once more, succeed, and it is their first attempt."""
        for _ in ids:
            self.told.wait()
        self.gate.release(len(ids))
        found = {lane: (event.state, event.json["attempt"]) for lane, event in self.ends(talk, ids).items()}
        self.assertEqual(dict.fromkeys(ids, ("succeeded", 1)), found)

    def check_adopted(self, ids: dict[str, int]) -> None:
        """All end when they are let, without having begun again."""
        talk = self.connect()
        self.gate.release(len(ids))
        found = {lane: (event.state, event.json["attempt"]) for lane, event in self.ends(talk, ids).items()}
        self.assertEqual(dict.fromkeys(ids, ("succeeded", 1)), found)
        self.assertEqual(len(ids), len(self.ran.read_text().splitlines()))

    def dies_at(self, point: str, job: dict[str, object]) -> Talk:
        """Submit a job to a daemon that dies at that point. Returns a connection to the next one."""
        self.daemon.start(Point(point), armed=True)
        with self.daemon.connect() as talk:
            talk.send("submit " + json.dumps(job))
            self.assertTrue(self.daemon.falls())
        self.daemon.start()
        return self.connect()

    def test_before_the_reply(self) -> None:
        """Killed after the commit, before the reply left: the same key is the same job, another body a conflict."""
        job: dict[str, object] = {"shell": f"echo x >> {self.ran}", "key": "k"}
        talk = self.dies_at("replying", job)
        self.assertEqual("ok 1", talk.ask("submit " + json.dumps(job)))
        self.assertEqual("succeeded", talk.end_of(1).state)
        self.assertIn("error CONFLICT", talk.ask('submit {"argv": ["true"], "key": "k"}'))
        self.assertEqual("x\n", self.ran.read_text())

    def check_once(self, point: str) -> None:
        """A job runs once, in its first attempt, and its end is told once, whenever the daemon dies."""
        talk = self.dies_at(point, {"shell": f"echo x >> {self.ran}; exit 3", "notify": False})
        talk.ok("wait 1")
        event = talk.end_of(1)
        self.assertEqual(("failed", 3, 1), (event.state, event.json["exit_code"], event.json["attempt"]))
        self.assertEqual("x\n", self.ran.read_text())
        self.assertEqual(str(event.cursor), talk.ok('watch {"since": 0}'))
        self.assertEqual(event, talk.event())

    def test_before_the_start(self) -> None:
        """Killed when an attempt was on disk and its worker knew nothing of it."""
        self.check_once("starting")

    def test_after_the_start(self) -> None:
        """Killed when its worker had been told to begin."""
        self.check_once("started")

    def test_after_the_end(self) -> None:
        """Killed when the job had ended, and nothing of that was kept."""
        self.check_once("reported")

    def test_before_it_is_told(self) -> None:
        """Killed when the job's end was kept, and nobody had been told."""
        self.check_once("announcing")

    def test_before_the_worker_knows(self) -> None:
        """Killed when the job's end was told, and its worker did not know that it is kept."""
        self.check_once("kept")

    def test_stop_cut_short(self) -> None:
        """
        Told to stop, and killed while its workers end what they run: no attempt is used up, all of them run again
        with the next daemon.
        """
        self.daemon.start(Point("handed back"))
        ids = self.begun(self.connect())
        self.daemon.arm()
        self.daemon.send(signal.SIGTERM)
        self.assertTrue(self.daemon.falls())
        self.daemon.start()
        self.check_all_run_again(self.connect(), ids)

    def test_stop_cut_short_and_workers_gone(self) -> None:
        """The same if nothing of it is left when the next one comes: it is all written down."""
        self.daemon.start(Point("handed back"))
        ids = self.begun(self.connect())
        self.daemon.arm()
        self.daemon.send(signal.SIGTERM)
        self.assertTrue(self.daemon.falls())
        processes.wait_until(lambda: not processes.marked(self.daemon.mark), "everything ended")
        self.daemon.start()
        self.check_all_run_again(self.connect(), ids)

    def test_stop_forgotten(self) -> None:
        """Told to stop, and killed before its workers were: what runs runs on, and is taken over."""
        self.daemon.start(Point("stopping"))
        ids = self.begun(self.connect())
        self.daemon.arm()
        self.daemon.send(signal.SIGTERM)
        self.assertTrue(self.daemon.falls())
        self.daemon.start()
        self.check_adopted(ids)
