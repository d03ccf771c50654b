"""What C{make test} says last, and when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from .environments import ROOT

LINUX = sys.platform.startswith("linux")


class RunTestsTests(TestCase):
    """tools/run_tests.py on small suites of its own."""

    timeout = 600

    def conclude(self, body: str) -> tuple[int, str]:
        """
        Run a suite with this in it.

        @return: the exit status and the last line.
        """
        suite = Path(self.mktemp())
        suite.mkdir(parents=True)
        file = suite.resolve() / "test_sample.py"
        file.write_text(
            "import os\nfrom twisted.trial.unittest import SkipTest, TestCase\n\n\nclass T(TestCase):\n" + body
        )
        command = [sys.executable, str(ROOT / "tools" / "run_tests.py"), "--no-coverage", str(file)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        return done.returncode, done.stdout.splitlines()[-1]

    def test_all_pass(self) -> None:
        """When all tests pass, it says how many."""
        body = "    def test_a(self): pass\n    def test_b(self): pass\n"
        self.assertEqual((0, "2 passed, 0 failed"), self.conclude(body))

    def test_failures_and_errors(self) -> None:
        """Failures and errors both count as failed."""
        body = "    def test_a(self): self.fail()\n    def test_b(self): 1 / 0\n    def test_c(self): pass\n"
        self.assertEqual((1, "1 passed, 2 failed"), self.conclude(body))

    def test_skips(self) -> None:
        """On Linux a skipped test fails the run; so does one marked as not done yet."""
        body = "    def test_a(self): raise SkipTest('no')\n    def test_b(self): pass\n"
        self.assertEqual((int(LINUX), "1 passed, 0 failed, 1 skipped"), self.conclude(body))
        body = "    def test_a(self): 1 / 0\n    test_a.todo = 'later'\n    def test_b(self): pass\n"
        self.assertEqual((int(LINUX), "1 passed, 0 failed, 1 skipped"), self.conclude(body))

    def test_nothing_runs(self) -> None:
        """A suite that cannot be imported, dies, or is empty is a failure."""
        self.assertEqual((1, "0 passed, 1 failed"), self.conclude("    1 / 0\n"))
        self.assertEqual((1, "0 passed, 1 failed"), self.conclude("    def test_a(self): os._exit(0)\n"))
        self.assertEqual((1, "0 passed, 0 failed"), self.conclude("    pass\n"))
