"""
Hundreds of commands at once cost no thread and no process of ours each, and no time while nothing happens. Tens of
thousands in the queue are all there after a crash.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.daemon import Daemon
from tests.functional.conversation import Fifo, Talk
from tests.reliability.measures import PATIENCE, wake_ups

COUNT = 500

QUEUED = 20_000

WINDOW = 10.0
"""Seconds over which idleness is measured."""

LOOKS = 3
"""
So often the runner looks in that time at the output of commands that have long written nothing: at all of them
together, every 8 seconds, so twice at most; and once for whoever is late.
"""


class Sleepers(SynchronousTestCase):
    """A daemon of the test's own, measured from outside."""

    def setUp(self) -> None:
        self.need_proc()
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        (self.folder / "state").mkdir(mode=0o700)
        self.daemon = Daemon(self.folder / "state", "--workers", "2")
        self.addCleanup(self.daemon.stop)
        self.daemon.start()
        self.talk = Talk.unix(self.daemon)
        self.addCleanup(self.talk.close)
        # All workers have begun, with what they need.
        for lane in ("cpu", "cpu", "io"):
            self.talk.run(call="math:sqrt", args=[2], lane=lane)
        self.talk.run(argv=["true"])

    def need_proc(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("needs /proc")

    def ours(self) -> list[int]:
        """The daemon and its workers."""
        return [
            self.daemon.pid,
            *(pid for group in self.talk.json("stats")["pool"]["workers"].values() for pid in group),
        ]

    def threads(self, pids: list[int]) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)

    def assert_sleeps(self, looks: int = 0) -> None:
        """
        There comes a time, after what came before has come to rest, in which no thread of ours wakes, but for so many
        looks of the runner. Counted, not timed: who else is busy on this machine does not matter.
        """
        pids = self.ours()
        (runner,) = self.talk.json("stats")["pool"]["workers"]["command"]
        end = time.monotonic() + PATIENCE
        while True:
            found = wake_ups(pids, WINDOW)
            if found.pop(runner, 0) <= looks and not found:
                return
            self.assertLess(time.monotonic(), end, f"they wake: {found}")

    def test_an_idle_daemon(self) -> None:
        """A daemon that has worked and has nothing to do sleeps: not one of its threads wakes."""
        self.talk.ok("submit " + json.dumps([{"call": "math:sqrt", "args": [2]}] * 100))
        self.talk.events(100)
        self.assert_sleeps()

    def test_hundreds_at_once(self) -> None:
        """
        Five hundred commands sleep at the same time: there are no more processes and threads of ours than
        before, nobody polls, and all of them end when they are told to.
        """
        gate, told = Fifo(self.folder / "gate"), Fifo(self.folder / "told")
        self.addCleanup(gate.close)
        self.addCleanup(told.close)
        self.talk.ok(f'queue many {{"limit": {COUNT}}}')
        pids, threads = self.ours(), self.threads(self.ours())
        script = f"echo x > {told.path}; read x < {gate.path}"
        job = {"shell": script, "cpus": 0, "queue": "many"}
        self.talk.ok("submit " + json.dumps([job] * (COUNT + 10)))
        for _ in range(COUNT):
            told.wait()
        shown = self.talk.json("queue many")
        self.assertEqual((COUNT, 10), (shown["running"], shown["queued"]))
        self.assertEqual(pids, self.ours())
        self.assertLess(self.threads(pids), threads + 10)
        self.assert_sleeps(LOOKS)
        for _ in range(COUNT + 10):
            gate.release()
        self.assertEqual({"succeeded"}, {event.state for event in self.talk.events(COUNT + 10)})
        self.assertEqual(pids, self.ours())


class Queued(SynchronousTestCase):
    """Very many jobs in the queue."""

    def test_after_a_crash(self) -> None:
        """
        A daemon that was killed with very many jobs in its queue begins anew with all of them, each in its place; the
        last can be asked about, one in the middle cancelled; then each of the others runs once.
        """
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        state = Path(folder.name).resolve() / "state"
        state.mkdir(mode=0o700)
        daemon = Daemon(state, "--workers", "2")
        self.addCleanup(daemon.stop)
        daemon.start()
        with Talk.unix(daemon) as talk:
            talk.ok("pause")
            for first in range(0, QUEUED, 1000):
                numbers = range(first, first + 1000)
                jobs = [{"call": "math:sqrt", "args": [number], "notify": False} for number in numbers]
                talk.ok("submit " + json.dumps(jobs))
        daemon.crash()
        daemon.start()
        with Talk.unix(daemon) as talk:
            self.assertEqual(QUEUED, talk.json("queue default")["queued"])
            self.assertIn(f"job {QUEUED} is queued", talk.ok(f"why {QUEUED}"))
            self.assertEqual("1", talk.ok(f"cancel {QUEUED // 2}"))
            talk.ok('watch {"since": 0}')
            talk.ok("resume")
            events = talk.events(QUEUED)
        self.assertEqual(list(range(1, QUEUED + 1)), sorted(event.job_id for event in events))
        others = [event for event in events if event.job_id != QUEUED // 2]
        self.assertEqual({("succeeded", 1)}, {(event.state, event.json["attempt"]) for event in others})
        self.assertEqual([event.job_id - 1 for event in others], [round(event.json["result"] ** 2) for event in others])
