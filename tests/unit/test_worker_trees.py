"""Process trees die when they should, with control groups and without them; nobody else is ever hit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.trial.unittest import TestCase

from jobd.job import Lane
from jobd.pool.journals import Journals
from jobd.worker import journal, tree
from jobd.worker.cgroup import Cgroup
from tests.unit.worker_link import PATIENCE, Worker, WorkerTestCase, alive

PROBE = """
from jobd.worker.cgroup import staying
with staying(True) as group:
    print(group is not None)
"""
HAS_CGROUP = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=True).stdout == b"True\n"
"""Whether this machine lets its user make control groups; where it does not, the same must hold without them."""

ESCAPE = """
import os, sys
def away():
    # In a session of its own, its parent gone, with nothing in the environment, and deaf to TERM.
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    line = "trap '' TERM HUP; echo $$ > " + sys.argv[1] + "; while :; do /bin/sleep 1; done"
    os.execve("/bin/sh", ["sh", "-c", line], {})
if not os.fork():
    away()
os.wait()
"""
"""A program that leaves a process behind which has shaken off all by which one could tell whose it is."""

if TYPE_CHECKING:
    _Base = WorkerTestCase
else:
    _Base = object


def gone(pid: int) -> bool:
    """Whether a process ends, soon."""
    end = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


class Escapes(_Base):
    """What holds whichever way processes are found."""

    def setUp(self) -> None:
        super().setUp()
        self.escape = self.write("escape.py", ESCAPE)

    def escaping(self, sign: str, then: str) -> str:
        """A shell line that lets a process escape, which tells its number by the sign."""
        return f"{sys.executable} {self.escape} {self.folder / sign}; {then}"

    def enclosed(self, job: int) -> None:
        """Wait until a command that runs on is in a control group, if it is to get one."""

    def test_escaped_from_a_short_command(self) -> None:
        """What has left session, group and environment behind goes with its command, however short that is."""
        sign, go = self.signal("sign"), self.signal("go")
        self.worker.start(1, shell=self.escaping("sign", f"read x < {self.folder / 'go'}"))
        pid = int(sign.wait())
        self.assertTrue(alive(pid))
        go.give()
        outcome = self.worker.done().outcome
        self.assertEqual(0, outcome["exit_code"])
        self.assertGreaterEqual(outcome["left"], 1)
        self.assertFalse(alive(pid))

    def certain(self) -> bool:
        """Whether it is known of every process of a command that has run for a while whose it is."""
        return False

    def test_escaped_then_cancelled(self) -> None:
        """
        It is found, too, when its command is cancelled, at the latest when the other that it could belong to has ended;
        that one does not notice.
        """
        sign, other = self.signal("sign"), self.signal("other")
        self.worker.start(2, shell=f"echo $$ > {self.folder / 'other'}; exec sleep 600")
        bystander = int(other.wait())
        self.enclosed(2)
        self.worker.start(1, shell="sleep 600 & " + self.escaping("sign", "exec sleep 601"))
        pid = int(sign.wait())
        self.enclosed(1)
        self.worker.send("C 1 1 0.1")
        done = self.worker.done()
        self.assertEqual((1, "SIGTERM"), (done.job, done.outcome["signal"]))
        if self.certain():
            self.assertFalse(alive(pid))
        self.assertTrue(alive(bystander))
        self.worker.send("C 2 1 0.1")
        self.assertEqual(2, self.worker.done().job)
        self.assertTrue(gone(pid))

    def test_everybody_is_suspect(self) -> None:
        """One that could be any of several commands' ends at the latest when the last of these has ended."""
        signs = [self.signal(f"sign{number}") for number in range(3)]
        go = self.signal("go")
        for number in range(3):
            line = self.escaping(f"sign{number}", "read x < go; exit 7")
            self.worker.start(number, shell=line, cwd=str(self.folder))
        pids = [int(sign.wait()) for sign in signs]
        for _ in range(3):
            go.give()
        dones = self.worker.all_done(3)
        self.assertEqual({7}, {done.outcome["exit_code"] for done in dones.values()})
        self.assertEqual([True] * 3, [gone(pid) for pid in pids])

    def test_keeps_output_open(self) -> None:
        """A grandchild that keeps standard output does not delay the finish, but for the second it has to end."""
        sign, go = self.signal("sign"), self.signal("go")
        line = "(trap '' TERM; echo x > sign; exec sleep 600) & read x < go"
        self.worker.start(1, shell=line, cwd=str(self.folder))
        sign.wait()
        go.give()
        self.assertEqual(1, self.worker.done().outcome["left"])

    def test_forks_without_end(self) -> None:
        """A command that forks faster than one can look is ended all the same."""
        bomb = "i=0; while :; do (sleep 0.05 & sleep 0.05) & i=$((i+1)); [ $((i % 20)) = 0 ] && sleep 0.05; done"
        sign = self.signal("sign")
        self.worker.start(1, shell=f"trap '' TERM; echo x > sign; {bomb}", cwd=str(self.folder))
        sign.wait()
        self.worker.send("C 1 1 0")
        self.assertEqual("SIGKILL", self.worker.done().outcome["signal"])
        self.assertEqual([], self.descendants())

    def descendants(self) -> list[str]:
        pid = self.worker.process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def test_nothing_is_left(self) -> None:
        """After a mix of commands, good, bad, cancelled and runaway, there is no process and no descriptor more."""
        pid = self.worker.process.pid
        self.worker.run(99, argv=["true"])
        before = set(os.listdir(f"/proc/{pid}/fd"))
        sign = self.signal("sign")
        for job in range(0, 40, 5):
            self.worker.start(job, argv=["echo", "x"])
            self.worker.start(job + 1, shell="sleep 600 & exit 3")
            self.worker.start(job + 2, shell="(setsid sleep 600 &); kill -KILL $$")
            self.worker.start(job + 3, shell="echo x > sign; exec sleep 600", cwd=str(self.folder))
            self.worker.start(job + 4, argv=["missing"])
            sign.wait()
            self.worker.send(f"C {job + 3} 1 5")
        done = self.worker.all_done(40)
        self.assertEqual({0, 3, 137, 143, 127}, {one.outcome["exit_code"] for one in done.values()})
        self.assertEqual([], self.descendants())
        # A few empty files stay open for further commands.
        self.assertLess(len(set(os.listdir(f"/proc/{pid}/fd")) - before), 45)
        self.assertEqual(0, self.worker.close())

    def test_stranger(self) -> None:
        """A process of the same user that is no command's is never hit, even if its environment says otherwise."""
        mine = {"JOBD_JOB_ID": "1", "JOBD_ATTEMPT": "1", "PATH": os.environ["PATH"]}
        stranger = subprocess.Popen(["sleep", "600"], env=mine)
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        sign = self.signal("sign")
        self.worker.start(1, shell="trap '' TERM; echo x > sign; while :; do sleep 0.1; done", cwd=str(self.folder))
        sign.wait()
        self.worker.send("C 1 1 0.1")
        self.worker.done()
        self.assertEqual(0, self.worker.close())
        self.assertIsNone(stranger.poll())


