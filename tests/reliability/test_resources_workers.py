"""Workers are killed, or cannot be had: one attempt of one job at most, and the next one runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.daemon import Daemon
from tests.functional.conversation import Fifo, Talk
from tests.reliability.measures import comes_to_rest, descriptors, need_linux, wait_until

if sys.platform != "win32":
    import resource

NOBODY = 54_321
"""A user of whom there is no process: only of such a one the number of processes can be limited."""

CGROUPS = Path("/sys/fs/cgroup")

ROOT = str(Path(__file__).parent.parent.parent)


def held(told: Fifo, gate: Fifo) -> str:
    """Python that tells that it runs, and goes on when it may."""
    return (
        f"import os; os.write(os.open({str(told.path)!r}, os.O_WRONLY), b'x\\n'); "
        f"os.read(os.open({str(gate.path)!r}, os.O_RDONLY), 3)"
    )


class Workers(SynchronousTestCase):
    """A daemon with two places, and a file in which every execution writes a line."""

    def setUp(self) -> None:
        need_linux()
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        (self.folder / "state").mkdir(mode=0o700)
        self.witness = self.folder / "witness"
        self.witness.touch()
        self.begin()

    def begin(self, *under: str) -> None:
        self.daemon = Daemon(self.folder / "state", "--workers", "2", under=under)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.talk = Talk.unix(self.daemon)
        self.addCleanup(self.talk.close)
        for lane in ("cpu", "cpu", "io"):
            self.talk.run(call="math:sqrt", args=[2], lane=lane)
        self.talk.run(argv=["true"])

    def fifo(self, name: str) -> Fifo:
        fifo = Fifo(self.folder / name)
        self.addCleanup(fifo.close)
        return fifo

    def workers(self, lane: str) -> list[int]:
        pids: list[int] = self.talk.json("stats")["pool"]["workers"][lane]
        return pids

    def python(self, code: str, **fields: Any) -> int:
        """Submit a call that notes its attempt in the witness file and then does this."""
        note = f"import os; open({str(self.witness)!r}, 'a').write(os.environ['JOBD_ATTEMPT'] + '\\n'); "
        return self.talk.submit(call="builtins:exec", args=[note + code], **fields)

    def executions(self) -> list[str]:
        return self.witness.read_text().split()

    def assert_whole(self) -> None:
        """Both places are there, and both work."""
        told, gate = self.fifo(f"told{os.urandom(4).hex()}"), self.fifo(f"gate{os.urandom(4).hex()}")
        code = held(told, gate)
        ids = [self.talk.submit(call="builtins:exec", args=[code]) for _ in range(2)]
        told.wait(), told.wait()
        gate.release(2)
        self.assertEqual({"succeeded"}, {self.talk.end_of(job_id).state for job_id in ids})


class Killed(Workers):
    """A worker is killed under a call."""

    def test_one_attempt_of_one_job(self) -> None:
        """
        A worker that is killed costs the call it ran one attempt, and no other anything; the outcome names the
        signal, and its place is filled again.
        """
        told, gate = self.fifo("told"), self.fifo("gate")
        other = self.python(held(told, gate))
        told.wait()
        before = descriptors(self.daemon.pid)
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM):
            job_id = self.python(f"os.kill(os.getpid(), {int(number)})")
            event = self.talk.end_of(job_id)
            found = event.state, event.json["signal"], event.json["exit_code"], event.json["attempt"]
            self.assertEqual(("lost", number.name, 128 + number, 1), found)
            self.assertIn(f"was killed by {number.name}", event.json["error"])
            wait_until(lambda: len(self.workers("cpu")) == 2, "the place is filled again")
        self.assertEqual(["1"] * 4, self.executions())
        self.assertEqual("running", self.talk.state(other))
        gate.release()
        self.assertEqual(("succeeded", 1), self.ended(other))
        self.assert_whole()
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")

    def ended(self, job_id: int) -> tuple[str, int]:
        event = self.talk.end_of(job_id)
        return event.state, event.json["attempt"]

    def test_one_that_always_kills_its_worker(self) -> None:
        """A job that always kills its worker stops after its attempts: each of them counts, and was one execution."""
        job_id = self.python("os.kill(os.getpid(), 9)", attempts=3, backoff=0)
        self.assertEqual(("lost", 3), self.ended(job_id))
        self.assertEqual(["1", "2", "3"], self.executions())
        self.assert_whole()

    def test_killed_from_outside(self) -> None:
        """An execution for each attempt, too, where somebody else kills the worker, again and again."""
        told = self.fifo("told")
        job_id = self.python(
            f"open({str(told.path)!r}, 'w').write(f'{{os.getpid()}}\\n'); import time; time.sleep(1000)",
            attempts=3,
            backoff=0,
        )
        for _ in range(3):
            os.kill(int(told.wait()), signal.SIGKILL)
        self.assertEqual(("lost", 3), self.ended(job_id))
        self.assertEqual(["1", "2", "3"], self.executions())
        self.assert_whole()

    def test_orderly_stop(self) -> None:
        """A daemon that is stopped in good order, twice, uses up no attempt of what it hands back."""
        told, gate = self.fifo("told"), self.fifo("gate")
        job_id = self.python(held(told, gate))
        for _ in range(2):
            told.wait()
            self.daemon.stop()
            self.daemon.start()
            self.talk = Talk.unix(self.daemon)
            self.addCleanup(self.talk.close)
        told.wait()
        self.talk.ok(f"wait {job_id}")
        gate.release()
        self.assertEqual(("succeeded", 1), self.ended(job_id))
        self.assertEqual(["1", "1", "1"], self.executions())


class Ahead(Workers):
    """Long jobs ahead of short ones."""

    def test_short_calls(self) -> None:
        """
        A long call among hundreds of short ones that are given to the workers several at a time: all the short
        ones end while it runs, each of them in its first attempt.
        """
        short: dict[str, Any] = {"call": "math:sqrt", "args": [2], "notify": False}
        self.talk.ok("submit " + json.dumps([short] * 300))
        told, gate = self.fifo("told"), self.fifo("gate")
        long = {"call": "builtins:exec", "args": [held(told, gate)]}
        ids = self.talk.ok("submit " + json.dumps([*[short] * 50, long, *[short] * 300]))
        first, last = map(int, ids.split("-"))
        told.wait()
        others = [job_id for job_id in range(first, last + 1) if job_id != first + 50]
        self.talk.ok(f"wait {first}-{first + 49},{first + 51}-{last}")
        ends = {event.job_id: (event.state, event.json["attempt"]) for event in self.talk.events(len(others))}
        self.assertEqual(dict.fromkeys(others, ("succeeded", 1)), ends)
        self.assertEqual("running", self.talk.state(first + 50))
        gate.release()
        self.assertEqual("succeeded", self.talk.end_of(first + 50).state)

    def test_short_commands(self) -> None:
        """The same for commands."""
        told, gate = self.fifo("told"), self.fifo("gate")
        long = {"shell": f"echo x > {told.path}; read x < {gate.path}"}
        short = {"argv": ["true"], "notify": False}
        first, last = map(int, self.talk.ok("submit " + json.dumps([*[short] * 10, long, *[short] * 30])).split("-"))
        told.wait()
        self.talk.ok(f"wait {first + 11}-{last}")
        self.assertEqual({"succeeded"}, {event.state for event in self.talk.events(30)})
        self.assertEqual("running", self.talk.state(first + 10))
        gate.release()
        self.assertEqual("succeeded", self.talk.end_of(first + 10).state)


class Memory(Workers):
    """Memory runs out under a call."""

    def test_by_a_limit(self) -> None:
        """Where a limit of its address space stops it, it is a C{MemoryError} of that call, and of no other."""
        (pid, *_) = pids = self.workers("cpu")
        for each in pids:
            used = int(Path(f"/proc/{each}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(each, resource.RLIMIT_AS, (used + 64 * 1024 * 1024,) * 2)
        event = self.talk.end_of(self.python("x = bytearray(512 * 1024 * 1024)"))
        self.assertEqual(("failed", 1), (event.state, event.json["attempt"]))
        self.assertIn("MemoryError", event.json["error"])
        self.assertIn(pid, self.workers("cpu"))
        self.assert_whole()

    def test_by_the_kernel(self) -> None:
        """Killed by the kernel since there is no memory: one attempt of that job, and the outcome names the signal."""
        with self.little_memory(self.workers("cpu")):
            event = self.talk.end_of(self.python("x = bytearray(512 * 1024 * 1024)", attempts=1))
        self.assertEqual(("lost", "SIGKILL", 137), (event.state, event.json["signal"], event.json["exit_code"]))
        self.assertEqual(["1"], self.executions())
        wait_until(lambda: len(self.workers("cpu")) == 2, "the place is filled again")
        self.assert_whole()

    @contextlib.contextmanager
    def little_memory(self, pids: list[int]) -> Iterator[None]:
        """These share 96 MB while the block runs."""
        first = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
        group = first / f"jobd-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            raise SkipTest("needs a control group for memory, which only root can make") from None
        try:
            limits = [name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists()]
            if not limits:
                raise SkipTest("needs a control group for memory")
            (group / limits[0]).write_text(str(96 * 1024 * 1024))
            for pid in pids:
                (group / "cgroup.procs").write_text(str(pid))
            yield
        finally:
            for left in (group / "cgroup.procs").read_text().split():
                (first / "cgroup.procs").write_text(left)
            group.rmdir()


class NoRoom(Workers):
    """The system has no room for one more process."""

    def begin(self, *under: str) -> None:
        """As another user, where this one is root: that may have as many processes as it likes."""
        if os.geteuid() == 0:
            # It may read what only root may: the Python that this is, perhaps.
            caps = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
            under = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *caps)
            for path in (self.folder, self.folder / "state", self.witness):
                os.chown(path, NOBODY, NOBODY)
        self.under = under
        super().begin(*under)

    def let_fork(self, pid: int, may: bool) -> None:
        """Set how many processes a process may make: none, or as many as this one."""
        _, most = resource.getrlimit(resource.RLIMIT_NPROC)
        number = ("unlimited" if most == resource.RLIM_INFINITY else str(most)) if may else "0"
        subprocess.run([*self.under, "prlimit", f"--pid={pid}", f"--nproc={number}:"], check=True)

    def test_commands(self) -> None:
        """
        While the runner may not fork, commands wait with no attempt used up; the daemon and the runner do not
        spin, nothing leaks, calls go on; with room again all of them run.
        """
        (runner,) = self.workers("command")
        before = descriptors(self.daemon.pid), descriptors(runner)
        self.let_fork(runner, False)
        script = f"echo $JOBD_ATTEMPT >> {self.witness}"
        ids = [self.talk.submit(shell=script, cpus=cpus) for cpus in (1, 0, 0, 0, 0)]
        wait_until(lambda: self.talk.json("stats")["pool"]["waiting"] == 5, "they wait for room")
        self.assertEqual("succeeded", self.talk.run(call="math:sqrt", args=[2]).state)
        comes_to_rest(self.daemon.pid)
        comes_to_rest(runner)
        self.assertEqual([], self.executions())
        cancelled = self.talk.submit(shell=script, cpus=0)
        self.talk.ok(f"cancel {cancelled}")
        self.assertEqual("cancelled", self.talk.end_of(cancelled).state)
        self.let_fork(runner, True)
        self.assertEqual([("succeeded", 1)] * 5, [self.ended(job_id) for job_id in ids])
        self.assertEqual(["1"] * 5, self.executions())
        self.assertEqual(1, self.daemon.log().count("cannot be started"))
        self.assertLess(len(self.daemon.lines), 100)
        wait_until(lambda: descriptors(self.daemon.pid) <= before[0], "there are as many descriptors as before")
        # Of those that ran at the same time the runner keeps the files at hand for the next ones.
        self.assertLessEqual(descriptors(runner), before[1] + 2 * len(ids))

    def ended(self, job_id: int) -> tuple[str, int]:
        event = self.talk.end_of(job_id)
        return event.state, event.json["attempt"]

    def test_threads(self) -> None:
        """The same for calls of the lane C{io} that each need a thread."""
        (io,) = self.workers("io")
        told, gate = self.fifo("told"), self.fifo("gate")
        for fifo in (told, gate):
            fifo.path.chmod(0o666)
        code = held(told, gate)
        running = [self.talk.submit(call="builtins:exec", args=[code], lane="io") for _ in range(3)]
        for _ in running:
            told.wait()
        self.let_fork(io, False)
        ids = [self.talk.submit(call="math:sqrt", args=[2], lane="io") for _ in range(5)]
        wait_until(lambda: self.talk.json("stats")["pool"]["waiting"] >= 5, "they wait for room")
        comes_to_rest(self.daemon.pid)
        self.let_fork(io, True)
        self.assertEqual([("succeeded", 1)] * 5, [self.ended(job_id) for job_id in ids])
        gate.release(3)
        self.assertEqual([("succeeded", 1)] * 3, [self.ended(job_id) for job_id in running])
        self.assertEqual([io], self.workers("io"))

    def test_a_worker(self) -> None:
        """
        Where the daemon itself may not fork, a worker that died is missing until there is room, calls wait for it,
        and nothing leaks; then it is there and they run.
        """
        before = descriptors(self.daemon.pid)
        self.let_fork(self.daemon.pid, False)
        for pid in self.workers("cpu"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.workers("cpu"), "they are gone")
        ids = [self.talk.submit(call="math:sqrt", args=[2]) for _ in range(3)]
        self.assertEqual("succeeded", self.talk.run(argv=["true"], cpus=0).state)
        comes_to_rest(self.daemon.pid)
        self.assertLessEqual(descriptors(self.daemon.pid), before)
        self.let_fork(self.daemon.pid, True)
        self.assertEqual([("succeeded", 1)] * 3, [self.ended(job_id) for job_id in ids])
        wait_until(lambda: len(self.workers("cpu")) == 2, "both places are filled again")
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")
