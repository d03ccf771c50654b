"""The whole daemon on random walks; what holds stands in the oracle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.simulation import base_seed

from .controls import CONTROLS
from .life import Crash
from .run import Visits, simulate
from .story import Violation

ROOT = Path(__file__).resolve().parent.parent.parent

WALKS = 24

LEAST = 5
"""How often at least every state, every step between two and every fault is met in these walks."""


class Simulated(SynchronousTestCase):
    """Dead daemons stumble over their own death, and that is logged."""

    def tearDown(self) -> None:
        self.flushLoggedErrors(Crash)
        self.flushLoggedErrors(Violation)


class WalkTests(Simulated):
    """With everything in place."""

    def test_walks(self) -> None:
        """All that was promised holds on every walk, and on these walks everything is met that there is."""
        visits = Visits()
        first = base_seed()
        for seed in range(first, first + WALKS):
            try:
                visits.add(simulate(seed))
            except AssertionError as problem:
                raise AssertionError(f"python -m tests.simulation --seed {seed}\n{problem}") from problem
        self.assertEqual([], visits.rare(LEAST))

    def test_replay(self) -> None:
        """A walk replays bit for bit from its seed, also in another process with other hashes of its strings."""
        expected = [simulate(seed, 800).story.digest for seed in (1, 2)]
        self.assertEqual(expected, [simulate(seed, 800).story.digest for seed in (1, 2)])
        for seed, digest in zip((1, 2), expected, strict=True):
            command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--steps", "800"]
            environment = {**os.environ, "PYTHONHASHSEED": str(seed + 1)}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            self.assertIn(f"digest {digest}", done.stdout, done.stderr)


class ControlTests(Simulated):
    """With something taken out the simulation fails: so it means something that else it does not."""

    def caught(self, name: str, complaint: str) -> None:
        """Some of the first walks fail, about one in twenty with this complaint, a regular expression."""
        found = []
        for seed in range(200):
            try:
                with CONTROLS[name]():
                    simulate(seed, 1500)
            except Violation as problem:
                found.append(str(problem).partition("\n")[0])
                if re.search(complaint, found[-1]):
                    return
            finally:
                self.flushLoggedErrors()
        self.fail(f"{name}: {complaint!r} is not among {found}")

    def test_fence(self) -> None:
        """Without the fence a job ends, or begins another attempt, while one runs."""
        self.caught("without the fence", "two live attempts|and still runs")

    def test_stale(self) -> None:
        """Without the fence a job ends by a report for an attempt that was over."""
        self.caught("without the fence", "ended by a report that was stale")

    def test_reply(self) -> None:
        """With replies before the commit an acknowledged job is lost."""
        self.caught("a reply before the commit", "is lost")

    def test_start(self) -> None:
        """With a start before the commit an attempt runs that the next daemon knows nothing of."""
        self.caught("a start before the commit", "the new daemon has no idea")

    def test_attempt(self) -> None:
        """So it does if the attempt is never kept."""
        self.caught("an attempt that is not kept", "the new daemon has no idea")

    def test_report(self) -> None:
        """With reports let go before they are kept an attempt that has ended begins once more."""
        self.caught("a report let go before the commit", "starts attempt")

    def test_stream(self) -> None:
        """A stream that leaves something out is noticed."""
        self.caught("a stream with a hole", "a stream from")