class Strangers(TestCase):
    """A number that was given out anew stands for another process: that one is not hit."""

    def setUp(self) -> None:
        self.process = subprocess.Popen(["sleep", "600"])
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)

    def test_later(self) -> None:
        """A process that began at another time than the one that is meant is not signalled; that one is."""
        meant = tree.look_at(self.process.pid)
        assert meant is not None
        tree.send(meant._replace(started=meant.started - 1), signal.SIGKILL)
        self.assertIsNone(self.process.poll())
        tree.send(meant, signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, self.process.wait(PATIENCE))

    def test_worker_of_an_earlier_daemon(self) -> None:
        """A worker is killed by the number in its journal only while it holds that."""
        folder = self.mktemp()
        journals = Journals(folder)
        name = journals.new(Lane.CPU)
        Path(journals.path(name)).write_bytes(journal.encode([b"W %d" % self.process.pid]))
        found = journals.look(name)
        self.assertEqual((False, self.process.pid), (found.alive, found.pid))
        journals.kill(found)
        self.assertIsNone(self.process.poll())
        journals.remove(name)

    def test_in_another_group(self) -> None:
        """What is not in a control group is not signalled with it, though its number is read there."""
        group = Cgroup(self.mktemp(), "/jobd.1.1")
        os.mkdir(group.path)
        (Path(group.path) / "cgroup.procs").write_text(f"{self.process.pid}\n")
        group.send(signal.SIGKILL)
        self.assertIsNone(self.process.poll())


