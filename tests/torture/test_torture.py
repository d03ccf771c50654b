"""The kill loop in its short form, and its controls: without the fence, or with replies before the commit, it fails."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.torture.judge import Verdict, judge, load
from tests.torture.plan import AT_START, UNDER_LOAD, WHEN_STOPPING, Cycle, Death, Point, schedule

if sys.platform == "linux":
    from tests.torture.loop import Loop, Options, describe
    from tests.torture.report import as_json, markdown, passed, text


class Torture(SynchronousTestCase):
    """Runs of the loop."""

    timeout = 1800

    def setUp(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("the kill loop needs /proc, and locks that belong to an open file")

    def run_loop(self, options: Options, plan: Sequence[Cycle]) -> Verdict:
        with tempfile.TemporaryDirectory(prefix="jobd-torture-") as name:
            folder = Path(name).resolve()
            Loop(options, plan, folder).run()
            return judge(load(folder))

    def test_kill_loop(self) -> None:
        """
        Killed at every point there is, stopped, and left without its workers, the daemon loses nothing that it has
        acknowledged, runs no attempt twice, never two of a job at a time, and tells each end once.
        """
        options = Options(cycles=19, jobs=1000, seed=4)
        plan = schedule(options.seed, options.cycles, options.jobs)
        verdict = self.run_loop(options, plan)
        self.assertTrue(passed(verdict), text(options, verdict))

    def sabotaged(self, sabotage: str, death: Death) -> tuple[Options, Verdict]:
        """A few daemons that lack something."""
        options = Options(cycles=3, jobs=400, seed=4, clients=2, python=False, sabotage=sabotage)
        life = Cycle(None, "", 0, death, options.jobs // options.cycles, "", 0.0)
        return options, self.run_loop(options, [life] * options.cycles)

    def test_replies_before_the_commit(self) -> None:
        """A daemon that replies before it has committed is found out: acknowledged jobs are lost."""
        options, verdict = self.sabotaged("early", Death("point", Point("batch given")))
        self.assertFalse(passed(verdict))
        self.assertGreater(verdict.counts["acknowledged and lost"], 0, text(options, verdict))

    def test_stale_reports(self) -> None:
        """Reports of attempts that are over, told again while the next one runs, change nothing."""
        options, verdict = self.sabotaged("stale", Death("kill"))
        self.assertTrue(passed(verdict), text(options, verdict))

    def test_without_the_fence(self) -> None:
        """A daemon that takes such reports is found out: two attempts of a job live at a time."""
        options, verdict = self.sabotaged("unfenced", Death("kill"))
        self.assertFalse(passed(verdict))
        self.assertGreater(verdict.counts["overlaps"], 0, text(options, verdict))


class Planned(SynchronousTestCase):
    """Claims about the plan."""

    def test_follows_from_the_seed(self) -> None:
        """The same seed is the same plan, another seed another."""
        self.assertEqual(schedule(1, 50, 1000), schedule(1, 50, 1000))
        self.assertNotEqual(schedule(1, 50, 1000), schedule(2, 50, 1000))

    def test_all_points(self) -> None:
        """In 19 lives a daemon dies at each of the points, and in each of the other ways."""
        plan = schedule(3, 19, 1000)
        points = {cycle.death.point.name for cycle in plan if cycle.death.point}
        self.assertEqual({*UNDER_LOAD, *WHEN_STOPPING}, points)
        self.assertEqual({"point", "drain", "kill", "machine", "stop", "keep"}, {cycle.death.how for cycle in plan})
        self.assertTrue({cycle.stillborn.name for cycle in plan if cycle.stillborn} <= AT_START.keys())


class Reported(SynchronousTestCase):
    """Claims about the table."""

    def test_forms(self) -> None:
        """For a terminal, for a document and for programs: the same figures, and whether all was kept."""
        if sys.platform != "linux":
            raise SkipTest("the kill loop needs Linux")
        options = Options(cycles=200, jobs=100_000, seed=7)
        names = ("acknowledged and lost", "double runs of one attempt", "overlaps", "notifications missing")
        counts = dict.fromkeys((*names, "notifications duplicated", "orphans", "zombies"), 0)
        good = Verdict({**counts, "re-executions": 3, "slowest recovery": 1.25})
        good.causes["the machine died"] = 3
        self.assertTrue(passed(good))
        self.assertIn("because the machine died", text(options, good))
        self.assertIn("| **overlaps** | **0** |", markdown(options, good))
        self.assertIn("| slowest recovery | 1.2 s |", markdown(options, good))
        self.assertIn('"passed": true', as_json(options, good))
        bad = Verdict({**counts, "orphans": 1}, problems=["orphan: one"])
        self.assertFalse(passed(bad))
        self.assertIn("NOT KEPT: orphan: one", text(options, bad))

    def test_lives(self) -> None:
        """Each life is told in a few words."""
        if sys.platform != "linux":
            raise SkipTest("the kill loop needs Linux")
        life = Cycle(Point("committed", 2), "pause", 10, Death("point", Point("started", 3)), 20, "io", 0.5)
        words = "stillborn at 'committed', halted for a while, point at 'started', passage 3, then its io worker, "
        self.assertEqual(words + "next one after 0.5 s", describe(life))
