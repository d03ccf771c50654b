"""Jobs of every kind, run by a real daemon."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import calls
from tests.functional.conversation import Event, Fifo, Talk
from tests.functional.shared import shared_daemon

ROOT = str(Path(__file__).parent.parent.parent)
"""Where calls find the tests' functions."""


_MASKS = "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2"


class Jobs(SynchronousTestCase):
    """One connection to a daemon that many tests share, and a folder."""

    def setUp(self) -> None:
        self.daemon = shared_daemon()
        self.talk = Talk.unix(self.daemon)
        self.addCleanup(self.talk.close)
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()

    def fifo(self, name: str) -> Fifo:
        fifo = Fifo(self.folder / name)
        self.addCleanup(fifo.close)
        return fifo

    def run_job(self, **fields: Any) -> Event:
        return self.talk.run(**{"cwd": str(self.folder), **fields})

    def stdout(self, **fields: Any) -> str:
        """What a job that succeeds prints."""
        event = self.run_job(**fields)
        self.assertEqual("succeeded", event.state, event)
        return self.talk.output(event.job_id)

    def call(self, name: str, *args: Any, **fields: Any) -> Event:
        return self.talk.run(**{"call": name, "args": list(args), "cwd": ROOT, **fields})


class Commands(Jobs):
    """C{argv} and C{shell}."""

    def test_argv(self) -> None:
        """No shell touches the arguments of argv."""
        self.assertEqual("$HOME *\n", self.stdout(argv=["echo", "$HOME", "*"]))

    def test_shell(self) -> None:
        """A shell line is a shell's."""
        self.assertEqual("3\n", self.stdout(shell="echo a b c | wc -w | tr -d ' '"))

    def test_short_forms(self) -> None:
        """run splits words as a shell does and runs none, sh takes the line as it is."""
        for line, expected in (('run echo "a  b" $x', "a  b $x\n"), ("sh echo a  b; echo $((1+1))", "a b\n2\n")):
            job_id = int(self.talk.ok(line))
            self.talk.end_of(job_id)
            self.assertEqual(expected, self.talk.output(job_id))

    def test_outcome(self) -> None:
        """A finish event tells exit code, times, memory and the attempt."""
        event = self.run_job(argv=[sys.executable, "-c", "sum(range(3_000_000))"])
        self.assertEqual(("succeeded", 0, 1), (event.state, event.json["exit_code"], event.json["attempt"]))
        self.assertGreater(event.json["user"], 0.01)
        self.assertGreaterEqual(event.json["wall"], event.json["user"] * 0.5)
        self.assertGreaterEqual(event.json["sys"], 0.0)
        self.assertGreater(event.json["max_rss"], 1_000_000)

    def test_exit_codes(self) -> None:
        """All but 0 is failed, with the code as it was."""
        for code in (1, 3, 100, 255):
            event = self.run_job(shell=f"exit {code}")
            self.assertEqual(("failed", code), (event.state, event.json["exit_code"]))

    def test_signals(self) -> None:
        """A program that a signal ends is failed with 128 and the signal's number, and its name."""
        for name in ("SIGKILL", "SIGSEGV", "SIGTERM"):
            number = int(signal.Signals[name])
            event = self.run_job(shell=f"kill -{number} $$")
            self.assertEqual(
                ("failed", 128 + number, name), (event.state, event.json["exit_code"], event.json["signal"])
            )

    def test_what_cannot_be_started(self) -> None:
        """A program that is not there is 127; one that cannot be executed, or a folder that is not there, is 126."""
        plain = self.folder / "plain"
        plain.write_text("hello")
        for code, fields, text in (
            (127, {"argv": ["no-such-program-anywhere"]}, "no-such-program-anywhere"),
            (127, {"argv": [str(self.folder / "none")]}, "none"),
            (126, {"argv": [str(plain)]}, "plain"),
            (126, {"argv": ["true"], "cwd": "/no/such/folder"}, "/no/such/folder"),
            (126, {"argv": ["true"], "cwd": str(plain)}, "plain"),
            (126, {"argv": ["true"], "stdin": {"file": "none"}}, "none"),
            (126, {"argv": ["true"], "stdout": "no/folder"}, "no/folder"),
        ):
            event = self.run_job(**fields)
            self.assertEqual(("failed", code), (event.state, event.json["exit_code"]), fields)
            self.assertIn(text, event.json["error"])

    def test_cwd(self) -> None:
        """cwd is where it runs; without it that is the user's home."""
        self.assertEqual(f"{self.folder}\n", self.stdout(shell="pwd"))
        event = self.talk.run(shell="pwd")
        home = os.path.expanduser("~")
        self.assertEqual(f"{home}\n", self.talk.output(event.job_id))

    def test_env(self) -> None:
        """env is on top of the daemon's environment; null removes a variable."""
        script = 'echo "$A|$B|${PATH:+path}|${HOME-none}"'
        self.assertEqual(
            "1|caf\xe9 \U0001f98a|path|none\n",
            self.stdout(shell=script, env={"A": "1", "B": "caf\xe9 \U0001f98a", "HOME": None}),
        )

    def test_env_is_not_shown(self) -> None:
        """show tells the names in env only, list nothing of it."""
        job_id = self.run_job(argv=["true"], env={"PASSWORD": "sesame", "A": None}).job_id
        self.assertEqual(["A", "PASSWORD"], self.talk.json(f"show {job_id}")["spec"]["env"])
        self.assertNotIn("sesame", self.talk.ok(f'list {{"ids": "{job_id}"}}'))

    def test_own_variables(self) -> None:
        """Each job knows the daemon, itself and its attempt."""
        event = self.run_job(shell='echo "$JOBD_URL $JOBD_JOB_ID $JOBD_ATTEMPT"')
        self.assertEqual(f"{self.daemon.unix_url} {event.job_id} 1\n", self.talk.output(event.job_id))

    def test_stdin(self) -> None:
        """Standard input is empty, a text, or a file."""
        (self.folder / "in").write_text("from a file")
        self.assertEqual("", self.stdout(argv=["cat"]))
        text = "caf\xe9\n" * 20_000
        self.assertEqual("120000", self.stdout(shell="wc -c", stdin=text).strip())
        self.assertEqual("from a file", self.stdout(argv=["cat"], stdin={"file": "in"}))
        self.assertEqual("a\0b", self.stdout(argv=["cat"], stdin="a\0b"))

    def test_stdout_and_stderr(self) -> None:
        """Output goes to the job's own files, or to files of the submitter's choice, or nowhere."""
        script = "echo out; echo err >&2"
        job_id = self.run_job(shell=script).job_id
        self.assertEqual(("out\n", "err\n"), (self.talk.output(job_id), self.talk.output(job_id, "stderr")))
        (self.folder / "o").write_text("old and longer")
        job_id = self.run_job(shell=script, stdout="o", stderr=str(self.folder / "e")).job_id
        self.assertEqual(("out\n", "err\n"), ((self.folder / "o").read_text(), (self.folder / "e").read_text()))
        self.assertEqual(("", ""), (self.talk.output(job_id), self.talk.output(job_id, "stderr")))
        job_id = self.run_job(shell=script, stderr="&1").job_id
        self.assertEqual(("out\nerr\n", ""), (self.talk.output(job_id), self.talk.output(job_id, "stderr")))
        self.run_job(shell=script, stdout="both", stderr="&1")
        self.assertEqual("out\nerr\n", (self.folder / "both").read_text())
        job_id = self.run_job(shell=script, stdout=None, stderr=None).job_id
        self.assertEqual(("", ""), (self.talk.output(job_id), self.talk.output(job_id, "stderr")))

    def test_no_descriptor_is_inherited(self) -> None:
        """A command has its three descriptors and no other, and signals as they are by default."""
        if not sys.platform.startswith("linux"):
            return
        listing = self.stdout(argv=["ls", "/proc/self/fd"]).split()
        self.assertEqual(["0", "1", "2", "3"], listing)
        blocked, ignored = (int(word, 16) for word in self.stdout(shell=_MASKS).split())
        self.assertEqual(0, blocked & (1 << 31) - 1)
        # Python itself ignores these two.
        for name in ("SIGPIPE", "SIGXFSZ"):
            self.assertFalse(ignored & 1 << signal.Signals[name] - 1, name)