class WithoutGroups(Escapes, WorkerTestCase):
    """By the subreaper and the mark in the environment alone."""

    program = "runner"
    options = ("--no-cgroup",)


class WithGroups(Escapes, WorkerTestCase):
    """With control groups, where the machine has them: else the runner must do without, as above."""

    program = "runner"

    def certain(self) -> bool:
        return HAS_CGROUP

    def group(self) -> Path | None:
        """The runner's own."""
        where = [line[3:] for line in self.cgroup_of(self.worker.process.pid) if line.startswith("0::")]
        name = where[0].rpartition("/")[2] if where else ""
        if not name.startswith("jobd."):
            return None
        (path,) = (path for path in Path("/sys/fs/cgroup").glob(f"**/{name}"))
        return path

    def cgroup_of(self, pid: int) -> list[str]:
        return Path(f"/proc/{pid}/cgroup").read_text().splitlines()

    def enclosed(self, job: int) -> None:
        group = self.group()
        end = time.monotonic() + PATIENCE
        while group is not None and not (group / f"{job}.1").exists():
            self.assertLess(time.monotonic(), end, "it gets no group")
            time.sleep(0.02)

    def test_group(self) -> None:
        """The runner has a group of its own, if it may; a command that takes long gets one below; both go with them."""
        group = self.group()
        self.assertEqual(HAS_CGROUP, group is not None)
        sign = self.signal("sign")
        self.worker.start(1, shell="(echo $$ > sign; exec sleep 600) & exec sleep 600", cwd=str(self.folder))
        sign.wait()
        self.enclosed(1)
        if group is not None:
            self.assertEqual(1, len(list(group.glob("1.1"))))
        self.worker.send("C 1 1 5")
        self.worker.done()
        if group is not None:
            self.assertEqual([], list(group.glob("1.1")))
        self.assertEqual(0, self.worker.close())
        self.assertFalse(group is not None and group.exists())

    def test_escaped_from_a_long_command(self) -> None:
        """What a command that has a group lets escape is its own for certain, whatever else runs."""
        go, sign = self.signal("go"), self.signal("sign")
        for job in (1, 2):
            line = self.escaping("sign", "exec sleep 600")
            self.worker.start(job, shell=f"read x < go; {line}", cwd=str(self.folder))
        self.enclosed(1)
        self.enclosed(2)
        go.give()
        pid = int(sign.wait())
        first = HAS_CGROUP and any(line.endswith("/1.1") for line in self.cgroup_of(pid))
        job = 1 if first else 2
        self.worker.send(f"C {job} 1 0.1")
        done = self.worker.done()
        self.assertEqual(job, done.job)
        if HAS_CGROUP:
            self.assertFalse(alive(pid))
        self.worker.send(f"C {3 - job} 1 0.1")
        self.worker.done()
        self.assertTrue(gone(pid))

    def test_tidied_up(self) -> None:
        """The group of a runner that was killed is removed when the next worker starts."""
        group = self.group()
        self.worker.process.kill()
        self.worker.process.wait()
        self.start_worker()
        self.assertFalse(group is not None and group.exists())

    def test_killed_runner(self) -> None:
        """What a runner that was killed has left is found by its group, though it is in no tree and has no mark."""
        journal = self.folder / "command-1-1"
        journal.touch()
        worker = Worker("runner", self.output, "--journal", str(journal), env={"JOBD_WORKER": journal.name})
        self.addCleanup(worker.stop)
        sign = self.signal("sign")
        worker.start(1, shell=self.escaping("sign", "exec sleep 600"))
        pid = int(sign.wait())
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        swept = subprocess.run([sys.executable, "-m", "jobd.worker.sweep", str(journal)], check=False)
        self.assertEqual(0, swept.returncode)
        if not HAS_CGROUP:
            # Nothing is left by which it could be known.
            os.kill(pid, signal.SIGKILL)
        self.assertTrue(gone(pid))
