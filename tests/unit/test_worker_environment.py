"""What a call finds in its environment, and that the worker does not grow by it."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from jobd.worker import environment
from jobd.worker.environment import name_job, set_variable

GROWTH = """
import sys
from jobd.worker.environment import name_job, set_variable
def memory():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
def use(jobs):
    for number in jobs:
        name_job(b"%d" % number, b"1")
        set_variable("JOBD_TEST", f"of job {number}")
use(range(1000))
before = memory()
use(range(1000, 51000))
print(memory() - before)
"""
"""50,000 jobs, each with a value of its own in two variables. What C{setenv} keeps of that is 6.4 million bytes."""

AT_EXIT = """
import atexit, subprocess
atexit.register(lambda: subprocess.run("echo $JOBD_JOB_ID.$JOBD_TEST$JOBD_GONE", shell=True))
from jobd.worker.environment import name_job, set_variable
name_job(b"17", b"1")
set_variable("JOBD_TEST", "there")
set_variable("JOBD_GONE", "gone")
import os
del os.environ["JOBD_GONE"]
"""


def printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class EnvironmentTests(SynchronousTestCase):
    """Of this very process."""

    def setUp(self) -> None:
        for name in ("JOBD_TEST", "JOBD_JOB_ID", "JOBD_ATTEMPT"):
            self.addCleanup(set_variable, name, os.environ.get(name))

    def found(self, name: str = "JOBD_TEST") -> tuple[str | None, str]:
        """The value here, and in a program that is started now."""
        program = f"import os; print(os.environ.get({name!r}))"
        return os.environ.get(name), printed(program)

    def test_values(self) -> None:
        """Values of any length, one after the other, are found here and by programs, and removed again."""
        for value in ("a", "b" * 20, "c" * 1000, "", "trü=be", "d"):
            set_variable("JOBD_TEST", value)
            self.assertEqual((value, value), self.found())
        set_variable("JOBD_TEST", None)
        self.assertEqual((None, "None"), self.found())
        set_variable("JOBD_TEST", None)
        set_variable("JOBD_TEST", "again")
        self.assertEqual(("again", "again"), self.found())

    def test_job(self) -> None:
        """So it is with the job's id and attempt."""
        for job, attempt in ((b"7", b"1"), (b"1234567890123456789", b"2"), (b"8", b"1")):
            name_job(job, attempt)
            self.assertEqual((job.decode(), job.decode()), self.found("JOBD_JOB_ID"))
            self.assertEqual((attempt.decode(), attempt.decode()), self.found("JOBD_ATTEMPT"))

    def test_changed_by_the_call(self) -> None:
        """A call may change, remove or clear what it finds: the next one finds its own."""
        name_job(b"1", b"1")
        set_variable("JOBD_TEST", "one")
        os.environ["JOBD_JOB_ID"] = "none"
        os.environ["JOBD_TEST"] = "none"
        name_job(b"2", b"1")
        set_variable("JOBD_TEST", "two")
        self.assertEqual((("2", "2"), ("two", "two")), (self.found("JOBD_JOB_ID"), self.found()))
        del os.environ["JOBD_JOB_ID"], os.environ["JOBD_TEST"]
        name_job(b"3", b"1")
        set_variable("JOBD_TEST", "three")
        self.assertEqual((("3", "3"), ("three", "three")), (self.found("JOBD_JOB_ID"), self.found()))

    def test_impossible(self) -> None:
        """What no environment can hold is refused, and what was there stays."""
        set_variable("JOBD_TEST", "there")
        for name, value in (("JOBD_TEST", "a\0b"), ("JOBD\0TEST", "a"), ("JOBD=TEST", "a"), ("", "a")):
            self.assertRaises(ValueError, set_variable, name, value)
        self.assertEqual(("there", "there"), self.found())


class WithoutMemoryOfOurs(EnvironmentTests):
    """Where the system copies what it is given all is the same, but for the memory."""

    def setUp(self) -> None:
        super().setUp()
        if sys.platform != "win32":
            patch = mock.patch.object(environment, "_putenv", None)
            patch.start()
            self.addCleanup(patch.stop)


class ProcessTests(SynchronousTestCase):
    """Of a process of its own."""

    def test_does_not_grow(self) -> None:
        """However many jobs there were, the process is no larger."""
        self.assertLess(int(printed(GROWTH)), 500_000)

    test_does_not_grow.skip = None if sys.platform == "linux" else "only Linux says how large a process is"  # type: ignore[attr-defined]

    def test_at_exit(self) -> None:
        """The environment is whole until the process has ended."""
        self.assertEqual("17.there", printed(AT_EXIT))
