"""Claims of the benchmarks: that they measure all they name, fairly, and notice work not done. Not how fast jobd is."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from benchmarks import runner
from benchmarks.client import Tally
from benchmarks.compiled import processor
from benchmarks.contender import RATE, TIMES, Contender, Measure, Shared, Trouble, Unavailable, Work, percentile, times
from benchmarks.report import lacking_lines, table_lines
from benchmarks.works import WORKS, named

ROOT = Path(__file__).resolve().parent.parent.parent


def run_benchmarks(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What C{make bench} runs, with these arguments, and variables on top of this process's own."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    whole = {**os.environ, **(environment or {})}
    return subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, encoding="utf-8", timeout=300, check=False)


class WholeRunTests(TestCase):
    """The command a person runs."""

    timeout = 300

    def test_quick(self) -> None:
        """A quick run gives a row for every work, peer and metric, in the table and in the JSON, all figures sane."""
        path = Path(self.mktemp()).resolve()
        done = run_benchmarks("--quick", "--json", str(path))
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        report = json.loads(path.read_text(encoding="utf-8"))
        here = [work for work in WORKS if not work.lacking()]
        expected = [(w.name, m.name, p.name) for w in here for p in w.peers for m in w.metrics]
        self.assertEqual({work.name for work in WORKS if work.lacking()}, set(report["left_out"]))
        self.assertEqual(expected, [(row["work"], row["metric"], row["peer"]["name"]) for row in report["rows"]])
        for row in report["rows"]:
            self.assertIsNone(row["missing"])
            rounds = [*row["jobd"]["rounds"], *row["peer"]["rounds"], *row["ratio"]["rounds"]]
            self.assertEqual(3 * report["rounds"], len(rounds))
            self.assertTrue(all(figure > 0 for figure in rounds), row)
        for fact in ("cores", "fsync_p50", "fsync_p99"):
            self.assertTrue(report["machine"][fact] > 0, fact)
        if sys.platform == "linux":
            self.assertTrue(report["machine"]["daemon_rss"] > 1 << 20)
        lines = done.stdout.splitlines()
        for work, metric, peer in expected:
            named_so = f"{work} {metric}".rstrip() + " "
            self.assertEqual(1, sum(line.startswith(named_so) and line.endswith(peer) for line in lines), done.stdout)

    def test_unknown_name(self) -> None:
        """A work that does not exist is refused, and the names of those that do are told."""
        done = run_benchmarks("speed")
        self.assertEqual(2, done.returncode)
        self.assertIn("there is no work 'speed'; there is calls-durable, ", done.stderr)

    def test_no_compiler(self) -> None:
        """Where no C++ program can be built, one line says so, its rows are left out, and the run is a good one."""
        path = Path(self.mktemp()).resolve()
        arguments = ("--quick", "--rounds", "1", "--json", str(path), "cpp")
        done = run_benchmarks(*arguments, environment={"CXX": "no-such-compiler"})
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertRegex(done.stdout.splitlines()[-1], r"^left out: cpp-pipelined, cpp-latency: .*C\+\+")
        report = json.loads(path.read_text(encoding="utf-8"))
        self.assertEqual(([], ["cpp-pipelined", "cpp-latency"]), (report["rows"], list(report["left_out"])))


class Scripted:
    """A contender that gives figures out of a list and notes when it was asked."""

    def __init__(self, name: str, figures: list[float], asked: list[str]) -> None:
        self.name, self.figures, self.asked = name, figures, asked
        self.contender = Contender(name, f"what {name} promises", self.ready)

    @contextlib.contextmanager
    def ready(self) -> Iterator[Measure]:
        self.asked.append(f"{self.name} ready")
        yield self.measure
        self.asked.append(f"{self.name} ended")

    def measure(self, jobs: int) -> list[float]:
        self.asked.append(f"{self.name} {jobs}")
        return [self.figures.pop(0)]


@contextlib.contextmanager
def unavailable() -> Iterator[Measure]:
    """The side of a peer that is not installed."""
    raise Unavailable("it is not installed")
    yield


class RunnerTests(TestCase):
    """Rounds, turns and ratios."""

    def work(self, ours: Contender, *peers: Contender) -> Work:
        return Work("dig", "to dig", RATE, 100, 10, ours, peers)

    def test_turns(self) -> None:
        """Contenders alternate in every round, another one begins each time, and all are ended."""
        asked: list[str] = []
        ours, peer = Scripted("jobd", [1, 1], asked), Scripted("peer", [1, 1], asked)
        told: list[str] = []
        work = self.work(ours.contender, peer.contender)
        runner.run(work, 2, 7, told.append)
        self.assertEqual(
            ["peer ready", "jobd ready", "peer 7", "jobd 7", "jobd 7", "peer 7", "jobd ended", "peer ended"], asked
        )
        self.assertEqual(runner.steps([work], 2), len(told))

    def test_ratios(self) -> None:
        """The ratio is taken within each round, and its median is not the ratio of the medians."""
        ours, peer = Scripted("jobd", [10, 30, 80], []), Scripted("peer", [10, 10, 40], [])
        (row,) = runner.run(self.work(ours.contender, peer.contender), 3, 1, lambda what: None)
        self.assertEqual([1.0, 3.0, 2.0], row.ratios)
        line = next(line for line in table_lines([row]) if line.startswith("dig"))
        self.assertEqual(["dig", "30", "10", "jobs/s", "2.00", "1.00-3.00", "peer"], line.split())

    def test_times(self) -> None:
        """A ratio above 1 means that jobd is ahead, of times as of rates."""
        self.assertEqual([2.0, 2.0], [RATE[0].ratio(20, 10), TIMES[0].ratio(10, 20)])

    def test_unavailable(self) -> None:
        """A peer that cannot be had leaves a row that says why, and the others are measured."""
        ours, peer = Scripted("jobd", [10], []), Scripted("peer", [5], [])
        absent = Contender("absent", "nothing", unavailable)
        rows = runner.run(self.work(ours.contender, absent, peer.contender), 1, 1, lambda what: None)
        self.assertEqual([("it is not installed", []), ("", [2.0])], [(row.missing, row.ratios) for row in rows])
        self.assertIn("    no comparison with absent: it is not installed", table_lines(rows))

    def test_shared(self) -> None:
        """What two contenders share is there once, until both have ended, and made anew for the next two."""
        seen: list[str] = []

        @contextlib.contextmanager
        def make() -> Iterator[str]:
            seen.append("made")
            yield "it"
            seen.append("ended")

        shared = Shared(make)
        for _ in range(2):
            with shared.ready() as one, shared.ready() as other:
                seen.append(one + other)
        self.assertEqual(["made", "itit", "ended"] * 2, seen)

    def test_left_out(self) -> None:
        """Works left out for the same reason share a line, in which all of them are named."""
        lines = lacking_lines({"a": "no x", "b": "no y", "c": "no x"})
        self.assertEqual(["left out: a, c: no x", "left out: b: no y"], lines)

    def test_names(self) -> None:
        """Works are chosen by how their names begin, and stay in their order."""
        self.assertEqual(["calls-durable", "calls-memory", "commands"], [w.name for w in named(["comm", "calls"])])
        self.assertEqual(list(WORKS), named([]))
        self.assertRaises(LookupError, named, ["calls", "calm"])

    def test_percentile(self) -> None:
        """A percentile is one of the values: that which so many percent do not exceed."""
        hundred = [number / 1e6 for number in range(100, 0, -1)]
        self.assertEqual([50, 99], [round(figure) for figure in times(hundred)])
        self.assertEqual([7, 7], [percentile([7], 0), percentile([7], 99)])


class ProcessorTests(TestCase):
    """What tells how much processor time a daemon has had."""

    def test_grows(self) -> None:
        """It is that of all threads of the process named, and grows by what this one uses."""
        if sys.platform != "linux":
            raise SkipTest("read from /proc")
        before, began = processor(os.getpid()), time.thread_time()
        while time.thread_time() - began < 0.05:
            pass
        self.assertGreater(processor(os.getpid()) - before, 0.04)


class TallyTests(TestCase):
    """What counts the daemon's answers."""

    def test_pieces(self) -> None:
        """Replies and events are counted wherever the pieces they come in are cut."""
        data = b"ok 1\nok 2\n* 1 1 succeeded {}\nok 3\n* 2 2 succeeded {}\n"
        for cut in range(1, len(data)):
            tally = Tally()
            tally.receive(data[:cut])
            tally.receive(data[cut:])
            self.assertEqual((3, 2), (tally.accepted, tally.finished))

    def test_trouble(self) -> None:
        """A job that is refused or does not succeed, and the end of the connection, are no measurement."""
        wrong = (b"error FULL no room\n", b"ok 1\n* 1 1 failed {}\n", b"ok 1\nwhat\n", b"")
        for data in wrong:
            self.assertRaises(Trouble, Tally().receive, data)
