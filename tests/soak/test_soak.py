"""Nothing grows under a mixed load; and if it did, this would be seen."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from xml.etree import ElementTree

import attrs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.soak import judge, report
from tests.soak.fit import percentile, theil_sen
from tests.soak.judge import MIB, QUANTITIES, Verdict
from tests.soak.run import GIVES_BACK, soak
from tests.soak.samples import Sample

SECONDS = 45.0
"""Of the load; with its start and its end it is a minute."""


def quiet(count: int, seed: int = 0) -> list[Sample]:
    """Samples of a daemon that does not grow, on a machine that is not quiet."""
    noise = random.Random(seed)
    return [
        Sample(
            seconds=float(number),
            jobs=330 * (number + 1),
            daemon_memory=int((90 - 30 / (number + 1) + noise.gauss(0, 4)) * MIB),
            worker_memory=int((55 + noise.gauss(0, 2)) * MIB),
            descriptors=30,
            worker_descriptors=noise.choice([39, 40, 41]),
            threads=4 + (number > count // 2),
            worker_threads=24,
            processes=5,
            zombies=0,
            wal=int((16 + noise.random()) * MIB),
            database=22 * MIB,
            kept=noise.randrange(300, 430),
            files=noise.randrange(43, 66),
            ping=5 + 20 * noise.random(),
            slow_ping=50 + 100 * noise.random(),
            worst_ping=200.0,
        )
        for number in range(count)
    ]


def bad(verdicts: Sequence[Verdict]) -> list[str]:
    return [one.quantity.name for one in verdicts if not one.good]


class SoakTests(SynchronousTestCase):
    """A real daemon for a minute; C{make soak} takes longer."""

    def need_proc(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("needs /proc")

    def test_a_minute(self) -> None:
        """
        In a minute of commands, calls, cancels, timeouts, retries, groups, followers, watchers, clients that vanish,
        do not read or talk nonsense, nothing grows, and a bystander is answered all the while.
        How fast is for C{make soak} to judge.
        """
        self.need_proc()
        samples = soak(SECONDS, environment=GIVES_BACK)
        verdicts = judge.judge(samples, timed=False)
        # First what was bad: of a long text the beginning is read.
        text = "\n".join(["", *bad(verdicts), report.summary(samples), *report.table(verdicts)])
        self.assertEqual([], bad(verdicts), text)

    def test_a_leak(self) -> None:
        """The control: a daemon that loses memory with each connection and a descriptor with some is found out."""
        self.need_proc()
        samples = soak(0.0, under=[sys.executable, "-m", "tests.soak.leaking"], environment=GIVES_BACK)
        self.assertLessEqual(
            {"memory of the daemon", "descriptors of the daemon"}, set(bad(judge.judge(samples, timed=False)))
        )


class JudgeTests(SynchronousTestCase):
    """What is growth and what is noise."""

    def test_noise(self) -> None:
        """Noise is no growth, nor is the filling of caches, nor one thread more from some time on."""
        for count in (12, 40, 200):
            for seed in range(20):
                self.assertEqual([], bad(judge.judge(quiet(count, seed))), (count, seed))

    def test_each_leak(self) -> None:
        """Whatever grows by something in each cycle is found, and nothing else is accused."""
        grow = {
            "memory of the daemon": {"daemon_memory": 2 * MIB},
            "memory of the workers": {"worker_memory": 2 * MIB},
            "descriptors of the daemon": {"descriptors": 1},
            "descriptors of the workers": {"worker_descriptors": 1},
            "threads of the daemon": {"threads": 1},
            "threads of the workers": {"worker_threads": 1},
            "processes": {"processes": 1},
            "zombies": {"zombies": 1},
            "write-ahead log": {"wal": 2 * MIB},
            "database": {"database": MIB},
            "jobs kept": {"kept": 20},
            "files in the state folder": {"files": 5},
            "ping under load, median": {"ping": 10},
        }
        self.assertEqual({quantity.name for quantity in QUANTITIES}, set(grow))
        for name, steps in grow.items():
            samples = [
                attrs.evolve(sample, **{field: getattr(sample, field) + number * step for field, step in steps.items()})
                for number, sample in enumerate(quiet(40))
            ]
            self.assertEqual([name], bad(judge.judge(samples)))

    def test_too_much_at_once(self) -> None:
        """What is over its limit at any time is found, though it does not grow; a zombie at a quiet point always is."""
        samples = quiet(40)
        samples[35] = attrs.evolve(samples[35], zombies=1, processes=6)
        self.assertEqual(["processes", "zombies"], bad(judge.judge(samples)))

    def test_too_few(self) -> None:
        """Of a few samples nothing is said."""
        self.assertRaises(ValueError, judge.judge, quiet(11))

    def test_slopes(self) -> None:
        """The slope of a line is found, also where a sixth of the points are far off; of nothing there is none."""
        xs = list(range(40))
        slope = theil_sen(xs, [5 + 3 * x for x in xs])
        self.assertEqual((3, 3, 3), (slope.value, slope.low, slope.high))
        slope = theil_sen(xs, [1000 if x % 6 == 3 else 5 + 3 * x for x in xs])
        self.assertEqual(3, slope.value)
        noise = random.Random(0)
        slope = theil_sen(xs, [5 + 3 * x + noise.gauss(0, 20) for x in xs])
        self.assertTrue(2 < slope.low < slope.value < slope.high < 4, slope)
        self.assertRaises(ValueError, theil_sen, [1, 1], [2, 3])
        self.assertEqual(0, theil_sen([1, 2], [5, 5]).value)

    def test_percentile(self) -> None:
        """The value below which so many are."""
        values = list(range(100, 0, -1))
        self.assertEqual((1, 51, 100, 100), tuple(percentile(values, share) for share in (0, 0.5, 0.99, 1)))


class ReportTests(SynchronousTestCase):
    """What is said of it."""

    def test_table(self) -> None:
        """Each quantity has a line with its limits, and says whether it keeps them."""
        samples = quiet(40)
        samples[30] = attrs.evolve(samples[30], zombies=1)
        lines = report.table(judge.judge(samples))
        self.assertEqual(len(QUANTITIES) + 1, len(lines))
        self.assertEqual(
            ["zombies"], [line.split(",")[0].split("  ")[0] for line in lines if line.endswith("TOO MUCH")]
        )
        self.assertEqual("0.7 minutes, 40 cycles, 13,200 jobs", report.summary(samples))

    def test_json(self) -> None:
        """All of it is JSON."""
        samples = quiet(40)
        found = json.loads(json.dumps(report.as_json(samples, judge.judge(samples))))
        self.assertEqual((40, len(QUANTITIES)), (len(found["samples"]), len(found["verdicts"])))
        self.assertTrue(all(one["good"] for one in found["verdicts"]))

    def test_plot(self) -> None:
        """The plot is an image with a line for each quantity."""
        root = ElementTree.fromstring(report.svg(quiet(40)))
        lines = root.findall("{http://www.w3.org/2000/svg}polyline")
        self.assertEqual(len(QUANTITIES), len(lines))
        self.assertEqual({40}, {len(line.attrib["points"].split()) for line in lines})
