"""Claims of the io worker: many at once, each with its own output, none in another's way."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.unit.worker_link import WorkerTestCase, pickled, unpickled

MODULE = """
import asyncio, functools, pathlib, sys, threading, time
import jobd

def until(path, value=None):
    print("begun", value)
    while not pathlib.Path(path).exists():
        time.sleep(0.005)
    print("ended", value, file=sys.stderr)
    return value

def told(path):
    jobd.progress(1)
    until(path)

async def async_until(path, value=None):
    print("begun", value)
    while not pathlib.Path(path).exists():
        await asyncio.sleep(0.005)
    print("ended", value)
    return value

async def stubborn():
    jobd.progress(1)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("tidied")
        raise

async def broken():
    raise LookupError("nothing here")

async def leave():
    sys.exit(3)

@functools.cache
def hidden(value):
    async def run():
        return value
    return run()

def meet(barrier=threading.Barrier(8)):
    return barrier.wait(20) >= 0

def report(value):
    jobd.progress(value, text="on my way")

def burn():
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass

def raw():
    sys.stdout.buffer.write(b"\\xff\\n")
"""


class IoTestCase(WorkerTestCase):
    program = "io"

    def setUp(self) -> None:
        super().setUp()
        self.write("waits.py", MODULE)
        self.go = self.folder / "go"

    def call(self, job: int, name: str, *args: Any, **fields: Any) -> None:
        self.worker.start(job, call=name, args=args, lane="io", **fields)


class Calls(IoTestCase):
    def test_value(self) -> None:
        """Plain and async functions give their values."""
        self.call(1, "math:factorial", 5)
        self.assertEqual(120, self.worker.done().outcome["result"])
        self.call(2, "asyncio:sleep", 0, "slept")
        self.assertEqual("slept", self.worker.done().outcome["result"])
        self.call(3, "waits:hidden", 7)
        self.assertEqual(7, self.worker.done().outcome["result"])

    def test_at_once(self) -> None:
        """Functions run at the same time: eight of them meet."""
        for job in range(8):
            self.call(job, "waits:meet")
        self.assertEqual({True}, {done.outcome["result"] for done in self.worker.all_done(8).values()})

    def test_many_coroutines(self) -> None:
        """A thousand coroutines wait together, in one thread."""
        for job in range(1000):
            self.call(job, "waits:async_until", str(self.go), job)
        self.go.touch()
        done = self.worker.all_done(1000)
        self.assertEqual(list(range(1000)), [done[job].outcome["result"] for job in range(1000)])
        self.assertEqual(b"begun 999\nended 999\n", self.worker.printed(999))

    def test_output(self) -> None:
        """What each job prints is in its own files, also while others print."""
        for job in (1, 2, 3):
            self.call(job, "waits:until", str(self.go), job)
        self.call(4, "waits:raw")
        self.assertEqual(4, self.worker.done().job)
        self.go.touch()
        self.worker.all_done(3)
        for job in (1, 2, 3):
            self.assertEqual(f"begun {job}\n".encode(), self.worker.printed(job))
            self.assertEqual(f"ended {job}\n".encode(), self.worker.printed(job, "err"))
        self.assertEqual((b"\xff\n", None), (self.worker.printed(4), self.worker.printed(4, "err")))

    def test_failures(self) -> None:
        """Exceptions, missing names and exits fail the job only."""
        for name, code, error in (
            ("waits:broken", 1, "LookupError: nothing here"),
            ("waits:leave", 3, "SystemExit: 3"),
            ("sys:exit", 0, None),
            ("nowhere:x", 1, "there is no module 'nowhere'"),
            ("waits:nothing", 1, "has no 'nothing'"),
            ("builtins:object", 1, "is not JSON"),
        ):
            self.call(1, name)
            outcome = self.worker.done().outcome
            self.assertEqual(code, outcome["exit_code"], name)
            self.assertIn(error or "", outcome.get("error", ""))
        self.worker.send('S 1 1 {"call": 7}')
        self.assertEqual("failed", self.worker.done().state)
        self.call(2, "waits:broken")
        self.assertNotIn("jobd/worker", self.worker.done().outcome["traceback"])

    def test_pickle(self) -> None:
        """A pickled call gives a pickled value or exception."""
        self.worker.start(1, pickle=pickled(divmod, 7, 2))
        self.assertEqual((3, 1), unpickled(self.worker.done().outcome))
        self.worker.start(2, pickle=pickled(divmod, 7, 0))
        self.assertIsInstance(unpickled(self.worker.done().outcome), ZeroDivisionError)

    def test_usage(self) -> None:
        """A function in a thread has the processor time of that thread; a coroutine has none of its own."""
        self.call(1, "waits:burn")
        outcome = self.worker.done().outcome
        self.assertGreaterEqual(outcome["user"] + outcome["sys"], 0.04)
        self.call(2, "asyncio:sleep", 0)
        outcome = self.worker.done().outcome
        self.assertEqual((False, True), ("user" in outcome, outcome["max_rss"] > 1_000_000))

    def test_progress(self) -> None:
        """Each job reports progress as itself."""
        for job in (1, 2):
            self.call(job, "waits:report", job)
            kind, number, attempt, report = self.worker.line().split(" ", 3)
            self.assertEqual(("P", str(job), "1"), (kind, number, attempt))
            self.assertEqual({"done": job, "text": "on my way"}, json.loads(report))
            self.worker.done()

    def test_folders(self) -> None:
        """Equally named modules of two folders are kept apart."""
        for name in ("one", "two"):
            self.write("same.py", f"def get(): return {name!r}\n", self.folder / name)
        for job, name in enumerate(("one", "two", "one", "two")):
            self.call(job, "same:get", cwd=str(self.folder / name))
            self.assertEqual(name, self.worker.done().outcome["result"])

    def test_edited_module(self) -> None:
        """A module that was edited is imported anew."""
        self.write("edited.py", "def get(): return 1\n")
        self.call(1, "edited:get")
        self.assertEqual(1, self.worker.done().outcome["result"])
        self.write("edited.py", "def get(): return 2\n")
        # The files are looked at once a second.
        time.sleep(1.1)
        self.call(2, "edited:get")
        self.assertEqual(2, self.worker.done().outcome["result"])

    def test_slow_import(self) -> None:
        """A module that takes long to import holds up only those that need it."""
        self.call(1, "os:getpid")
        self.worker.done()
        self.write("slow.py", f"import pathlib, time\nwhile not pathlib.Path({str(self.go)!r}).exists(): "
                              "time.sleep(0.005)\ndef get(): return 1\n")  # fmt: skip
        self.call(2, "slow:get")
        self.call(3, "slow:get")
        self.call(4, "os:getpid")
        self.assertEqual(4, self.worker.done().job)
        self.go.touch()
        self.assertEqual({2, 3}, set(self.worker.all_done(2)))

    def test_cancel_coroutine(self) -> None:
        """A coroutine is cancelled where it waits, and may tidy up."""
        self.call(1, "waits:stubborn")
        self.worker.line()
        self.worker.send("C 1 1 5")
        self.assertEqual("cancelled", self.worker.done().state)
        self.assertEqual(b"tidied\n", self.worker.printed())

    def test_cancel_nobody(self) -> None:
        """A cancel for a job that is not there is ignored."""
        self.worker.send("C 9 1 5")
        self.call(1, "os:getpid")
        self.assertEqual("succeeded", self.worker.done().state)

    def test_end_of_link(self) -> None:
        """When the link is closed coroutines are cancelled and the worker exits with 0."""
        self.call(1, "waits:stubborn")
        self.worker.line()
        self.worker.close_link()
        self.assertEqual("cancelled", self.worker.done().state)
        self.assertEqual(0, self.worker.wait())


class Threads(IoTestCase):
    options = ("--threads", "2")

    def test_limit(self) -> None:
        """No more functions than threads run at once; a cancel hands back one that waits, and leaves one that runs."""
        for job in (1, 2):
            self.call(job, "waits:told", str(self.go))
            self.assertEqual(f"P {job} 1", self.worker.line()[:5])
        for job in (3, 4):
            self.call(job, "waits:until", str(self.go))
        self.worker.send("C 1 1 5", "C 3 1 5")
        self.assertEqual("R 3 1", self.worker.line())
        self.go.touch()
        self.assertEqual({1, 2, 4}, set(self.worker.all_done(3)))
