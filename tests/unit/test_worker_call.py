"""Claims of the call worker: values, exceptions, what is printed, whose module it is, who must not wait."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jobd
from jobd.worker.output import claim_output, discard_scratch
from tests.reliability.measures import wait_until
from tests.unit.worker_link import WorkerTestCase, alive, pickled, unpickled


class Values(WorkerTestCase):
    def test_value(self) -> None:
        """A returned value is succeeded, with the value as JSON and the usage around it."""
        done = self.worker.run(call="math:factorial", args=[20])
        self.assertEqual(("succeeded", 2432902008176640000), (done.state, done.outcome["result"]))
        self.assertEqual(["exit_code", "wall", "user", "sys", "max_rss", "attempt", "result"], list(done.outcome))
        self.assertEqual((0, 1), (done.outcome["exit_code"], done.outcome["attempt"]))
        self.assertGreater(done.outcome["max_rss"], 1_000_000)

    def test_large_integer(self) -> None:
        """An integer of any size is JSON."""
        self.assertEqual(2**200, self.worker.run(call="builtins:pow", args=[2, 200]).outcome["result"])

    def test_null_and_nested(self) -> None:
        """None is null, and a null inside a value is not mistaken for a number that JSON lacks."""
        self.assertIsNone(self.worker.run(call="builtins:print").outcome["result"])
        done = self.worker.run(call="builtins:list", args=[[None, "null"]])
        self.assertEqual([None, "null"], done.outcome["result"])

    def test_keyword_arguments(self) -> None:
        """kwargs are passed by name."""
        done = self.worker.run(call="builtins:int", args=["ff"], kwargs={"base": 16})
        self.assertEqual(255, done.outcome["result"])

    def test_not_json(self) -> None:
        """A value that is not JSON is failed, and the error names its type."""
        for call, args, name in (("builtins:object", [], "object"), ("builtins:float", ["nan"], "float")):
            done = self.worker.run(call=call, args=args)
            self.assertEqual(("failed", 1), (done.state, done.outcome["exit_code"]))
            self.assertIn("is not JSON", done.outcome["error"])
            self.assertIn(name, done.outcome["error"])

    def test_result_limit(self) -> None:
        """A result of 524288 bytes passes, a longer one is failed."""
        self.write("big.py", "def text(n): return 'x' * n\n")
        self.assertEqual("succeeded", self.worker.run(call="big:text", args=[524286]).state)
        done = self.worker.run(2, call="big:text", args=[524287])
        self.assertEqual("failed", done.state)
        self.assertIn("too long", done.outcome["error"])

    def test_depth_limit(self) -> None:
        """
        A result of 100 levels of lists passes, a deeper one is failed: there are readers that could not follow it. What
        stands in strings are no levels.
        """
        self.write("deep.py", "import json\ndef lists(n): return json.loads('[' * n + ']' * n)\n")
        self.assertEqual("succeeded", self.worker.run(call="deep:lists", args=[100]).state)
        for depth in (101, 500, 900):
            done = self.worker.run(depth, call="deep:lists", args=[depth])
            self.assertEqual("failed", done.state)
            self.assertIn("too deep", done.outcome["error"])
        text = '\\"[[' * 1000
        self.assertEqual(text, self.worker.run(2, call="builtins:str", args=[text]).outcome["result"])

    def test_coroutine(self) -> None:
        """An async def function is run to its end."""
        self.assertEqual(5, self.worker.run(call="asyncio:sleep", args=[0, 5]).outcome["result"])

    def test_methods(self) -> None:
        """A method is reached through its class: static, of the class, and of a pickled instance."""
        self.write(
            "shapes.py",
            "class Box:\n"
            "    def __init__(self, side): self.side = side\n"
            "    def area(self): return self.side ** 2\n"
            "    @staticmethod\n"
            "    def name(): return 'box'\n"
            "    @classmethod\n"
            "    def unit(cls): return cls(1).area()\n",
        )
        self.assertEqual("box", self.worker.run(1, call="shapes:Box.name").outcome["result"])
        self.assertEqual(1, self.worker.run(2, call="shapes:Box.unit").outcome["result"])

    def test_pickle(self) -> None:
        """A pickled call gives a pickled value, of any type."""
        done = self.worker.run(pickle=pickled(datetime.date, 2026, month=11, day=22))
        self.assertEqual(datetime.date(2026, 11, 22), unpickled(done.outcome))

    def test_unpicklable_value(self) -> None:
        """A value that cannot be pickled is failed."""
        done = self.worker.run(pickle=pickled(open, os.devnull))
        self.assertEqual("failed", done.state)
        self.assertIn("cannot be pickled", done.outcome["error"])

    def test_damaged_pickle(self) -> None:
        """A pickle that cannot be read is failed, and the worker goes on."""
        self.assertEqual("failed", self.worker.run(pickle="AAAA").state)
        self.assertEqual("failed", self.worker.run(pickle="not base64").state)
        self.assertEqual("succeeded", self.worker.run(call="os:getpid").state)


class Failures(WorkerTestCase):
    def test_exception(self) -> None:
        """An exception is failed; the traceback begins in the user's code."""
        self.write("bad.py", "def divide(n):\n    return n / 0\n")
        outcome = self.worker.run(call="bad:divide", args=[1]).outcome
        self.assertEqual((1, "ZeroDivisionError: division by zero"), (outcome["exit_code"], outcome["error"]))
        self.assertIn(f'File "{self.folder}/bad.py", line 2, in divide', outcome["traceback"].splitlines()[1])
        self.assertNotIn("jobd/worker", outcome["traceback"])

    def test_pickled_exception(self) -> None:
        """A pickled call that raises gives the exception itself."""
        done = self.worker.run(pickle=pickled(json.loads, "{"))
        problem = unpickled(done.outcome)
        self.assertIsInstance(problem, json.JSONDecodeError)
        self.assertEqual("failed", done.state)

    def test_unpicklable_exception(self) -> None:
        """An exception that could not be had back from its pickle is told in words only."""
        self.write("odd.py", "class Odd(Exception):\n    def __init__(self, a, b): super().__init__(a)\n"
                             "def go(): raise Odd(1, 2)\n")  # fmt: skip
        sys.path.insert(0, str(self.folder))
        self.addCleanup(sys.path.remove, str(self.folder))
        import odd  # type: ignore[import-not-found]

        self.addCleanup(sys.modules.pop, "odd")
        outcome = self.worker.run(pickle=pickled(odd.go)).outcome
        self.assertEqual("odd.Odd: 1", outcome["error"])
        self.assertNotIn("pickle", outcome)

    def test_names(self) -> None:
        """What cannot be found is failed with an error that names what is missing."""
        for call, error in (
            ("nowhere:x", f"there is no module 'nowhere', neither in {self.folder} nor installed"),
            ("os.nowhere:x", "there is no module 'os.nowhere'"),
            ("math:nothing", "module 'math' has no 'nothing'"),
            ("math:pi", "'math:pi' is not callable, it is of type 'float'"),
            ("math", "'math' is not of the form"),
        ):
            outcome = self.worker.run(call=call).outcome
            self.assertEqual(1, outcome["exit_code"])
            self.assertIn(error, outcome["error"])
            self.assertNotIn("traceback", outcome)

    def test_import_that_raises(self) -> None:
        """A module that cannot be imported is failed, with the traceback of its import."""
        self.write("broken.py", "import missing_dependency\n")
        outcome = self.worker.run(call="broken:x").outcome
        self.assertIn("missing_dependency", outcome["error"])
        self.assertIn("broken.py", outcome["traceback"])

    def test_system_exit(self) -> None:
        """sys.exit ends the call with its code, not the worker."""
        self.assertEqual(("succeeded", 0), self._exit())
        self.assertEqual(("succeeded", 0), self._exit(0))
        self.assertEqual(("failed", 3), self._exit(3))
        self.assertEqual(("failed", 1), self._exit("no"))

    def _exit(self, *args: object) -> tuple[str, int]:
        done = self.worker.run(call="sys:exit", args=list(args))
        return done.state, done.outcome["exit_code"]

    def test_keyboard_interrupt(self) -> None:
        """A KeyboardInterrupt fails the call only."""
        self.assertEqual("failed", self.worker.run(call="_thread:interrupt_main").state)
        self.assertEqual("succeeded", self.worker.run(call="os:getpid").state)

    def test_exception_without_text(self) -> None:
        """An exception whose text cannot be made is told by its type."""
        self.write("mute.py", "class Mute(Exception):\n    def __str__(self): raise ValueError\n"
                              "def go(): raise Mute\n")  # fmt: skip
        self.assertIn("Mute", self.worker.run(call="mute:go").outcome["error"])

    def test_long_text(self) -> None:
        """An error of a megabyte is shortened: an event must stay readable."""
        self.write("long.py", "def go(): raise ValueError('x' * 1_000_000)\n")
        self.assertLess(len(json.dumps(self.worker.run(call="long:go").outcome)), 200_000)

    def test_crash(self) -> None:
        """A call that ends the process is never reported; those behind it neither."""
        self.worker.send(
            'S 1 1 {"call": "os:getpid"}', 'S 2 1 {"call": "os:_exit", "args": [7]}', 'S 3 1 {"call": "os:getpid"}'
        )
        self.assertEqual(1, self.worker.done().job)
        self.assertEqual(7, self.worker.wait())
        self.assertRaises(AssertionError, self.worker.line)

    def test_killed(self) -> None:
        """What a call printed before it was killed can be claimed for it, and nothing is left then."""
        self.write("suicide.py", "import os\ndef go():\n    print('last words')\n    os.kill(os.getpid(), 9)\n")
        self.worker.start(4, call="suicide:go")
        self.assertEqual(-signal.SIGKILL, self.worker.wait())
        claim_output(str(self.output), self.worker.process.pid, 4, 1)
        discard_scratch(str(self.output), self.worker.process.pid)
        self.assertEqual(b"last words\n", self.worker.printed(4))
        self.assertEqual(["0"], os.listdir(self.output))