class Ending(Jobs):
    """Timeouts, cancel, and what a job leaves behind."""

    def start_tree(self, **fields: Any) -> tuple[int, list[int]]:
        """A command with three others below it: one ignores TERM, one has left its session and lost its parent."""
        script = self.folder / "tree.py"
        told, never = self.fifo("told"), self.fifo("never")
        script.write_text(
            "import os, signal, sys\n"
            "def leaf():\n"
            f"    os.write(os.open({str(told.path)!r}, os.O_WRONLY), b'%d\\n' % os.getpid())\n"
            f"    os.read(os.open({str(never.path)!r}, os.O_RDONLY), 1)\n"
            "    os._exit(0)\n"
            "if not os.fork():\n"
            "    leaf()\n"
            "if not os.fork():\n"
            "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "    leaf()\n"
            "if not os.fork():\n"
            "    os.setsid()\n"
            "    if not os.fork():\n"
            "        leaf()\n"
            "    os._exit(0)\n"
            "leaf()\n"
        )
        job_id = self.talk.submit(argv=[sys.executable, str(script)], cwd=str(self.folder), cpus=0, **fields)
        return job_id, [int(told.wait()) for _ in range(4)]

    def assert_gone(self, pids: list[int]) -> None:
        for pid in pids:
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    def test_cancel_the_whole_tree(self) -> None:
        """cancel ends a command with all it has started: what left its session, and what ignores TERM."""
        job_id, pids = self.start_tree(grace=0.2)
        self.assertEqual("1", self.talk.ok(f"cancel {job_id}"))
        self.assertEqual("cancelled", self.talk.end_of(job_id).state)
        self.assert_gone(pids)

    def test_timeout_of_the_whole_tree(self) -> None:
        """So does a timeout."""
        job_id, pids = self.start_tree(timeout=5, grace=0.1)
        event = self.talk.end_of(job_id)
        self.assertEqual("timed_out", event.state)
        self.assertGreater(event.json["wall"], 4.9)
        self.assert_gone(pids)

    def test_what_is_left_behind(self) -> None:
        """When a command ends, what it left running is ended and counted."""
        told, never = self.fifo("told"), self.fifo("never")
        script = f"(echo x > {told.path}; read x < {never.path}) & read x < {told.path}"
        event = self.run_job(shell=script)
        self.assertEqual(("succeeded", 1), (event.state, event.json["left"]))

    def test_term_first(self) -> None:
        """TERM comes first: a command that heeds it may clean up, within its grace."""
        told, never = self.fifo("told"), self.fifo("never")
        script = f"trap 'echo cleaned; exit 7' TERM; echo x > {told.path}; read x < {never.path}"
        job_id = self.talk.submit(shell=script, cpus=0, grace=50)
        told.wait()
        self.talk.ok(f"cancel {job_id}")
        event = self.talk.end_of(job_id)
        self.assertEqual(("cancelled", 7), (event.state, event.json["exit_code"]))
        self.assertEqual("cleaned\n", self.talk.output(job_id))

    def test_cancel_in_every_state(self) -> None:
        """What has not started is cancelled at once, what waits for it is skipped; one that has ended is an error."""
        waiting = self.talk.submit(argv=["true"], delay=3600)
        later = self.talk.submit(argv=["true"], after=[waiting])
        self.assertEqual("1", self.talk.ok(f"cancel {waiting}"))
        self.assertEqual(("cancelled", {}), self.talk.end_of(waiting)[2:])
        self.assertEqual(("skipped", {"because": waiting}), self.talk.end_of(later)[2:])
        self.assertEqual(
            f"error FINISHED job {waiting} has ended already: cancelled", self.talk.ask(f"cancel {waiting}")
        )
        self.assertEqual("0", self.talk.ok(f"cancel {waiting}-{later}"))

    def test_cancel_a_call(self) -> None:
        """A running call is cancelled by ending its worker; other calls go on."""
        told = self.fifo("told")
        code = f"import time; open({str(told.path)!r}, 'w').write('x\\n'); time.sleep(1000)"
        job_id = self.talk.submit(call="builtins:exec", args=[code])
        told.wait()
        self.talk.ok(f"cancel {job_id}")
        self.assertEqual("cancelled", self.talk.end_of(job_id).state)
        self.assertEqual(49, self.call("tests.functional.calls:square", 7).json["result"])

    def test_a_call_that_takes_too_long(self) -> None:
        """A call is ended when its time is over."""
        event = self.call("time:sleep", 1000, timeout=0.3, grace=0.1)
        self.assertEqual("timed_out", event.state)
        # Its worker went with it, and still the event says what it has used.
        parts = {"exit_code", "signal", "wall", "user", "sys", "max_rss", "attempt"}
        self.assertEqual(parts, parts & set(event.json))

    def test_a_coroutine(self) -> None:
        """A coroutine of the io lane is cancelled and timed out without its worker."""
        job_id = self.talk.submit(call="asyncio:sleep", args=[1000], lane="io")
        event = self.talk.run(call="asyncio:sleep", args=[1000], lane="io", timeout=0.2)
        self.assertEqual("timed_out", event.state)
        self.talk.ok(f"cancel {job_id}")
        self.assertEqual("cancelled", self.talk.end_of(job_id).state)

    def test_why(self) -> None:
        """why says in a line how it ended."""
        job_id = self.run_job(shell="exit 3").job_id
        self.assertEqual(f"job {job_id} failed: attempt 1, exit code 3", self.talk.ok(f"why {job_id}"))


