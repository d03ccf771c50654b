"""A real daemon on a disk that is full, over its quota, or fails."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.daemon import Daemon
from tests.functional.conversation import Fifo, Talk

SOURCE = Path(__file__).with_name("disk.c")


class Disks(SynchronousTestCase):
    """A daemon whose disk the test breaks, by C{disk.c} between it and the system."""

    def setUp(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("needs LD_PRELOAD and /proc")
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        library = self.folder / "disk.so"
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self.fault = self.folder / "fault"
        environment = {"LD_PRELOAD": str(library), "DISK_UNDER": str(state), "DISK_FAULT": str(self.fault)}
        self.daemon = Daemon(state, environment=environment)
        self.addCleanup(self.daemon.stop)
        self.daemon.start()
        self.talk = self.connect()

    def connect(self) -> Talk:
        talk = Talk.unix(self.daemon)
        self.addCleanup(talk.close)
        return talk

    def break_(self, kind: str, number: int) -> None:
        """From now on such calls fail, at one stroke."""
        new = self.fault.with_suffix(".new")
        new.write_text(f"{kind} {number}\n")
        new.replace(self.fault)

    def mend(self) -> None:
        self.fault.unlink()

    def test_a_sync_that_fails(self) -> None:
        """No ack: the daemon stops at once and says why, once; what was acknowledged before is there afterwards."""
        kept = self.talk.submit(argv=["true"], delay=1000)
        self.break_("sync", errno.EIO)
        self.talk.send('submit {"argv": ["true"], "delay": 1000}', "ping x")
        self.assertEqual("", self.talk.line())
        self.daemon.kill()
        told = [line for line in self.daemon.lines if "] jobd: " in line]
        self.assertEqual(1, len(told), told)
        self.assertRegex(told[0], r"the job store .* failed: disk I/O error.*; stopping at once")
        self.mend()
        self.daemon.start()
        self.assertEqual("waiting", self.connect().state(kept))

    def test_a_start_that_fails(self) -> None:
        """A daemon whose disk fails as it starts does not begin: it says why in one line."""
        self.daemon.stop()
        self.break_("sync", errno.EIO)
        problem = self.assertRaises(AssertionError, self.daemon.start)
        told = [line for line in str(problem).splitlines() if "] jobd: " in line]
        self.assertEqual(1, len(told), problem)
        self.assertIn("disk I/O error", told[0])
        self.break_("write", errno.ENOSPC)
        problem = self.assertRaises(AssertionError, self.daemon.start)
        # Before Python 3.11 one error of the disk looks like another.
        no_room = "there is no room for" if sys.version_info >= (3, 11) else "disk I/O error"
        self.assertRegex(str(problem), f"jobd: .*{no_room}")
        self.mend()
        self.daemon.start()

    def test_no_room(self) -> None:
        """
        A full disk: submissions are FULL, what can be answered is, a running job goes on; when there is room what
        was refused nothing is kept, the end of that job is told, once, and the log has one line of all that.
        """
        self.no_room(errno.ENOSPC)

    def test_over_quota(self) -> None:
        """The same for a quota that is used up, an error like others to SQLite, and before Python 3.11 to jobd."""
        if sys.version_info >= (3, 11):
            self.no_room(errno.EDQUOT)
            return
        self.break_("write", errno.EDQUOT)
        self.talk.send('submit {"argv": ["true"]}')
        self.assertEqual("", self.talk.line())
        self.mend()
        self.daemon.kill()

    def no_room(self, number: int) -> None:
        gate, told = Fifo(self.folder / "gate"), Fifo(self.folder / "told")
        self.addCleanup(gate.close)
        self.addCleanup(told.close)
        running = self.talk.submit(shell=f"echo x > {told.path}; read x < {gate.path}; echo x > {told.path}", cpus=0)
        told.wait()
        self.break_("write", number)
        waiting = self.connect()
        waiting.send('submit {"argv": ["true"], "key": "k"}')
        other = self.connect()
        while not other.json("stats")["full"]:
            pass
        self.assertIn("error FULL", other.ask('submit {"argv": ["true"]}'))
        self.assertEqual("running", other.state(running))
        gate.release()
        told.wait()
        self.assertIn("error FULL", other.ask("run true"))
        self.mend()
        accepted = int(waiting.reply().split()[1])
        self.assertEqual("succeeded", waiting.end_of(accepted).state)
        self.assertEqual("succeeded", self.talk.end_of(running).state)
        watcher = self.connect()
        newest = int(watcher.ok('watch {"since": 0}'))
        self.assertEqual(sorted([running, accepted]), sorted(event.job_id for event in watcher.events(newest)))
        self.assertEqual(1, self.daemon.log().count("there is no room for the job store"))