class Surroundings(WorkerTestCase):
    def test_folder(self) -> None:
        """A call runs in its cwd, one without in the home folder, whatever the one before has done."""
        other = self.folder / "other"
        other.mkdir()
        getcwd: dict[str, Any] = {"call": "os:getcwd"}
        self.assertEqual(str(self.folder), self.worker.run(**getcwd).outcome["result"])
        self.assertEqual(str(other), self.worker.run(cwd=str(other), **getcwd).outcome["result"])
        self.worker.run(call="os:chdir", args=["/"])
        self.assertEqual(str(self.folder), self.worker.run(**getcwd).outcome["result"])

    def test_missing_folder(self) -> None:
        """A cwd that does not exist is failed, and the error names it."""
        outcome = self.worker.run(call="os:getpid", cwd="/does/not/exist").outcome
        self.assertIn("/does/not/exist", outcome["error"])
        self.assertEqual("succeeded", self.worker.run(call="os:getpid").state)

    def test_removed_folder(self) -> None:
        """A folder that is removed after a call ran in it fails the next call there only."""
        gone = self.folder / "gone"
        gone.mkdir()
        self.worker.run(call="os:getpid", cwd=str(gone))
        gone.rmdir()
        self.assertEqual("failed", self.worker.run(call="os:getpid", cwd=str(gone)).state)
        self.assertEqual("succeeded", self.worker.run(call="os:getpid").state)

    def test_environment(self) -> None:
        """env is set for the call and restored after it; null removes a variable."""
        env = {"COLOUR": "blue", "LEFT_OVER": None}
        self.assertEqual("blue", self.worker.run(call="os:getenv", args=["COLOUR"], env=env).outcome["result"])
        self.assertIsNone(self.worker.run(call="os:getenv", args=["LEFT_OVER"], env=env).outcome["result"])
        self.assertEqual("yes", self.worker.run(call="os:getenv", args=["LEFT_OVER"]).outcome["result"])
        self.assertIsNone(self.worker.run(call="os:getenv", args=["COLOUR"]).outcome["result"])

    def test_job_in_environment(self) -> None:
        """The job's id and attempt stand in the environment, of programs it starts too."""
        done = self.worker.run(7, 3, call="subprocess:getoutput", args=["echo $JOBD_JOB_ID.$JOBD_ATTEMPT"])
        self.assertEqual("7.3", done.outcome["result"])

    def test_modules_of_two_folders(self) -> None:
        """Equally named modules of two folders are kept apart, and keep their state."""
        one, two = self.folder / "one", self.folder / "two"
        for folder in (one, two):
            self.write("tool/__init__.py", "", folder)
            self.write("tool/part.py", f"hits = []\ndef hit():\n    hits.append(1)\n"
                                       f"    return '{folder.name}', len(hits)\n", folder)  # fmt: skip
        results = [
            self.worker.run(call="tool.part:hit", cwd=str(folder)).outcome["result"] for folder in (one, two, one, two)
        ]
        self.assertEqual([["one", 1], ["two", 1], ["one", 2], ["two", 2]], results)

    def test_edited_module(self) -> None:
        """A module whose file was edited is imported anew, with those of its folder that use it."""
        self.write("inner.py", "value = 1\n")
        self.write("outer.py", "from inner import value\ndef get(): return value\n")
        self.assertEqual(1, self.worker.run(call="outer:get").outcome["result"])
        self.write("inner.py", "value = 2\n")
        # The files are looked at once a second: this call takes longer.
        self.worker.run(call="time:sleep", args=[1.1])
        self.assertEqual(2, self.worker.run(call="outer:get").outcome["result"])

    def test_link_is_out_of_reach(self) -> None:
        """A call that reads standard input finds its end; what it writes to the descriptors is not taken for a line."""
        self.write("rude.py", "import os, sys\ndef go():\n    os.write(1, b'D 1 1 succeeded 0 {}\\n')\n"
                              "    return sys.stdin.read(), os.read(0, 10).decode()\n")  # fmt: skip
        self.assertEqual(["", ""], self.worker.run(call="rude:go").outcome["result"])
        self.assertEqual(b"D 1 1 succeeded 0 {}\n", self.worker.printed())

    def test_forked_copy(self) -> None:
        """A process that a call forks off does not speak for the worker, not even if it returns."""
        self.write("twin.py", "import os\ndef go():\n    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n"
                              "    return bool(pid)\n")  # fmt: skip
        self.assertTrue(self.worker.run(call="twin:go").outcome["result"])
        self.assertEqual(2, self.worker.run(2, call="os:getpid").job)

    def test_progress(self) -> None:
        """jobd.progress goes through the link, for the job that reports it."""
        self.worker.start(5, call="jobd:progress", args=[1, 4, "grün"])
        kind, job, attempt, report = self.worker.line().split(" ", 3)
        self.assertEqual(("P", "5", "1"), (kind, job, attempt))
        self.assertEqual({"done": 1, "total": 4, "text": "grün"}, json.loads(report))
        self.assertEqual("succeeded", self.worker.done().state)