class Calls(Jobs):
    """C{call} and C{pickle}."""

    def test_results(self) -> None:
        """What a call returns is in its event, as JSON."""
        for value in (None, True, 1.5, "caf\xe9", [1, {"a": [2]}], {"k": None}):
            event = self.call("copy:copy", value)
            self.assertEqual(("succeeded", 0, value), (event.state, event.json["exit_code"], event.json["result"]))

    def test_arguments(self) -> None:
        """Arguments come as a list, by name, or both."""
        name = "tests.functional.calls:add"
        self.assertEqual(3, self.call(name, 1, 2).json["result"])
        self.assertEqual(7, self.call(name, 3, kwargs={"second": 4}).json["result"])
        job_id = int(self.talk.ok("call math:pow {}"))
        self.assertEqual("failed", self.talk.end_of(job_id).state)
        job_id = int(self.talk.ok("call math:factorial [20]"))
        self.assertEqual(2432902008176640000, self.talk.end_of(job_id).json["result"])

    def test_methods(self) -> None:
        """A method is named by its class; an instance goes with a pickle."""
        self.assertEqual("ABC", self.call("builtins:str.upper", "abc").json["result"])
        data = base64.b64encode(pickle.dumps((calls.Greeter("hello").greet, ("world",), {}))).decode()
        event = self.talk.run(pickle=data, cwd=ROOT)
        self.assertEqual("hello world", pickle.loads(base64.b64decode(event.json["pickle"])))

    def test_coroutines(self) -> None:
        """An async def is run to its end, in both lanes."""
        for lane in ("cpu", "io"):
            self.assertEqual("done", self.call("asyncio:sleep", 0, "done", lane=lane).json["result"])

    def test_an_exception(self) -> None:
        """An exception is failed with exit code 1, the error, and a traceback that begins in the user's code."""
        for lane in ("cpu", "io"):
            event = self.call("tests.functional.calls:fail", "no such thing", lane=lane)
            self.assertEqual(
                ("failed", 1, "LookupError: no such thing"), (event.state, event.json["exit_code"], event.json["error"])
            )
            self.assertIn("in fail\n", event.json["traceback"])
            self.assertNotIn("jobd/worker", event.json["traceback"])

    def test_what_cannot_be_called(self) -> None:
        """A module that is not there, a name that is not in it, and what is no function are failed with the reason."""
        for name, text in (
            ("no_such_module:f", "no_such_module"),
            ("math:no_such_name", "no_such_name"),
            ("math:pi", "math:pi"),
            ("tests.functional.calls:Greeter.none", "none"),
        ):
            event = self.call(name)
            self.assertEqual(("failed", 1), (event.state, event.json["exit_code"]))
            self.assertIn(text, event.json["error"])

    def test_what_is_not_json(self) -> None:
        """A result that is not JSON, or is too large, is failed, and says so."""
        for name, args, text in (
            ("builtins:object", [], "JSON"),
            ("builtins:complex", [1, 2], "JSON"),
            ("operator:mul", ["x", 600_000], "524288"),
        ):
            event = self.call(name, *args)
            self.assertEqual("failed", event.state, name)
            self.assertIn(text, event.json["error"])

    def test_an_unpicklable_result(self) -> None:
        """The result of a pickled call that cannot be pickled is failed, and says so."""
        data = base64.b64encode(pickle.dumps((calls.unpicklable, (), {}))).decode()
        event = self.talk.run(pickle=data, cwd=ROOT)
        self.assertEqual("failed", event.state)
        self.assertIn("pickle", event.json["error"])

    def test_a_bad_pickle(self) -> None:
        """What is no pickle is failed; the worker goes on."""
        for data in ("bm8=", "!!!", base64.b64encode(pickle.dumps(5)).decode()):
            event = self.talk.run(pickle=data)
            self.assertEqual("failed", event.state)
            self.assertTrue(event.json["error"])

    def test_a_crash(self) -> None:
        """A call that takes its worker down is lost; the next one runs."""
        event = self.call("tests.functional.calls:leave", 3)
        self.assertEqual("lost", event.state)
        self.assertIn("exit code 3", event.json["error"])
        self.assertEqual(25, self.call("tests.functional.calls:square", 5).json["result"])

    def test_printing(self) -> None:
        """What a call prints is its own job's output, in both lanes, from Python, from C and from its programs."""
        job_id = self.call("builtins:print", "from python").job_id
        self.assertEqual("from python\n", self.talk.output(job_id))
        job_id = self.call("builtins:print", "waiting", lane="io").job_id
        self.assertEqual("waiting\n", self.talk.output(job_id))
        code = "import os, sys; os.write(1, b'bytes\\n'); os.system('echo program'); print('oh', file=sys.stderr)"
        job_id = self.call("builtins:exec", code).job_id
        self.assertEqual(("bytes\nprogram\n", "oh\n"), (self.talk.output(job_id), self.talk.output(job_id, "stderr")))
        self.assertEqual("", self.talk.output(self.call("math:sqrt", 2).job_id))

    def test_environment(self) -> None:
        """A call has its variables while it runs, in its process too."""
        code = "import os; print(os.environ['A'], os.environ['JOBD_JOB_ID'], os.environ['JOBD_ATTEMPT'], os.getcwd())"
        event = self.call("builtins:exec", code, env={"A": "b"}, cwd=str(self.folder))
        self.assertEqual(f"b {event.job_id} 1 {self.folder}\n", self.talk.output(event.job_id))
        self.assertEqual(
            "None\n", self.talk.output(self.call("builtins:exec", "import os; print(os.environ.get('A'))").job_id)
        )

    def test_modules_of_its_folder(self) -> None:
        """cwd is where modules are looked for first: equally named ones of two folders are two."""
        for name in ("one", "two"):
            folder = self.folder / name
            folder.mkdir()
            (folder / "mine.py").write_text(f"def who():\n    return {name!r}\n")
        for name in ("one", "two", "one"):
            self.assertEqual(name, self.call("mine:who", cwd=str(self.folder / name)).json["result"])

    def test_warm(self) -> None:
        """Modules stay imported: the second call in a worker finds what the first has left."""
        pids = {self.call("os:getpid").json["result"] for _ in range(10)}
        self.assertLessEqual(len(pids), 2)

    def test_io_calls_at_once(self) -> None:
        """Calls of lane io run beside each other, in threads and as coroutines, with more of them than processors."""
        told, gate = self.fifo("told"), self.fifo("gate")
        code = f"import os; open({str(told.path)!r}, 'w').write('x\\n'); os.read(os.open({str(gate.path)!r}, 0), 3)"
        ids = [self.talk.submit(call="builtins:exec", args=[code], lane="io") for _ in range(12)]
        for _ in ids:
            told.wait()
        gate.release(len(ids))
        self.assertEqual({"succeeded"}, {self.talk.end_of(job_id).state for job_id in ids})


