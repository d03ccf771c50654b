"""jobctl as a user runs it: a process of its own, with a real daemon behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

import jobd
from jobd.client.core import Event
from tests.daemon import Daemon
from tests.functional.shared import shared_daemon
from tests.unit.scripted import Peer, ScriptedDaemon

ROOT = str(Path(jobd.__file__).parent.parent)
LIMIT = 120.0
JOBCTL = [sys.executable, "-m", "jobd.cli"]


class JobctlTestCase(TestCase):
    """A test that runs jobctl in a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        mine = {name: value for name, value in os.environ.items() if not name.startswith("JOBD_")}
        self.env = {**mine, "PYTHONPATH": ROOT, "JOBD_URL": shared_daemon().url}

    def jobctl(self, *words: str, code: int = 0, stdin: str = "", **env: str) -> str:
        """The standard output of one run, which ends with this code."""
        return self.both(*words, code=code, stdin=stdin, **env)[0]

    def both(self, *words: str, code: int = 0, stdin: str = "", **env: str) -> tuple[str, str]:
        """The standard output and error of one run."""
        done = subprocess.run(
            [*JOBCTL, *words],
            cwd=self.folder,
            env={**self.env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        self.assertEqual((code, done.stdout, done.stderr), (done.returncode, done.stdout, done.stderr))
        return done.stdout, done.stderr

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*JOBCTL, *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def submit(self, *words: str) -> str:
        """The id of a job submitted by C{jobctl sh}."""
        return self.jobctl("--id-only", "sh", *words).strip()

    def show(self, job: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.jobctl("--json", "show", job))
        return shown


class Run(JobctlTestCase):
    """C{jobctl run}."""

    def test_output_and_code(self) -> None:
        """Output comes where it would without jobd, and the job's code is the exit code."""
        out, err = self.both("run", "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
        self.assertEqual(("out\n", "err\n"), (out, err))

    def test_codes(self) -> None:
        """128+N for a signal, 124 for a timeout, 127 and 126 as a shell does."""
        self.jobctl("run", "true")
        self.jobctl("run", "sh", "-c", "kill -9 $$", code=137)
        self.assertIn("timed out", self.both("run", "--timeout", "0.2", "sleep", "60", code=124)[1])
        self.assertIn("no-such-program", self.both("run", "no-such-program", code=127)[1])
        (self.folder / "plain").write_text("x")
        self.both("run", "./plain", code=126)
        self.both("run", "-C", "/no/such/folder", "true", code=126)

    def test_surroundings(self) -> None:
        """The job runs in our folder and with our variables."""
        out = self.jobctl("run", "sh", "-c", 'pwd; echo "$COLOUR $SHAPE $JOBD_ATTEMPT"', "-", COLOUR="red")
        self.assertEqual(f"{self.folder.resolve()}\nred  1\n", out)
        out = self.jobctl(
            "run", "-e", "SHAPE=round", "-e", "COLOUR=blue", "sh", "-c", "echo $COLOUR $SHAPE", COLOUR="red"
        )
        self.assertEqual("blue round\n", out)
        self.assertEqual("\n", self.jobctl("run", "--no-env", "sh", "-c", "echo $COLOUR", COLOUR="red"))

    def test_surroundings_over_loopback(self) -> None:
        """Over TCP, too, if it is this machine."""
        daemon = shared_daemon()
        out = self.jobctl("--url", daemon.tcp_url, "--token", daemon.token, "run", "sh", "-c", "pwd; echo $C", C="red")
        self.assertEqual(f"{self.folder.resolve()}\nred\n", out)
        self.assertIn("JOBD_TOKEN", self.both("--url", daemon.tcp_url, "run", "true", code=125)[1])
        self.assertIn("wrong token", self.both("--url", daemon.tcp_url, "--token", "x", "run", "true", code=125)[1])

    def test_input(self) -> None:
        """Our standard input or a file, if that is asked for; else nothing."""
        self.assertEqual("", self.jobctl("run", "cat", stdin="ours"))
        self.assertEqual("ours", self.jobctl("run", "--stdin", "-", "cat", stdin="ours"))
        (self.folder / "in").write_text("theirs")
        self.assertEqual("theirs", self.jobctl("run", "--stdin", "in", "cat"))
        self.jobctl("run", "--stdout", "out", "echo", "x")
        self.assertEqual("x\n", (self.folder / "out").read_text())

    def test_binary(self) -> None:
        """Bytes that are no text arrive as they are."""
        done = subprocess.run(
            [*JOBCTL, "run", "printf", r"\377\000\n"],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            timeout=LIMIT,
            check=True,
        )
        self.assertEqual(b"\xff\0\n", done.stdout)

    def test_live(self) -> None:
        """Output is shown while the job runs."""
        gate = self.folder / "gate"
        process = self.start("run", "sh", "-c", f"echo begun; until [ -e {gate} ]; do sleep 0.02; done; echo ended")
        assert process.stdout is not None
        self.assertEqual("begun\n", process.stdout.readline())
        gate.touch()
        self.assertEqual("ended\n", process.stdout.readline())
        self.assertEqual(0, process.wait(LIMIT))

    def test_interrupt(self) -> None:
        """Ctrl-C cancels the job."""
        process = self.start("run", "sh", "-c", "echo $JOBD_JOB_ID; exec sleep 60")
        assert process.stdout is not None
        job = process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        self.assertEqual(130, process.wait(LIMIT))
        self.assertEqual("cancelled", self.show(job)["state"])

    def test_cancelled_by_another(self) -> None:
        """A job that somebody else cancels is not a success."""
        process = self.start("run", "sh", "-c", "echo $JOBD_JOB_ID; exec sleep 60")
        assert process.stdout is not None
        self.jobctl("cancel", process.stdout.readline().strip())
        self.assertEqual(143, process.wait(LIMIT))

    def test_broken_pipe(self) -> None:
        """When nobody reads any more, the job is cancelled, and nothing is said."""
        process = self.start("run", "sh", "-c", "echo $JOBD_JOB_ID; exec yes")
        assert process.stdout is not None and process.stderr is not None
        job = process.stdout.readline().strip()
        process.stdout.close()
        self.assertEqual(141, process.wait(LIMIT))
        self.assertEqual("", process.stderr.read())
        self.assertEqual(143, self.start("wait", job).wait(LIMIT))

    def test_json(self) -> None:
        """For programs: a line for each piece of output, then the outcome."""
        piece, outcome = map(json.loads, self.jobctl("--json", "run", "echo", "x").splitlines())
        self.assertEqual(("stdout", "x\n"), (piece["stream"], piece["data"]))
        self.assertEqual(("succeeded", 0), (outcome["state"], outcome["exit_code"]))


class Private(JobctlTestCase):
    """C{run} and C{map} where no daemon is running."""

    def setUp(self) -> None:
        super().setUp()
        del self.env["JOBD_URL"]
        # Not below our own folder: the path of a Unix socket must be short.
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.temporary = Path(folder.name)
        home = {"HOME": self.folder, "XDG_RUNTIME_DIR": self.folder / "no", "XDG_STATE_HOME": self.folder / "state"}
        self.env |= {name: str(path) for name, path in home.items()} | {"TMPDIR": str(self.temporary)}

    def left(self) -> list[str]:
        return [path.name for path in self.temporary.iterdir()]

    def test_run(self) -> None:
        """A daemon for this one command is started, and nothing of it stays."""
        self.assertEqual("x\n", self.jobctl("run", "sh", "-c", "echo x; exit 5", code=5))
        self.assertEqual([], self.left())
        self.assertFalse((self.folder / "state").exists())

    def test_map(self) -> None:
        """The same for many."""
        self.assertEqual("a\nb\nc\n", self.jobctl("map", "-k", "-j", "2", "echo", ":::", "a", "b", "c"))
        self.assertEqual([], self.left())

    def test_terminated(self) -> None:
        """Its end comes with ours, also by a signal."""
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = self.start("run", "sh", "-c", "echo begun; exec sleep 60")
            assert process.stdout is not None
            self.assertEqual("begun\n", process.stdout.readline())
            process.send_signal(number)
            self.assertEqual(code, process.wait(LIMIT))
            self.assertEqual([], self.left())

    def test_killed(self) -> None:
        """Also by one that nobody can do anything about: the daemon notices, ends the job, and nothing stays."""
        if sys.platform != "linux":
            raise SkipTest("it takes a descriptor to see the end of a process that is not one's child")
        for words in (["run"], ["map", "-j", "1"]):
            told = self.folder / "pid"
            with contextlib.suppress(FileNotFoundError):
                told.unlink()
            line = f"echo $$ > {told}.new; mv {told}.new {told}; exec sleep 60"
            process = self.start(*words, "sh", "-c", line, ":::", "a")
            self.until(told.exists)
            job = os.pidfd_open(int(told.read_text()))
            self.addCleanup(os.close, job)
            process.kill()
            process.wait(LIMIT)
            self.assertEqual([job], select.select([job], [], [], LIMIT)[0])
            self.until(lambda: not self.left())

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it did not happen")
            time.sleep(0.01)

    def test_forbidden(self) -> None:
        """Not if it is not wanted, nor for other commands."""
        for words in (["run", "--no-private", "true"], ["map", "--no-private", "echo", ":::", "a"], ["stats"]):
            self.assertIn("twistd jobd", self.both(*words, code=125)[1])


class Jobs(JobctlTestCase):
    """Submitting, waiting, looking."""

    def test_submit(self) -> None:
        """JSON from an argument or from standard input; fields can be given as options."""
        job = self.jobctl("submit", '{"argv": ["pwd"]}', "--label", "x", "--id-only").strip()
        self.jobctl("wait", job)
        self.assertEqual(f"{self.folder.resolve()}\n", self.jobctl("log", job))
        self.assertEqual("x", self.show(job)["spec"]["label"])
        first, second = json.loads(
            self.jobctl("--json", "submit", stdin='[{"shell": "exit 0"}, {"shell": "a", "after": [-1]}]')
        )
        self.assertEqual(first + 1, second)
        self.assertRegex(self.jobctl("submit", '{"call": "math:factorial", "args": [5]}'), r"^job \d+\n$")
        self.assertIn("did you mean 'priority'", self.both("submit", '{"argv": ["a"], "prioirty": 1}', code=125)[1])
        for wrong in ("{", "[]", "3", "[3]"):
            self.both("submit", wrong, code=125)

    def test_wait(self) -> None:
        """Wait for one: its code. For several: 0 if all succeeded, else the code of the first that did not."""
        good, bad = self.submit("exit 0"), self.submit("exit 7")
        self.assertIn(f"job {good} succeeded in ", self.jobctl("wait", good))
        self.assertIn(f"job {bad} failed: exit code 7", self.jobctl("wait", bad, code=7))
        self.assertEqual(2, len(self.jobctl("wait", f"{good}-{bad}", code=7).splitlines()))
        skipped = self.submit("--after", bad, "true")
        self.jobctl("wait", skipped, code=125)
        slow = self.submit("sleep 60")
        self.assertIn("1 of 1 jobs", self.both("wait", slow, "--timeout", "0.1", code=124)[1])
        self.jobctl("cancel", slow)
        self.jobctl("wait", slow, code=143)
        self.assertEqual(good, self.jobctl("wait", "--id-only", good).strip())
        self.assertEqual("succeeded", json.loads(self.jobctl("wait", "--json", good))["state"])

    def test_selectors(self) -> None:
        """Ids, ranges, the newest, a group, a label, a state."""
        group = self.folder.parent.name[-60:]
        ids = [self.submit("--group", group, "--label", f"{group}{code}", f"exit {code}") for code in (0, 1, 0)]
        self.jobctl("wait", "--group", group, code=1)

        def listed(*words: str) -> list[str]:
            return self.jobctl("--id-only", "list", *words).split()

        self.assertEqual(ids, listed("--group", group))
        self.assertEqual([ids[1]], listed("--group", group, "--state", "failed"))
        self.assertEqual([ids[0], ids[2]], listed("--group", group, "--state", "succeeded,lost"))
        self.assertEqual([ids[1]], listed("--label", f"{group}1"))
        self.assertEqual(ids[1:], listed(f"{ids[1]}-{ids[2]}"))
        self.assertEqual([ids[0], ids[2]], listed(f"{ids[0]},{ids[2]}"))
        self.assertEqual([ids[2]], listed("last"))
        self.assertEqual(ids[1:], listed("--group", group, "-n", "2"))
        self.assertEqual(
            ids, [str(job["id"]) for job in json.loads(self.jobctl("list", "--group", group, "--json", "--all"))]
        )
        self.assertIn("which jobs?", self.both("cancel", code=125)[1])
        self.assertIn("'x' is no job", self.both("show", "x", code=125)[1])
        self.assertIn("'ok' is no state", self.both("list", "--state", "ok", code=125)[1])
        self.assertIn("no job", self.both("show", "999999999", code=125)[1])

    def test_list(self) -> None:
        """A table for people, without colours where there is no terminal."""
        job = self.submit("--label", "my label", "true")
        self.jobctl("wait", job)
        head, row = self.jobctl("list", job).splitlines()
        self.assertRegex(head, r"^ID +STATE +AGE +TOOK +LABEL +WHAT$")
        self.assertRegex(row, rf"^ *{job} +succeeded +\S+ +\S+ +my label +true$")
        self.assertEqual("", self.jobctl("list", "--label", "no such label"))

    def test_colour_on_a_terminal(self) -> None:
        """On a terminal there are colours, unless they are not wanted."""
        job = self.submit("true")
        self.jobctl("wait", job)
        self.assertIn("\x1b[32msucceeded\x1b[0m", self._on_terminal("list", job))
        self.assertNotIn("\x1b[", self._on_terminal("list", job, NO_COLOR="1"))

    def _on_terminal(self, *words: str, **env: str) -> str:
        if sys.platform == "win32":
            raise SkipTest("there are no pseudo-terminals here")
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        with subprocess.Popen(
            [*JOBCTL, *words], cwd=self.folder, env={**self.env, "TERM": "xterm", **env}, stdout=theirs
        ) as process:
            os.close(theirs)
            data = b""
            while True:
                try:
                    piece = os.read(ours, 65536)
                except OSError:
                    break
                if not piece:
                    break
                data += piece
            self.assertEqual(0, process.wait(LIMIT))
        return data.decode()

    def test_show_and_why(self) -> None:
        """All there is to know, and one line."""
        job = self.submit("exit 3")
        self.jobctl("wait", job, code=3)
        text = self.jobctl("show", job)
        self.assertIn("state:     failed", text)
        self.assertIn("exit_code: 3", text)
        self.assertEqual(3, self.show(job)["outcome"]["exit_code"])
        self.assertIn("failed", self.jobctl("why", job))
        self.assertEqual(int(job), json.loads(self.jobctl("why", job, "--json"))["id"])
        self.assertEqual(2, len(json.loads(self.jobctl("--json", "show", f"{int(job) - 1},{job}"))))

    def test_log(self) -> None:
        """What was written, of one job as it is, of several with their ids; and as it is written."""
        one, two = self.submit("echo a; echo b >&2"), self.submit("printf c")
        self.jobctl("wait", one, two)
        self.assertEqual(("a\n", "b\n"), self.both("log", one))
        self.assertEqual(("a\n", ""), self.both("log", one, "--stream", "stdout"))
        self.assertEqual((f"{one}: a\n{two}: c\n", f"{one}: b\n"), self.both("log", one, two))
        self.assertEqual(("a\n", "b\n"), self.both("log", "-f", one))
        gate = self.folder / "gate"
        job = self.submit(f"echo 1; until [ -e {gate} ]; do sleep 0.02; done; echo 2")
        process = self.start("log", "-f", job)
        assert process.stdout is not None
        self.assertEqual("1\n", process.stdout.readline())
        gate.touch()
        self.assertEqual("2\n", process.stdout.read())
        self.assertEqual(0, process.wait(LIMIT))

    def test_cancel_and_retry(self) -> None:
        """What has not ended is ended; what has ended is submitted again."""
        job = self.submit("sleep 60")
        self.assertEqual("1 job cancelled\n", self.jobctl("cancel", job))
        self.jobctl("wait", job, code=143)
        self.assertIn("has ended already", self.both("cancel", job, code=125)[1])
        again = self.jobctl("retry", job, "--id-only").strip()
        self.assertEqual(int(job), self.show(again)["retry_of"])
        self.assertEqual("1", self.jobctl("--json", "cancel", again).strip())
        self.assertEqual([int(again) + 1], json.loads(self.jobctl("--json", "retry", job)))
        self.jobctl("cancel", "last")

    def test_queues(self) -> None:
        """A queue's limit, its pause, and what waits in it."""
        self.assertIn("limit:   3", self.jobctl("queue", "jobctl-test", "--limit", "3"))
        self.jobctl("pause", "jobctl-test")
        job = self.submit("-q", "jobctl-test", "true")
        self.assertIn("paused", self.jobctl("why", job))
        self.jobctl("resume", "jobctl-test")
        self.jobctl("wait", job)
        self.assertIsNone(json.loads(self.jobctl("--json", "queue", "jobctl-test", "--limit", "none"))["limit"])
        self.both("queue", "jobctl-test", "--limit", "x", code=125)

    def test_stats(self) -> None:
        """What the daemon is doing, for people and for programs."""
        self.assertIn("version:", self.jobctl("stats"))
        self.assertIn("queues", json.loads(self.jobctl("--json", "stats")))

    def test_progress(self) -> None:
        """A job reports how far it is by jobctl itself."""
        with jobd.connect(shared_daemon().url) as client:
            events = client.watch(progress=True)
            command = f"{sys.executable} -m jobd.cli progress 3 10 'page 3'"
            job = self.submit("-e", f"PYTHONPATH={ROOT}", command)
            event = next(event for event in events if isinstance(event, Event) and event.job == int(job))
            self.assertEqual({"done": 3, "total": 10, "text": "page 3"}, event.data)
            events.close()  # type: ignore[attr-defined]
        self.jobctl("wait", job)
        self.assertIn("JOBD_JOB_ID", self.both("progress", "3", code=125)[1])


class Restarts(JobctlTestCase):
    """A daemon that comes and goes."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.daemon = Daemon(Path(folder.name).resolve(), "--workers", "2")
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.env["JOBD_URL"] = self.daemon.url

    def test_wait(self) -> None:
        """A wait goes on over a daemon that was killed."""
        self.jobctl("pause")
        job = self.submit("exit 3")
        process = self.start("wait", job)
        with jobd.connect(self.daemon.url) as client:
            while client.stats()["connections"] < 2:
                pass
        self.daemon.kill()
        self.daemon.start()
        self.jobctl("resume")
        self.assertEqual(3, process.wait(LIMIT))

    def test_drain(self) -> None:
        """Running jobs end, then the daemon stops; nothing is accepted meanwhile."""
        gate = self.folder / "gate"
        process = self.start("run", "sh", "-c", f"echo begun; until [ -e {gate} ]; do sleep 0.02; done")
        assert process.stdout is not None
        self.assertEqual("begun\n", process.stdout.readline())
        self.assertEqual("1 job is still running\n", self.jobctl("drain"))
        self.assertIn("drain", self.both("sh", "true", code=125)[1])
        gate.touch()
        self.assertEqual(0, process.wait(LIMIT))


class Map(JobctlTestCase):
    """C{jobctl map}."""

    def test_inputs(self) -> None:
        """Inputs from the command line or from standard input, in the place that is marked for them."""
        self.assertEqual("x a y\nx b y\n", self.jobctl("map", "-k", "echo", "x", "{}", "y", ":::", "a", "b"))
        self.assertEqual("a b\nc\n", self.jobctl("map", "-k", "echo", stdin="a b\nc\n"))
        self.assertEqual("b 1\nd 2\n", self.jobctl("map", "-k", "echo", "{/.}", "{#}", ":::", "a/b.c", "d"))
        self.assertEqual("", self.jobctl("map", "echo", stdin=""))

    def test_order(self) -> None:
        """With -k in the order of the inputs, else as they end; each job's output stays in one piece."""
        gate = self.folder / "gate"
        # Until the other one has come so far, and then until it is gone: not before that has its end been seen.
        wait = f"until [ -e {gate} ]; do sleep 0.02; done; while kill -0 $(cat {gate}) 2>&-; do sleep 0.02; done"
        line = (
            f"echo {{}}; if [ {{}} = a ]; then {wait}; else echo $$ > {gate}.new; mv {gate}.new {gate}; fi; echo {{}}"
        )
        self.assertEqual("b\nb\na\na\n", self.jobctl("map", "--shell", line, ":::", "a", "b"))
        gate.unlink()
        self.assertEqual("a\na\nb\nb\n", self.jobctl("map", "-k", "--shell", line, ":::", "a", "b"))

    def test_shell(self) -> None:
        """Inputs are quoted in a line for the shell."""
        nasty = 'it\'s; echo $HOME `date` "x" *'
        self.assertEqual(f"{nasty}|\n", self.jobctl("map", "--shell", "echo {}'|' | cat", ":::", nasty))

    def test_failures(self) -> None:
        """The exit code is the number that failed, up to 101."""
        self.jobctl("map", "-j", "2", "test", "{}", "-lt", "3", ":::", "1", "2", "3", "4", "5", code=3)
        err = self.both("map", "no-such-program", ":::", "a", code=1)[1]
        self.assertIn("no-such-program", err)
        self.assertIn("'a'", err)

    def test_one_at_a_time(self) -> None:
        """-j limits how many there are at a time."""
        line = "mkdir busy && sleep 0.01 && rmdir busy"
        self.jobctl("map", "-j", "1", "--shell", line + " # {}", ":::", *"abcdef")

    def test_json(self) -> None:
        """A line for each job."""
        lines = self.jobctl("--json", "map", "-k", "sh", "-c", "echo {}; echo e >&2", ":::", "a", "b").splitlines()
        found = [json.loads(line) for line in lines]
        self.assertEqual(["a", "b"], [job["input"] for job in found])
        self.assertEqual(("a\n", "e\n", "succeeded"), tuple(found[0][name] for name in ("stdout", "stderr", "state")))

    def test_interrupt(self) -> None:
        """Ctrl-C ends all of its jobs."""
        group = self.folder.parent.name[-60:]
        process = self.start("map", "--group", group, "sleep", "{}", ":::", *["60"] * 5)
        with jobd.connect(shared_daemon().url) as client:
            while len(list(client.list(group=group))) < 5:
                pass
            process.send_signal(signal.SIGINT)
            self.assertEqual(130, process.wait(LIMIT))
            outcomes = client.wait([job["id"] for job in client.list(group=group)], LIMIT)
        self.assertEqual({"cancelled"}, {outcome.state for outcome in outcomes})

    def test_interrupt_while_submitting(self) -> None:
        """Ctrl-C before the daemon has said which jobs they are ends all of them as well."""
        cancelled: list[str] = []

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit")
            process.send_signal(signal.SIGINT)
            peer.write("ok 7-8")
            peer.read()

        def second(peer: Peer) -> None:
            peer.hello()
            cancelled.append(peer.expect("cancel", "ok 2"))
            peer.read()

        with ScriptedDaemon(first, second) as daemon:
            self.env["JOBD_URL"] = daemon.url
            process = self.start("map", "echo", ":::", "a", "b")
            self.assertEqual(130, process.wait(LIMIT))
        self.assertEqual(["7-8"], cancelled)
