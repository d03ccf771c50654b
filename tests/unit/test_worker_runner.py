"""Claims of the runner: exit codes, redirections, process trees, hundreds at once, and nothing left over."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.reliability.measures import wake_ups
from tests.unit.worker_link import PATIENCE, WorkerTestCase, alive

if TYPE_CHECKING:
    _Base = WorkerTestCase
else:
    _Base = object


class CommandClaims(_Base):
    """What holds for a command, whichever way it is supervised."""

    def test_exit_code(self) -> None:
        """Exit code 0 is succeeded, all else failed; the usage comes with it."""
        done = self.worker.run(argv=["true"])
        self.assertEqual(("succeeded", 0), (done.state, done.outcome["exit_code"]))
        self.assertEqual(["exit_code", "wall", "user", "sys", "max_rss", "attempt"], list(done.outcome))
        done = self.worker.run(2, 4, shell="exit 3")
        self.assertEqual(("failed", 3, 4), (done.state, done.outcome["exit_code"], done.outcome["attempt"]))

    def test_usage(self) -> None:
        """Time and memory are those of the command and what it has waited for."""
        program = f"{sys.executable} -c 'x = b\"x\" * 60_000_000\nfor i in range(1_000_000): pass'; true"
        outcome = self.worker.run(shell=program).outcome
        self.assertGreater(outcome["max_rss"], 60_000_000)
        self.assertGreater(outcome["user"] + outcome["sys"], 0.01)
        self.assertGreaterEqual(outcome["wall"], 0.01)

    def test_signal(self) -> None:
        """A command that is ended by a signal exits with 128 and its number, and the signal is named."""
        outcome = self.worker.run(shell="kill -SEGV $$").outcome
        self.assertEqual((139, "SIGSEGV"), (outcome["exit_code"], outcome["signal"]))

    def test_output(self) -> None:
        """Both streams are in files of the attempt, byte for byte; a silent job has none."""
        self.worker.run(1001, shell="printf 'ü\\377\\0'; echo e >&2")
        self.assertEqual(b"\xc3\xbc\xff\0", self.worker.printed(1001))
        self.assertEqual(b"e\n", self.worker.printed(1001, "err"))
        for job in range(1, 5):
            self.worker.run(job, argv=["true"])
        self.worker.run(5, argv=["echo", "x"])
        self.assertEqual([None] * 4 + [b"x\n"], [self.worker.printed(job) for job in range(1, 6)])
        self.assertEqual(0, self.worker.close())
        files = sorted(path.name for path in self.output.rglob("*") if path.is_file())
        self.assertEqual(["1001.1.err", "1001.1.out", "5.1.out"], files)

    def test_output_while_it_runs(self) -> None:
        """What a command has written is in its file before it ends."""
        ready = self.signal("ready")
        self.worker.start(1, shell="echo begun; echo > ready; exec sleep 600")
        ready.wait()
        self.assertEqual(b"begun\n", self.worker.printed())
        self.worker.send("C 1 1 5")
        self.worker.done()

    def test_folder(self) -> None:
        """A command runs in its cwd; without one, in the home folder."""
        self.worker.run(1, argv=["pwd"], cwd="/usr")
        self.worker.run(2, argv=["pwd"])
        self.assertEqual((b"/usr\n", f"{self.folder}\n".encode()), (self.worker.printed(1), self.worker.printed(2)))

    def test_environment(self) -> None:
        """env is on top of the daemon's, null removes; the job's id and attempt cannot be forged."""
        env = {"COLOUR": "blue", "LEFT_OVER": None, "JOBD_JOB_ID": "99"}
        self.worker.run(6, 2, shell="echo $COLOUR ${LEFT_OVER-gone} $JOBD_JOB_ID $JOBD_ATTEMPT", env=env)
        self.assertEqual(b"blue gone 6 2\n", self.worker.printed(6, attempt=2))
        self.worker.run(7, shell="echo $COLOUR $LEFT_OVER")
        self.assertEqual(b"yes\n", self.worker.printed(7))

    def test_path_of_the_job(self) -> None:
        """A program is looked for in the PATH of the job."""
        tool = self.write("bin/only-here", "#!/bin/sh\necho found\n")
        tool.chmod(0o755)
        self.assertEqual(127, self.worker.run(1, argv=["only-here"]).outcome["exit_code"])
        self.worker.run(2, argv=["only-here"], env={"PATH": f"/nowhere:{tool.parent}:/bin:/usr/bin"})
        self.assertEqual(b"found\n", self.worker.printed(2))
        self.worker.run(3, argv=["./only-here"], cwd=str(tool.parent))
        self.assertEqual(b"found\n", self.worker.printed(3))

    def test_cannot_start(self) -> None:
        """What is not found fails with 127, what cannot be executed with 126, each with the reason."""
        script = self.write("script", "echo x\n")
        odd = self.write("odd", "#!/no/such/interpreter\n")
        odd.chmod(0o755)
        cases: tuple[tuple[int, str, dict[str, Any]], ...] = (
            (127, "no-such-program: command not found", {"argv": ["no-such-program"]}),
            (127, "./missing: no such program", {"argv": ["./missing"]}),
            (126, "Permission denied", {"argv": [str(script)]}),
            (126, "is not executable", {"argv": ["script"], "env": {"PATH": str(self.folder)}}),
            (126, "is a folder", {"argv": ["/"]}),
            (126, "interpreter", {"argv": [str(odd)]}),
            (126, "/no/folder", {"argv": ["true"], "cwd": "/no/folder"}),
            (126, "/no/folder", {"argv": ["true"], "cwd": "/no/folder", "stdout": "x"}),
            (126, "stdin: cannot open", {"argv": ["cat"], "stdin": {"file": "missing"}}),
            (126, "stdout: cannot open", {"argv": ["true"], "stdout": "no/such/file"}),
            (126, "Argument list too long", {"argv": ["echo", "x" * 300_000]}),
            (127, "argv is empty", {"argv": []}),
            (126, "environment", {"argv": ["true"], "env": {"A=B": "x"}}),
        )
        for code, error, fields in cases:
            done = self.worker.run(**fields)
            self.assertEqual(("failed", code), (done.state, done.outcome["exit_code"]), fields)
            self.assertIn(error, done.outcome["error"])
        self.assertEqual("succeeded", self.worker.run(argv=["true"]).state)

    def test_no_shebang(self) -> None:
        """An executable file of no known format fails with 126."""
        script = self.write("script", "echo x\n")
        script.chmod(0o755)
        self.assertEqual(126, self.worker.run(argv=[str(script)]).outcome["exit_code"])

    def test_stdin(self) -> None:
        """Standard input is empty, a text, or a file relative to the folder."""
        self.worker.run(1, argv=["cat"])
        self.worker.run(2, argv=["cat"], stdin="zeile ü\n" * 20_000)
        self.write("data/input", "from a file\n")
        self.worker.run(3, argv=["cat"], cwd=str(self.folder / "data"), stdin={"file": "input"})
        self.assertIsNone(self.worker.printed(1))
        self.assertEqual("zeile ü\n".encode() * 20_000, self.worker.printed(2))
        self.assertEqual(b"from a file\n", self.worker.printed(3))

    def test_redirections(self) -> None:
        """stdout and stderr go to files relative to the folder, to one another, or nowhere."""
        both = "echo out; echo err >&2"
        self.write("log", "what stood there before\n")
        cwd = str(self.folder)
        self.worker.run(1, shell=both, cwd=cwd, stdout="log", stderr="&1")
        self.assertEqual("out\nerr\n", (self.folder / "log").read_text())
        self.worker.run(2, shell=both, stdout=None)
        self.assertEqual((None, b"err\n"), (self.worker.printed(2), self.worker.printed(2, "err")))
        self.worker.run(3, shell=both, stderr="&1")
        self.assertEqual((b"out\nerr\n", None), (self.worker.printed(3), self.worker.printed(3, "err")))
        self.worker.run(4, shell=both, cwd=cwd, stdout=None, stderr=str(self.folder / "errors"))
        self.assertEqual("err\n", (self.folder / "errors").read_text())
        self.worker.run(5, shell=both, cwd=cwd, stdout="same", stderr="same")
        self.assertEqual("out\nerr\n", (self.folder / "same").read_text())

    def test_named_pipe(self) -> None:
        """A named pipe that nobody reads is an error, not a halt."""
        os.mkfifo(self.folder / "pipe")
        self.assertIn("pipe", self.worker.run(argv=["true"], stdout=str(self.folder / "pipe")).outcome["error"])

    def test_surroundings(self) -> None:
        """A command has a session of its own, signals as usual, and no descriptor but three."""
        program = (
            "import os, signal\n"
            "assert os.getsid(0) == os.getpid() == os.getpgid(0)\n"
            "assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
            "status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)\n"
            "ignored = [n for n in range(1, 32) if int(status['SigIgn'], 16) >> (n - 1) & 1]\n"
            "print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1], ignored)\n"
        )
        # -I: no site customisation that may open files; Python itself ignores SIGPIPE (13) and SIGXFSZ (25).
        self.worker.run(1, argv=[sys.executable, "-I", "-c", program])
        self.assertEqual(b"[0, 1, 2] [13, 25]\n", self.worker.printed(), self.worker.printed(1, "err"))

    def test_cancel(self) -> None:
        """A cancelled command gets TERM."""
        ready = self.signal("ready")
        self.worker.start(1, shell="echo > ready; exec sleep 600")
        ready.wait()
        self.worker.send("C 1 1 10")
        self.assertEqual("SIGTERM", self.worker.done().outcome["signal"])

    def test_cancel_stubborn(self) -> None:
        """A command that ignores TERM is killed after the grace, and what it has started with it."""
        ready = self.signal("ready")
        self.worker.start(1, shell="trap '' TERM; sleep 61 & echo $! > ready; while :; do sleep 62; done")
        child = int(ready.wait())
        self.worker.send("C 1 1 0.2")
        outcome = self.worker.done().outcome
        self.assertEqual((137, "SIGKILL"), (outcome["exit_code"], outcome["signal"]))
        self.assertFalse(alive(child))

    def test_cancel_own_way(self) -> None:
        """A command may use its grace, and its own exit code counts."""
        ready = self.signal("ready")
        self.worker.start(1, shell="trap 'echo tidied; exit 5' TERM; echo > ready; while :; do sleep 0.01; done")
        ready.wait()
        self.worker.send("C 1 1 10")
        self.assertEqual(5, self.worker.done().outcome["exit_code"])
        self.assertEqual(b"tidied\n", self.worker.printed())

    def test_cancel_ended(self) -> None:
        """A cancel for a job that has ended, or was never there, is ignored."""
        self.worker.run(1, argv=["true"])
        self.worker.send("C 1 1 5", "C 9 1 5")
        self.assertEqual("succeeded", self.worker.run(2, argv=["true"]).state)

    def test_places(self) -> None:
        """No more commands run than there are places; the others wait, and begin in their order."""
        self.worker.send("N 1 0")
        for job in range(1, 6):
            self.worker.start(job, shell=f"echo {job} begins >> log; sleep 0.001; echo {job} ends >> log")
        self.assertEqual([1, 2, 3, 4, 5], [self.worker.done().job for _ in range(5)])
        lines = (self.folder / "log").read_text().splitlines()
        self.assertEqual([f"{job} {what}" for job in range(1, 6) for what in ("begins", "ends")], lines)

    def test_wide(self) -> None:
        """One that asks for more places than there are has all of them; one that needs none does not wait."""
        ready, go = self.signal("ready"), self.signal("go")
        self.worker.send("N 2 0")
        self.worker.start(1, shell="echo > ready; read x < go", cpus=9)
        ready.wait()
        self.worker.start(2, argv=["true"], cpus=0)
        self.assertEqual(2, self.worker.done().job)
        go.give()
        self.assertEqual(1, self.worker.done().job)

    def test_taken_places(self) -> None:
        """What others have taken is no place; once they have given it back, it is one."""
        self.worker.send("N 1 1")
        self.worker.start(1, argv=["true"])
        self.assertEqual("R 1 1", self.worker.line())
        self.worker.send("N 1 0")
        self.assertEqual(1, self.worker.run(1, argv=["true"]).job)

    def test_waits_too_long(self) -> None:
        """All that wait behind commands that prove to be long are handed back, the last one first."""
        go = self.signal("go")
        self.worker.send("N 1 0")
        for job in range(1, 4):
            self.worker.start(job, shell="read x < go")
        self.assertEqual(["R 3 1", "R 2 1"], [self.worker.line(), self.worker.line()])
        go.give()
        self.assertEqual(1, self.worker.done().job)
        go.give()
        self.assertEqual(2, self.worker.run(2, shell="read x < go").job)

    def test_cancel_waiting(self) -> None:
        """One that waits and is cancelled is handed back; the others stay."""
        go = self.signal("go")
        text = '{"shell": "read x < go"}'
        self.worker.send("N 1 0", f"S 1 1 {text}", f"S 2 1 {text}", "C 2 1 5")
        self.assertEqual("R 2 1", self.worker.line())
        go.give()
        self.assertEqual(1, self.worker.done().job)

    def test_end_of_link_while_some_wait(self) -> None:
        """When the link is closed what waits is handed back, and what runs is ended."""
        ready = self.signal("ready")
        self.worker.send("N 1 0")
        self.worker.start(1, shell="echo > ready; exec sleep 60")
        ready.wait()
        self.worker.start(2, argv=["true"])
        self.worker.close_link()
        self.assertEqual("R 2 1", self.worker.line())
        self.assertEqual((1, "SIGTERM"), ((done := self.worker.done()).job, done.outcome["signal"]))
        self.assertEqual(0, self.worker.wait())

    def test_end_of_link(self) -> None:
        """When the link is closed everything is ended and the runner exits with 0."""
        ready = self.signal("ready")
        self.worker.start(1, shell="echo $$ > ready; exec sleep 600")
        pid = int(ready.wait())
        self.assertEqual(0, self.worker.close())
        self.assertFalse(alive(pid))

    def test_unreadable(self) -> None:
        """A job that cannot be read is failed."""
        self.worker.send('S 1 1 {"argv": 7}')
        self.assertEqual(("failed", 126), (self.worker.done().state, 126))

    def test_nothing_left_over(self) -> None:
        """After 300 commands, good and bad, the runner has no child, and no more descriptors than before."""
        pid = self.worker.process.pid
        kinds: list[dict[str, Any]] = [
            {"argv": ["true"]},
            {"argv": ["echo", "x"], "stdin": "text"},
            {"argv": ["missing"]},
            {"argv": ["true"], "stdout": "f", "stderr": "no/f"},
            {"shell": "exit 1", "stdout": "f"},
        ]
        self.worker.run(1000, argv=["true"])
        before = len(os.listdir(f"/proc/{pid}/fd"))
        for begin in range(0, 300, 20):
            for job in range(begin, begin + 20):
                self.worker.start(job, cwd=str(self.folder), **kinds[job % len(kinds)])
            self.worker.all_done(20)
        # A few empty files stay open for further commands.
        self.assertLess(len(os.listdir(f"/proc/{pid}/fd")) - before, 45)
        self.assertEqual("", Path(f"/proc/{pid}/task/{pid}/children").read_text())


class PosixRunner(CommandClaims, WorkerTestCase):
    """One thread, woken by events."""

    program = "runner"

    def test_left_in_group(self) -> None:
        """What a command leaves running is ended before the finish is reported, and counted."""
        ready = self.signal("ready")
        self.worker.start(1, shell="sleep 600 & echo $! > ready; exit 4")
        outcome = self.worker.done().outcome
        self.assertEqual((4, 1), (outcome["exit_code"], outcome["left"]))
        self.assertFalse(alive(int(ready.wait())))
        self.assertLess(outcome["wall"], 60)

    def test_left_in_other_sessions(self) -> None:
        """So are processes that have left the session, forked twice, or ignore TERM."""
        signals = [self.signal(name) for name in ("one", "two", "three")]
        self.worker.start(
            1,
            shell="setsid sh -c 'echo $$ > one; exec sleep 60' & "
            "(setsid sh -c 'setsid sleep 61 & echo $! > two; exec sleep 62' &) ; "
            "(setsid sh -c 'trap \"\" TERM; echo $$ > three; while :; do sleep 63; done' &) ; "
            "while [ ! -e go ]; do sleep 0.01; done",
        )
        pids = [int(each.wait()) for each in signals]
        (self.folder / "go").touch()
        outcome = self.worker.done().outcome
        self.assertEqual(0, outcome["exit_code"])
        self.assertGreaterEqual(outcome["left"], 4)
        self.assertEqual([False] * 3, [alive(pid) for pid in pids])

    def test_cancel_whole_tree(self) -> None:
        """A cancel reaches processes in other sessions, whoever their parent is by now, and nobody else's."""
        one, two, other = (self.signal(name) for name in ("one", "two", "other"))
        self.worker.start(2, shell="(setsid sh -c 'echo $$ > other; exec sleep 60' &) ; exec sleep 61")
        self.worker.start(
            1,
            shell="setsid sh -c 'echo $$ > one; exec sleep 60' & "
            "(setsid sh -c 'echo $$ > two; exec sleep 61' &) ; exec sleep 62",
        )
        pids = [int(one.wait()), int(two.wait())]
        bystander = int(other.wait())
        self.worker.send("C 1 1 10")
        outcome = self.worker.done().outcome
        self.assertEqual("SIGTERM", outcome["signal"])
        self.assertEqual([False, False, True], [alive(pid) for pid in (*pids, bystander)])
        self.worker.send("C 2 1 10")
        self.worker.done()
        self.assertFalse(alive(bystander))

    def test_orphan_that_ends(self) -> None:
        """A child of the command that ends after it, by itself, is waited for."""
        self.assertEqual(0, self.worker.run(shell="true & exit 0").outcome["exit_code"])

    def test_open_output_does_not_delay(self) -> None:
        """The finish waits for processes, not for an end of output that another one holds open."""
        begun = time.monotonic()
        self.worker.run(shell="sleep 600 > /dev/null 2>&1 & (trap '' HUP; sleep 601) & echo done")
        self.assertLess(time.monotonic() - begun, 60)
        self.assertEqual(b"done\n", self.worker.printed())

    def test_hundreds(self) -> None:
        """500 commands at once: one thread that sleeps, all ended with the link."""
        count = 500
        ready = self.signal("ready")
        pid = self.worker.process.pid
        for job in range(count):
            self.worker.start(job, shell="echo x > ready; exec sleep 600")
        # The last start is answered only when all before it have been made.
        self.assertEqual(count, self.worker.run(count, argv=["true"]).job)
        self.assertEqual(1, len(os.listdir(f"/proc/{pid}/task")))
        self.assertLess(len(os.listdir(f"/proc/{pid}/fd")), 200)
        started = 0
        while started < count:
            started += ready.wait().count("x")
        # While they are young each gets a control group, where there are any.
        end = time.monotonic() + PATIENCE
        while wake_ups([pid], 1.0):
            self.assertLess(time.monotonic(), end, "it does not come to rest")
        self.worker.close_link()
        self.assertEqual({"SIGTERM"}, {done.outcome["signal"] for done in self.worker.all_done(count).values()})
        self.assertEqual(0, self.worker.wait())

    def test_handed_back(self) -> None:
        """A command for which there is no descriptor is handed back, and why, with all that wait; nothing leaks."""
        pid = self.worker.process.pid
        self.worker.send("N 1 0")
        self.worker.run(1, argv=["true"])
        # The spool's two files are open already: the file for stdin is one more.
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        before = len(os.listdir(f"/proc/{pid}/fd"))
        self.worker.start(2, argv=["true"], stdin="text")
        self.worker.start(3, argv=["true"], stdin="text")
        for job in (2, 3):
            self.assertEqual(f"F {job} 1 the text for stdin cannot be kept: Too many open files", self.worker.line())
        self.assertEqual(before, len(os.listdir(f"/proc/{pid}/fd")))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual("succeeded", self.worker.run(2, argv=["true"], stdin="text").state)

    def test_terminated(self) -> None:
        """TERM ends the runner as the end of the link does: with all that it runs."""
        ready = self.signal("ready")
        self.worker.start(1, shell="setsid sh -c 'echo $$ > ready; exec sleep 60' & exec sleep 61")
        pid = int(ready.wait())
        self.worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(0, self.worker.process.wait(PATIENCE))
        self.assertFalse(alive(pid))


class PortableRunner(CommandClaims, WorkerTestCase):
    """A thread for each command."""

    program = "runner"
    options = ("--portable",)