class Order(Jobs):
    """When jobs start: delay, priority, queues, after, attempts, groups."""

    def test_priority(self) -> None:
        """Of jobs that are ready the most urgent starts first, of equals the oldest."""
        queue = f"q{time.time_ns()}"
        self.talk.ok(f'queue {queue} {{"limit": 1, "paused": true}}')
        ids = [
            self.talk.submit(argv=["true"], cpus=0, queue=queue, priority=priority) for priority in (0, 5, -5, 5, 1000)
        ]
        self.talk.ok(f"resume {queue}")
        order = [event.job_id for event in self.talk.events(5)]
        self.assertEqual([ids[place] for place in (4, 1, 3, 0, 2)], order)

    def test_queue_limit(self) -> None:
        """No more of a queue's jobs run at a time than its limit."""
        queue = f"q{time.time_ns()}"
        told, gate = self.fifo("told"), self.fifo("gate")
        self.talk.ok(f'queue {queue} {{"limit": 2}}')
        script = f"echo x > {told.path}; read x < {gate.path}"
        for _ in range(4):
            self.talk.submit(shell=script, cpus=0, queue=queue)
        told.wait()
        told.wait()
        shown = self.talk.json(f"queue {queue}")
        self.assertEqual((2, 2, 2), (shown["limit"], shown["running"], shown["queued"]))
        gate.release()
        self.talk.event()
        told.wait()
        self.assertEqual(2, self.talk.json(f"queue {queue}")["running"])
        self.talk.ok(f'queue {queue} {{"limit": null}}')
        told.wait()
        gate.release(3)
        self.talk.events(3)
        self.assertEqual((0, 0), tuple(self.talk.json(f"queue {queue}")[name] for name in ("running", "queued")))

    def test_pause(self) -> None:
        """Of a queue that is paused nothing starts; why says so, and what to do."""
        queue = f"q{time.time_ns()}"
        self.talk.ok(f"pause {queue}")
        job_id = self.talk.submit(argv=["true"], queue=queue)
        self.talk.run(argv=["true"])
        self.assertEqual("queued", self.talk.state(job_id))
        self.assertIn(f"'resume {queue}' lets it go on", self.talk.ok(f"why {job_id}"))
        self.talk.ok(f"resume {queue}")
        self.assertEqual("succeeded", self.talk.end_of(job_id).state)

    def test_delay(self) -> None:
        """A job with a delay does not start before it is over."""
        event = self.run_job(argv=["true"], delay=0.3)
        shown = self.talk.json(f"show {event.job_id}")
        self.assertGreaterEqual(shown["started"] - shown["submitted"], 0.3)

    def test_attempts(self) -> None:
        """A job that fails is tried again, with a pause that doubles; each attempt has its number and its output."""
        script = 'echo "attempt $JOBD_ATTEMPT"; [ "$JOBD_ATTEMPT" = 3 ]'
        event = self.run_job(shell=script, attempts=5, backoff=0.05)
        self.assertEqual(("succeeded", 3), (event.state, event.json["attempt"]))
        for attempt in (1, 2, 3):
            answer = self.talk.json(f'output {event.job_id} {{"attempt": {attempt}}}')
            self.assertEqual((f"attempt {attempt}\n", True), (answer["data"], answer["end"]))
        self.assertEqual("attempt 3\n", self.talk.output(event.job_id))

    def test_attempts_are_used_up(self) -> None:
        """When no attempt is left it is failed, or timed out, or lost, as the last one was."""
        event = self.run_job(shell="exit 1", attempts=2, backoff=0)
        self.assertEqual(("failed", 2), (event.state, event.json["attempt"]))
        event = self.run_job(argv=["sleep", "1000"], attempts=2, backoff=0, timeout=0.1)
        self.assertEqual(("timed_out", 2), (event.state, event.json["attempt"]))
        event = self.call("tests.functional.calls:leave", 3, attempts=2, backoff=0)
        self.assertEqual(("lost", 2), (event.state, event.json["attempt"]))

    def test_after(self) -> None:
        """Each policy of after, with each kind of end: the job runs, or it is skipped because of the one before it."""
        ends = {
            "succeeded": self.run_job(shell="exit 0").job_id,
            "failed": self.run_job(shell="exit 1").job_id,
            "timed_out": self.run_job(argv=["sleep", "1000"], timeout=0.05).job_id,
            "lost": self.call("tests.functional.calls:leave", 1).job_id,
        }
        cancelled = self.talk.submit(argv=["true"], delay=1000)
        self.talk.ok(f"cancel {cancelled}")
        ends["cancelled"] = self.talk.end_of(cancelled).job_id
        ends["skipped"] = self.run_job(argv=["true"], after=[ends["failed"]]).job_id
        runs: dict[str, set[str]] = {
            "ok": {"succeeded"},
            "failed": {"failed", "timed_out", "lost"},
            "any": set(ends),
        }
        for policy, satisfied in runs.items():
            for state, earlier in ends.items():
                event = self.run_job(argv=["true"], after={str(earlier): policy})
                expected = ("succeeded", None) if state in satisfied else ("skipped", earlier)
                self.assertEqual(expected, (event.state, event.json.get("because")), (policy, state))

    def test_after_in_a_batch(self) -> None:
        """In a batch a job comes after those before it by counting back; it starts when all of them have ended."""
        gate = self.fifo("gate")
        jobs: list[dict[str, Any]] = [
            {"shell": f"read x < {gate.path}; echo a >> log", "cpus": 0},
            {"shell": "echo b >> log"},
            {"shell": "echo c >> log", "after": [-1, -2]},
            {"argv": ["true"], "after": {"-1": "failed"}},
        ]
        text = json.dumps([{**job, "cwd": str(self.folder)} for job in jobs])
        first, last = map(int, self.talk.ok(f"submit {text}").split("-"))
        self.assertEqual(first + 3, last)
        self.talk.end_of(first + 1)
        self.assertEqual("waiting", self.talk.state(first + 2))
        self.assertIn(f"waiting for job {first}", self.talk.ok(f"why {first + 2}"))
        gate.release()
        self.assertEqual(
            ["succeeded", "succeeded", "skipped"], [self.talk.end_of(one).state for one in (first, first + 2, last)]
        )
        self.assertEqual("b\na\nc\n", (self.folder / "log").read_text())
        self.assertEqual([first, first + 1], self.talk.json(f"show {first + 2}")["spec"]["after"][::-1])

    def test_key(self) -> None:
        """The same job under the same key runs once, and whoever submits it is told how it ended, before and after."""
        gate, key = self.fifo("gate"), f"k{time.time_ns()}"
        fields = {"shell": f"read x < {gate.path}; echo ran >> log", "cwd": str(self.folder), "cpus": 0, "key": key}
        first = self.talk.submit(**fields)
        with Talk.unix(self.daemon) as other:
            self.assertEqual(first, other.submit(**fields))
            gate.release()
            self.assertEqual(self.talk.end_of(first), other.end_of(first))
            event = other.run(**fields)
            self.assertEqual((first, "succeeded"), (event.job_id, event.state))
        self.assertEqual("ran\n", (self.folder / "log").read_text())

    def test_group(self) -> None:
        """A group's event comes when its last job has ended, and tells how they ended."""
        gate, group = self.fifo("gate"), f"g{time.time_ns()}"
        scripts = ("exit 0", "exit 1", f"read x < {gate.path}")
        jobs = [{"shell": script, "cpus": 0, "group": group, "notify": False} for script in scripts]
        self.talk.ok("submit " + json.dumps(jobs))
        self.assertEqual("1", self.talk.ok(f'wait {{"group": "{group}"}}'))
        gate.release()
        expected = (0, "group", {"group": group, "succeeded": 2, "failed": 1})
        self.assertEqual(expected, self.talk.event()[1:])
        self.talk.ok(f'wait {{"group": "{group}"}}')
        self.assertEqual(expected, self.talk.event()[1:])

    def test_cpus(self) -> None:
        """A job may take more than one place; it runs when there is room, and none may be more than there is."""
        self.assertEqual("succeeded", self.run_job(argv=["true"], cpus=2).state)
        self.assertEqual("succeeded", self.run_job(argv=["true"], cpus=1024).state)

    def test_notify(self) -> None:
        """A job with notify false tells nobody who did not ask."""
        job_id = self.talk.submit(argv=["true"], notify=False)
        with Talk.unix(self.daemon) as other:
            other.ok(f"wait {job_id}")
            other.end_of(job_id)
        self.assertEqual("ok", self.talk.ask("ping"))
        self.assertEqual(0, len(self.talk._events))

    def test_retry(self) -> None:
        """retry runs ended jobs once more, as new ones that name the old ones."""
        first = self.run_job(shell='echo "$JOBD_JOB_ID"', label="again", key=f"k{time.time_ns()}").job_id
        again = int(self.talk.ok(f"retry {first}"))
        self.assertEqual("succeeded", self.talk.end_of(again).state)
        shown = self.talk.json(f"show {again}")
        self.assertEqual((first, "again", None), (shown["retry_of"], shown["spec"]["label"], shown["spec"].get("key")))
        self.assertEqual(f"{again}\n", self.talk.output(again))
        job_id = self.talk.submit(argv=["true"], delay=1000)
        self.assertEqual(f"error NOT_FINISHED job {job_id} has not ended yet", self.talk.ask(f"retry {job_id}"))
        self.talk.ok(f"cancel {job_id}")


