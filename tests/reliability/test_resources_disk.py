"""The disk is full: nothing more is accepted, what runs goes on, and nothing that happened meanwhile is lost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.daemon import Daemon
from tests.functional.conversation import Fifo, Talk
from tests.functional.test_jobs import ROOT
from tests.reliability.measures import comes_to_rest, descriptors, need_linux, wait_until


class FullDisk(SynchronousTestCase):
    """A daemon whose state is on a small file system of its own."""

    def setUp(self) -> None:
        need_linux()
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.state = self.folder / "state"
        self.state.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(self.state)]
        if os.geteuid() or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
            raise SkipTest("needs a small file system, which only root can mount")
        self.addCleanup(subprocess.run, ["umount", str(self.state)], check=True)
        self.daemon = Daemon(self.state, "--workers", "2")
        self.addCleanup(self.daemon.stop)
        self.daemon.start()
        self.talk, self.other = self.connect(), self.connect()
        for lane in ("cpu", "cpu", "io"):
            self.talk.run(call="math:sqrt", args=[2], lane=lane)
        self.talk.run(argv=["true"])

    def connect(self) -> Talk:
        talk = Talk.unix(self.daemon)
        self.addCleanup(talk.close)
        return talk

    def fifo(self, name: str) -> Fifo:
        fifo = Fifo(self.folder / name)
        self.addCleanup(fifo.close)
        return fifo

    def full(self) -> bool:
        full: bool = self.other.json("stats")["full"]
        return full

    def fill(self) -> None:
        """Take all the room there is; the daemon finds out with a job that is too large for what it had in reserve."""
        with contextlib.suppress(OSError), (self.state / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        large = {"call": "builtins:len", "args": ["x" * 500_000], "notify": False}
        self.talk.send("submit " + json.dumps(large))
        wait_until(self.full, "the daemon has noticed")

    def make_room(self) -> None:
        (self.state / "filler").unlink()

    def test_everything_goes_on_afterwards(self) -> None:
        """
        Submissions are refused with C{FULL}. What runs goes on, and ends; its outcome is kept, and told once there
        is room: of a command, of a call, and of one that was to be tried again. One line in the log, no spinning, and
        in the end as many descriptors as before. Everything is on disk: the next daemon knows it.
        """
        watcher = self.connect()
        watcher.ok("watch")
        before = descriptors(self.daemon.pid)
        told, gate = self.fifo("told"), self.fifo("gate")
        command = f"echo x > {told.path}; read x < {gate.path}; exit 7"
        code = (
            f"import os; os.write(os.open({str(told.path)!r}, os.O_WRONLY), b'x\\n'); "
            f"os.read(os.open({str(gate.path)!r}, os.O_RDONLY), 3)"
        )
        null = {"stdout": None, "stderr": None}
        first = self.other.submit(shell=command, cpus=0, **null)
        call = self.other.submit(call="builtins:exec", args=[code], cwd=ROOT)
        again = self.other.submit(shell=command, cpus=0, attempts=2, backoff=0, **null)
        for _ in range(3):
            told.wait()
        self.fill()
        for line in ("run true", "sh true", "call math:sqrt [2]", 'submit {"argv": ["true"]}', "retry 1"):
            answer = self.other.ask(line)
            self.assertTrue(answer.startswith("error FULL"), answer)
        gate.release(3)
        # Both commands have ended for the system; that the daemon cannot keep it yet does not undo it.
        comes_to_rest(self.daemon.pid, 3.0)
        self.assertEqual("ready", self.other.ok("ping ready"))
        self.assertIn(self.other.state(first), ("running", "failed"))
        self.assertEqual(1, self.daemon.log().count("submissions are refused"))
        self.make_room()
        # The job that was on its way while there was no room is accepted now.
        large = int(self.talk.reply().split()[1])
        ends = {event.job_id: event for event in (self.other.event() for _ in range(2))}
        self.assertEqual(
            {first: ("failed", 7), call: ("succeeded", 0)},
            {job_id: (event.state, event.json["exit_code"]) for job_id, event in ends.items()},
        )
        told.wait()
        gate.release()
        event = self.other.end_of(again)
        self.assertEqual(("failed", 7, 2), (event.state, event.json["exit_code"], event.json["attempt"]))
        self.assertFalse(self.full())
        self.assertEqual("succeeded", self.other.run(argv=["true"]).state)
        watched = [watcher.event() for _ in range(5)]
        self.assertEqual({first, call, again, large, large + 1}, {event.job_id for event in watched})
        cursors = [event.cursor for event in watched]
        self.assertEqual(list(range(cursors[0], cursors[0] + 5)), cursors)
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")
        self.daemon.kill()
        self.daemon.start()
        found = [self.connect().state(job_id) for job_id in (first, call, again, large)]
        self.assertEqual(["failed", "succeeded", "failed", "succeeded"], found)

    def test_again_and_again(self) -> None:
        """It is noticed each time, and each time it is over by itself."""
        for _ in range(3):
            self.fill()
            self.assertTrue(self.other.ask("run true").startswith("error FULL"))
            self.make_room()
            # It was on its way when there was no room, or came when that was known.
            self.assertRegex(self.talk.reply(), "^(ok |error FULL )")
            wait_until(lambda: not self.full(), "there is room")
            self.assertEqual("succeeded", self.other.run(argv=["true"]).state)
        self.assertEqual(1, self.daemon.log().count("submissions are refused"))


if sys.platform == "win32":
    FullDisk.skip = "needs mount"  # type: ignore[attr-defined]