class Printing(WorkerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write(
            "talk.py",
            "import os, subprocess, sys\n"
            "def every_way():\n"
            "    print('print ü \\udc80')\n"
            "    os.write(1, b'\\xff\\x00write\\n')\n"
            "    subprocess.run(['echo', 'program'])\n"
            "    os.system('echo reopened >> /dev/stdout')\n"
            "    print('error', file=sys.stderr)\n"
            "def close(): sys.stdout.close()\n"
            "def close_descriptor(): os.close(1)\n"
            "def replace(): sys.stdout = None\n",
        )

    def test_every_way(self) -> None:
        """Whatever way a call writes to standard output and error, it is in its own files, byte for byte."""
        self.worker.run(1, call="talk:every_way")
        expected = "print ü \\udc80\n".encode() + b"\xff\x00write\nprogram\nreopened\n"
        self.assertEqual(expected, self.worker.printed())
        self.assertEqual(b"error\n", self.worker.printed(1, "err"))

    def test_silent(self) -> None:
        """A job that prints nothing has no file, and gets nothing of its neighbours."""
        self.worker.run(1, call="builtins:print", args=["one"])
        self.worker.run(2, call="os:getpid")
        self.worker.run(3, 2, call="builtins:print", args=["three"])
        printed = self.worker.printed(1), self.worker.printed(2), self.worker.printed(3, attempt=2)
        self.assertEqual((b"one\n", None, b"three\n"), printed)

    def test_abuse(self) -> None:
        """Closing or replacing standard output spoils it for no other call."""
        for job, call in enumerate(("close", "close_descriptor", "replace"), 1):
            self.assertEqual("succeeded", self.worker.run(job, call=f"talk:{call}").state)
            self.worker.run(job + 10, call="builtins:print", args=[call])
            self.worker.run(job + 20, call="builtins:print", args=[call])
            self.assertEqual(f"{call}\n".encode(), self.worker.printed(job + 20))

    def test_followed(self) -> None:
        """What a long call prints can be read from its own file while it still runs."""
        self.write("slow.py", "import jobd, pathlib, sys, time\n"
                              "def go(stop):\n    print('begun')\n    jobd.progress(1)\n"
                              "    while not pathlib.Path(stop).exists(): time.sleep(0.005)\n")  # fmt: skip
        stop = self.folder / "stop"
        self.worker.start(1, call="slow:go", args=[str(stop)])
        self.assertTrue(self.worker.line().startswith("P 1 1 "), "it has printed")
        # A job behind it comes back when the worker has seen that the first one takes long...
        self.worker.start(2, call="os:getpid")
        self.assertEqual("R 2 1", self.worker.line())
        # ...and the next one is handed back after the output has got its name.
        self.worker.start(3, call="os:getpid")
        self.assertEqual("R 3 1", self.worker.line())
        self.assertEqual(b"begun\n", self.worker.printed())
        stop.touch()
        self.assertEqual(1, self.worker.done().job)
        self.assertEqual(b"begun\n", self.worker.printed())
        self.assertIsNone(self.worker.printed(1, "err"))

    def test_folder_removed(self) -> None:
        """When the output cannot be kept the job still ends, and the log says so."""
        self.write("vandal.py", "import shutil\ndef go(path):\n    shutil.rmtree(path)\n    print('x')\n")
        self.worker.start(1, call="vandal:go", args=[str(self.output)])
        self.assertTrue(self.worker.line().startswith("L "))
        self.assertEqual("succeeded", self.worker.done().state)
        self.worker.run(2, call="builtins:print", args=["again"])
        self.assertEqual(b"again\n", self.worker.printed(2))


class Waiting(WorkerTestCase):
    """Who must not wait for whom."""

    def test_handed_back(self) -> None:
        """Jobs behind a long one are handed back long before it ends; it itself goes on."""
        go = self.signal("go")
        call = json.dumps({"call": "builtins:exec", "args": [f"open({str(self.folder / 'go')!r}).readline()"]})
        self.worker.send(*(f"S {job} 1 {call}" for job in (1, 2, 3)))
        self.assertEqual(["R 2 1", "R 3 1"], [self.worker.line(), self.worker.line()])
        go.give()
        self.assertEqual(1, self.worker.done().job)
        self.assertEqual(2, self.worker.run(2, call="os:getpid").job)

    def test_in_order(self) -> None:
        """Many short jobs given ahead are each run once, in order."""
        count = 2000
        self.worker.send(*(f'S {job} 1 {{"call": "math:factorial", "args": [3]}}' for job in range(count)))
        ended: list[int] = []
        back: list[int] = []
        while len(ended) + len(back) < count:
            kind, job, *_ = self.worker.line().split(" ", 2)
            (ended if kind == "D" else back).append(int(job))
        self.assertEqual(list(range(count)), sorted(ended + back))
        self.assertEqual(sorted(ended), ended)

    def test_cancel_running(self) -> None:
        """A cancel ends the worker and with it what the call has started; others are handed back first."""
        self.write("nest.py", "import jobd, subprocess, time\ndef go():\n"
                              "    child = subprocess.Popen(['sleep', '60'])\n    jobd.progress(text=str(child.pid))\n"
                              "    time.sleep(60)\n")  # fmt: skip
        self.worker.start(1, call="nest:go")
        child = int(json.loads(self.worker.line().split(" ", 3)[3])["text"])
        self.worker.start(2, call="os:getpid")
        self.worker.send("C 1 1 5")
        self.assertEqual("R 2 1", self.worker.line())
        self.assertEqual(-signal.SIGTERM, self.worker.wait())
        wait_until(lambda: not alive(child), "what the call had started is gone")

    def test_cancel_stubborn(self) -> None:
        """A call that ignores TERM is killed after the grace."""
        self.write("stubborn.py", "import jobd, signal, time\ndef go():\n"
                                  "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    jobd.progress(1)\n"
                                  "    while True: time.sleep(1)\n")  # fmt: skip
        self.worker.start(1, call="stubborn:go")
        self.worker.line()
        self.worker.send("C 1 1 0.2")
        self.assertEqual(-signal.SIGKILL, self.worker.wait())

    def test_cancel_ended(self) -> None:
        """A cancel for a job that has ended, or was never there, is ignored."""
        self.worker.run(1, call="os:getpid")
        self.worker.send("C 1 1 5", "C 9 1 5")
        self.assertEqual("succeeded", self.worker.run(2, call="os:getpid").state)

    def test_end_of_link(self) -> None:
        """When the link is closed an idle worker exits with 0, and leaves no scratch file."""
        self.worker.run(1, call="os:getpid")
        self.assertEqual(0, self.worker.close())
        self.assertEqual([], os.listdir(self.output))

    def test_end_of_link_in_a_call(self) -> None:
        """When the link is closed a worker does not stay for a call that takes long."""
        self.worker.start(1, call="time:sleep", args=[60])
        self.assertEqual(-signal.SIGTERM, self.worker.close())


class Start(WorkerTestCase):
    def test_imports(self) -> None:
        """The worker starts without Twisted, attrs and asyncio."""
        self.write("loaded.py", "import sys\ndef go(names): return [n for n in names if n in sys.modules]\n")
        done = self.worker.run(call="loaded:go", args=[["twisted", "attr", "attrs", "asyncio", "argparse"]])
        self.assertEqual([], done.outcome["result"])

    def test_own_session(self) -> None:
        """The worker leads a session: a Ctrl-C for the daemon's terminal does not reach it."""
        self.assertEqual(self.worker.process.pid, self.worker.run(call="os:getsid", args=[0]).outcome["result"])

    def test_options(self) -> None:
        """Without its folder the program says so and ends."""
        root = str(Path(jobd.__file__).parent.parent)
        for options, text in (([], "--output"), (["--nonsense"], "--nonsense")):
            result = subprocess.run(
                [sys.executable, "-m", "jobd.worker.call", *options],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=root, check=False,
            )  # fmt: skip
            self.assertEqual(1, result.returncode)
            self.assertIn(text, result.stderr)