class FromInside(Jobs):
    """Jobs that talk to their daemon."""

    def test_jobs_that_submit_jobs(self) -> None:
        """A job reaches its daemon by JOBD_URL, from a shell and from Python."""
        jobctl = f"{sys.executable} -m jobd.cli"
        event = self.run_job(shell=f"{jobctl} run echo from inside", env={"PYTHONPATH": ROOT})
        self.assertEqual("from inside\n", self.talk.output(event.job_id))
        code = "import jobd; print(jobd.connect().run(['echo', 'x']).wait(50).state)"
        event = self.run_job(argv=[sys.executable, "-c", code], env={"PYTHONPATH": ROOT}, cpus=0)
        self.assertEqual("succeeded\n", self.talk.output(event.job_id))

    def progress_of(self, **fields: Any) -> list[dict[str, Any]]:
        """The progress events of a job."""
        with Talk.unix(self.daemon) as watcher:
            watcher.ok('watch {"progress": true}')
            job_id = self.run_job(**fields).job_id
            events = []
            while not (event := watcher.event()).cursor or event.job_id != job_id:
                if event.job_id == job_id:
                    self.assertEqual((0, "progress"), (event.cursor, event.state))
                    events.append(event.json)
        return events

    def test_progress_from_a_call(self) -> None:
        """A call says how far it is by jobd.progress, in both lanes."""
        code = "import jobd\nfor n in (1, 2): jobd.progress(n, 2, f'page {n}')"
        expected = [{"done": 1, "total": 2, "text": "page 1"}, {"done": 2, "total": 2, "text": "page 2"}]
        for lane in ("cpu", "io"):
            self.assertEqual(expected, self.progress_of(call="builtins:exec", args=[code], lane=lane))

    def test_progress_from_a_shell(self) -> None:
        """A shell says it by jobctl."""
        script = f"{sys.executable} -m jobd.cli progress 3 10 'page 3'"
        self.assertEqual(
            [{"done": 3, "total": 10, "text": "page 3"}], self.progress_of(shell=script, env={"PYTHONPATH": ROOT})
        )

    def test_progress_from_a_python_program(self) -> None:
        """A Python program that is no call says it by jobd.progress as well."""
        argv = [sys.executable, "-c", "import jobd; jobd.progress(done=1)"]
        self.assertEqual([{"done": 1}], self.progress_of(argv=argv, env={"PYTHONPATH": ROOT}))

    def test_follow_many(self) -> None:
        """The output of many jobs is followed on one connection, live, each with its finish event."""
        told, gate = self.fifo("told"), self.fifo("gate")
        script = f"echo begin $JOBD_JOB_ID; echo x > {told.path}; read x < {gate.path}; echo end $JOBD_JOB_ID >&2"
        ids = [self.talk.submit(shell=script, cpus=0, notify=False) for _ in range(10)]
        for _ in ids:
            told.wait()
        self.talk.ok(f"follow {ids[0]}-{ids[-1]}")
        first = {event.job_id: event.json["data"] for event in self.talk.events(10)}
        self.assertEqual({job_id: f"begin {job_id}\n" for job_id in ids}, first)
        gate.release(10)
        rest: dict[int, list[str]] = {job_id: [] for job_id in ids}
        for event in self.talk.events(20):
            rest[event.job_id].append(event.json.get("data", event.state))
        self.assertEqual({job_id: [f"end {job_id}\n", "succeeded"] for job_id in ids}, rest)

    def test_follow_a_call(self) -> None:
        """The output of a call that takes its time is followed while it runs."""
        gate = self.fifo("gate")
        code = f"print('begin'); open({str(gate.path)!r}).readline(); print('end')"
        job_id = self.talk.submit(call="builtins:exec", args=[code], notify=False)
        self.talk.ok(f"follow {job_id}")
        self.assertEqual("begin\n", self.talk.event().json["data"])
        gate.release()
        self.assertEqual(["end\n", "succeeded"], [event.json.get("data", event.state) for event in self.talk.events(2)])
