"""Claims of the benchmarks: that they measure all they name, fairly, and notice work not done. Not how fast jobd is."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from twisted.trial.unittest import SkipTest, TestCase

from benchmarks import documents, figures, goals, plot, report, runner
from benchmarks.aside import aside
from benchmarks.client import Tally
from benchmarks.contender import (
    P50,
    RATE,
    RATE_AND_TIMES,
    Contender,
    Measure,
    Shared,
    Trouble,
    Unavailable,
    Work,
    percentile,
    rate_and_times,
    times,
)
from benchmarks.figures import Floor, Machine, Report, Side, Table
from benchmarks.peers.serving import library, program
from benchmarks.proc import processor, switches
from benchmarks.stages import STAGES
from benchmarks.works import WORKS, beside, named

ROOT = Path(__file__).resolve().parent.parent.parent

EVERYWHERE = ("multiprocessing", "ProcessPoolExecutor", "xargs")
"""Peers that are wherever the tests run."""


TWINS = ("calls-memory", "map-memory", "map-chunks-memory")
"""Works that are others without the disk: the quick run of the tests leaves them out."""


def run_benchmarks(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What C{make bench} runs, with these arguments, and variables on top of this process's own."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    whole = {**os.environ, **(environment or {})}
    return subprocess.run(
        command, cwd=ROOT, env=whole, capture_output=True, encoding="utf-8", timeout=1800, check=False
    )


class WholeRunTests(TestCase):
    """The command a person runs."""

    timeout = 1800

    def test_quick(self) -> None:
        """A quick run has every kind of work, the peers that are wherever Python is, and sane figures of all."""
        path = Path(self.mktemp()).resolve()
        works = [work for work in WORKS if work.name not in TWINS]
        names = [work.name for work in works]
        arguments = ["--quick", "--rounds", "1", "--json", str(path), "--peers", *EVERYWHERE, "--only", *names]
        done = run_benchmarks(*arguments)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        found = figures.read([path])
        here = [work for work in beside(works, EVERYWHERE) if not work.lacking()]
        self.assertEqual({work.name for work in works if work.lacking()}, set(found.left_out))
        self.assertEqual([work.name for work in here], [table.work for table in found.tables])
        for work, table in zip(here, found.tables, strict=True):
            self.assertEqual([peer.name for peer in work.peers], [peer.name for peer in table.peers])
            for side in (table.ours, *table.peers):
                self.assertEqual(("", 1), (side.missing, len(side.rounds)), side)
                self.assertEqual(len(work.metrics), len(side.rounds[0]))
                # What is left of one figure after another may be less than nothing by a rounding.
                self.assertTrue(all(figure is None or figure > -1e-9 for figure in side.rounds[0]), side)
                self.assertTrue(any(side.rounds[0]) or work.name == "idle", side)
        self.assertTrue(all(0 < floor.p50 <= floor.p99 for floor in found.floors), found.floors)
        if sys.platform == "linux":
            self.assertGreater(found.machine.daemon_rss or 0, 1 << 20)
        for work in here:
            self.assertIn(f"\n{work.name}: {work.what}; ", done.stdout)

    def test_unknown_name(self) -> None:
        """A work or a peer that does not exist is refused, and the names of those that do are told."""
        done = run_benchmarks("--only", "speed")
        self.assertEqual(2, done.returncode)
        self.assertIn("there is no work 'speed'; there is calls-durable, ", done.stderr)
        self.assertRaisesRegex(LookupError, "there is no peer 'slurm'; there is .*Celery", beside, WORKS, ["slurm"])

    def test_no_compiler(self) -> None:
        """Where no C++ program can be built, one line says so, its rows are left out, and the run is a good one."""
        path = Path(self.mktemp()).resolve()
        arguments = ("--quick", "--rounds", "1", "--json", str(path), "--only", "cpp")
        done = run_benchmarks(*arguments, environment={"CXX": "no-such-compiler"})
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertRegex(done.stdout.splitlines()[-1], r"^left out: cpp-pipelined, cpp-latency: .*C\+\+")
        found = figures.read([path])
        self.assertEqual(([], ["cpp-pipelined", "cpp-latency"]), (found.tables, list(found.left_out)))


class Scripted:
    """A contender that gives figures out of a list and notes when it was asked."""

    def __init__(self, name: str, figures: list[float], asked: list[str], most: int | None = None) -> None:
        self.name, self.figures, self.asked = name, figures, asked
        self.contender = Contender(name, f"what {name} promises", self.ready, most)

    @contextlib.contextmanager
    def ready(self) -> Iterator[Measure]:
        self.asked.append(f"{self.name} ready")
        yield self.measure
        self.asked.append(f"{self.name} ended")

    def measure(self, jobs: int) -> list[float]:
        self.asked.append(f"{self.name} {jobs}")
        if not self.figures:
            raise Trouble("nothing more to give")
        return [self.figures.pop(0)]


@contextlib.contextmanager
def unavailable() -> Iterator[Measure]:
    """The side of a peer that is not installed."""
    raise Unavailable("it is not installed")
    yield


def digging(ours: Contender, *peers: Contender, rounds: int | None = None) -> Work:
    return Work("dig", "to dig", (RATE,), 100, 10, ours, peers, rounds=rounds)


def ignored(what: str) -> None:
    """What is told to the progress bar."""


class RunnerTests(TestCase):
    """Rounds, turns and ratios."""

    def test_turns(self) -> None:
        """Contenders alternate in every round, another one begins each time, and all are ended."""
        asked: list[str] = []
        ours, peer = Scripted("jobd", [1, 1], asked), Scripted("peer", [1, 1], asked, most=3)
        told: list[str] = []
        work = digging(ours.contender, peer.contender)
        table = runner.run(work, 2, 7, told.append)
        self.assertEqual(
            ["peer ready", "jobd ready", "peer 3", "jobd 7", "jobd 7", "peer 3", "jobd ended", "peer ended"], asked
        )
        self.assertEqual(runner.steps([work], 2), len(told))
        self.assertEqual((7, 3), (table.ours.jobs, table.peers[0].jobs))

    def test_ratios(self) -> None:
        """The ratio is taken within each round, and its median is not the ratio of the medians."""
        ours, peer = Scripted("jobd", [10, 30, 80], []), Scripted("peer", [10, 10, 40], [])
        table = runner.run(digging(ours.contender, peer.contender), 3, 1, ignored)
        self.assertEqual([1.0, 3.0, 2.0], table.ratios(table.peers[0], 0))
        lines = report.text(a_report(table)).splitlines()
        self.assertIn(["jobd", "30"], [line.split() for line in lines])
        self.assertIn(["peer", "10", "2.00", "(1.00-3.00)"], [line.split() for line in lines])

    def test_few_rounds(self) -> None:
        """A work that takes long has fewer rounds than were asked for."""
        table = runner.run(digging(Scripted("jobd", [1, 2, 3], []).contender, rounds=2), 3, 1, ignored)
        self.assertEqual([[1], [2]], table.ours.rounds)

    def test_times(self) -> None:
        """A ratio above 1 means that jobd is ahead, of times as of rates; nothing has no ratio."""
        self.assertEqual([2.0, 2.0, None], [RATE.ratio(20, 10), P50.ratio(10, 20), P50.ratio(0, 20)])

    def test_unavailable(self) -> None:
        """A peer that cannot be had leaves a row that says why, and the others are measured."""
        ours, peer = Scripted("jobd", [10], []), Scripted("peer", [5], [])
        absent = Contender("absent", "nothing", unavailable)
        table = runner.run(digging(ours.contender, absent, peer.contender), 1, 1, ignored)
        self.assertEqual([("it is not installed", []), ("", [[5]])], [(p.missing, p.rounds) for p in table.peers])
        self.assertIn("    absent: no figures: it is not installed", report.text(a_report(table)))

    def test_trouble(self) -> None:
        """A peer that fails at its work has no figures but a reason; if we do, the run has failed."""
        ours, peer = Scripted("jobd", [1, 1], []), Scripted("peer", [1], [])
        table = runner.run(digging(ours.contender, peer.contender), 2, 1, ignored)
        missing = "it did not do the work: nothing more to give"
        self.assertEqual((missing, []), (table.peers[0].missing, table.peers[0].rounds))
        failing = digging(Scripted("jobd", [], []).contender)
        self.assertRaises(Trouble, runner.run, failing, 1, 1, ignored)

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

    def test_names(self) -> None:
        """Works are chosen by how their names begin, and stay in their order."""
        self.assertEqual(["calls-durable", "calls-memory", "commands"], [w.name for w in named(["comm", "calls"])])
        self.assertEqual(list(WORKS), named([]))
        self.assertRaises(LookupError, named, ["calls", "calm"])

    def test_peers(self) -> None:
        """Peers are chosen by a part of their names; what is no other program stays."""
        works = {work.name: [peer.name for peer in work.peers] for work in beside(WORKS, ["CELERY", "xargs"])}
        self.assertEqual(
            (["Celery", "two fsyncs"], [], ["xargs -n1 -P", "posix_spawn alone"]),
            tuple(works[n] for n in ("calls-durable", "accepted", "commands")),
        )
        self.assertEqual(["poll", "select", "asyncio"], works["reactors"])

    def test_both(self) -> None:
        """Beside another program both the rate and the times are measured; all sides say what they promise."""
        for work in WORKS:
            if work.peers != beside([work], [])[0].peers:
                self.assertEqual(RATE_AND_TIMES, work.metrics, work.name)
            self.assertTrue(all(side.promises for side in (work.ours, *work.peers)), work.name)

    def test_percentile(self) -> None:
        """A percentile is one of the values: that which so many percent do not exceed."""
        hundred = [number / 1e6 for number in range(100, 0, -1)]
        self.assertEqual([50, 99], [round(figure) for figure in times(hundred)])
        self.assertEqual([7, 7], [percentile([7], 0), percentile([7], 99)])


# What the tests of L{aside} have run beside them.


@contextlib.contextmanager
def doubling(word: str) -> Iterator[Measure]:
    """A side whose figures are known, that prints what must not come between them."""
    print("this is for the log")

    def measure(jobs: int) -> list[float | None]:
        if jobs == 13:
            raise Trouble("thirteen")
        if jobs == 99:
            os._exit(3)
        return [2.0 * jobs, float(len(word)), None]

    yield measure


class AsideTests(TestCase):
    """Sides in processes of their own."""

    def test_figures(self) -> None:
        """Figures come through, whatever the side prints, and arguments reach it."""
        with aside(f"{__name__}:doubling", "four")() as measure:
            self.assertEqual([[4.0, 4.0, None], [20.0, 4.0, None]], [measure(2), measure(10)])

    def test_unavailable(self) -> None:
        """One that cannot be had says so as if it were here."""
        self.assertRaisesRegex(Unavailable, "not installed", aside(f"{__name__}:unavailable")().__enter__)

    def test_trouble(self) -> None:
        """One that fails at its work says why; one that dies or is broken is noticed, with its last words."""
        for jobs, words in ((13, "thirteen"), (99, "this is for the log")):
            with aside(f"{__name__}:doubling", "")() as measure:
                self.assertRaisesRegex(Trouble, words, measure, jobs)
        self.assertRaisesRegex(Trouble, "no_such_side", aside(f"{__name__}:no_such_side")().__enter__)

    def test_not_installed(self) -> None:
        """What is not installed is a reason, not a failure: of programs and of Python's modules."""
        with mock.patch.dict(os.environ, {"PATH": "/nowhere"}):
            self.assertRaisesRegex(Unavailable, "no-such-server .*package some", program, "no-such-server", "some")
        self.assertRaisesRegex(Unavailable, "no_such_module is not installed", library, "no_such_module")

    def test_rate_and_times(self) -> None:
        """Many jobs give the rate; for the times they are done one at a time, a part of them."""
        done: list[int] = []
        measure = rate_and_times(lambda jobs: jobs / 50, done.append, warm=3)
        self.assertEqual([0, 1, 2], done)
        rate, p50, p99 = measure(1000)
        self.assertEqual((50.0, 3 + 50), (rate, len(done)))
        self.assertTrue(p50 is not None and p99 is not None and p50 <= p99)


def a_report(*tables: Table) -> Report:
    machine = Machine(2, "a processor", "Linux 6", "CPython 3", "26", "3", "0.1", 0.1, 1 << 26, 1 << 27, 5)
    return Report(machine, [Floor("fsync", "a sync", 100.0, 200.0)], 2, False, list(tables), {})


def calls(ours: list[list[float | None]], *peers: Side) -> Table:
    return Table("calls-durable", "calls", "jobs", [*RATE_AND_TIMES], Side("jobd", "all", 10, ours), list(peers))


class TellingTests(TestCase):
    """Tables, plots and goals."""

    def setUp(self) -> None:
        pool = Side("multiprocessing.Pool", "a | b", 10, [[100, 10, 20], [100, 10, 20]])
        executor = Side("ProcessPoolExecutor", "none", 5, [[10, 100, 300], [10, 100, 300]])
        disk = Side("two fsyncs", "the disk", 10, [[None, 200, 300], [None, 200, 300]])
        absent = Side("Celery", "little", 10, [], "it is not installed")
        self.report = a_report(calls([[300, 400, 800], [200, 500, 900]], pool, executor, disk, absent))

    def test_kept(self) -> None:
        """What was measured is read from a file as it was written; of several files the last one has the say."""
        first, second = Path(self.mktemp()), Path(self.mktemp())
        figures.write(self.report, first)
        figures.write(a_report(Table("commands", "c", "jobs", [RATE], Side("jobd", "", 1, [[1]]), [])), second)
        self.assertEqual(self.report, figures.read([first]))
        self.assertEqual(["calls-durable", "commands"], [table.work for table in figures.read([first, second]).tables])

    def test_markdown(self) -> None:
        """Every side has a row with its figures, its ratios and what it promises; a bar in its words is escaped."""
        text = report.markdown(self.report)
        self.assertIn("| jobd | 250 |  | 450 |  | 850 |  | all |", text)
        self.assertIn("| multiprocessing.Pool | 100 | 2.50 (2.00-3.00) | 10 | 0.02 (0.02-0.03) |", text)
        self.assertIn("a \\| b", text)
        self.assertIn("| ProcessPoolExecutor (5 jobs) | 10 |", text)
        self.assertIn("| Celery | - | - | - | - | - | - | no figures: it is not installed |", text)

    def test_stages(self) -> None:
        """Where a job's time goes stands beside the machine's own steps; its sides are not compared."""
        sides = [Side(name, "", 10, [[1000, 30, 20, 10, 2]]) for name in ("on disk", "in memory")]
        table = Table("stages", "time", "jobs", [*STAGES], sides[0], sides[1:], compared=False)
        text = report.markdown(a_report(table))
        self.assertIn("| store | 20 | 20 | fsync 100 |", text)
        self.assertNotIn("ratio", text)

    def test_goals(self) -> None:
        """A goal is reached or not by the median of the ratios; what was not measured is neither."""
        found = {goal.text: (goal.measured(self.report), goal) for goal in goals.GOALS if goal.work == "calls-durable"}
        value, goal = found["≥ 2 x multiprocessing.Pool"]
        self.assertEqual((2.5, True), (value, goal.reached(2.5)))
        self.assertFalse(goal.reached(1.9))
        self.assertEqual(None, found["≥ 100 x Celery"][0])
        # 450 less 200, over 100.
        self.assertEqual(2.5, found["p50 one at a time ≤ 3 x ProcessPoolExecutor, less two fsyncs"][0])

    def test_goals_exist(self) -> None:
        """Every goal names a work, and reads figures and peers that it has."""
        for goal in goals.GOALS:
            (work,) = (work for work in WORKS if work.name == goal.work)
            sides = [Side(c.name, "", 1, [[1.0] * len(work.metrics)]) for c in (work.ours, *work.peers)]
            found = a_report(Table(work.name, "", "jobs", [*work.metrics], sides[0], sides[1:]))
            self.assertIsNotNone(goal.measured(found), goal)

    def test_plots(self) -> None:
        """A plot is well-formed SVG with a bar for each side that has figures, ours told apart, the best first."""
        folder = Path(self.mktemp())
        folder.mkdir()
        written = plot.draw(self.report, folder)
        self.assertEqual(["speed-calls.svg", "speed-latency.svg"], [path.name for path in written])
        root = ElementTree.parse(written[0]).getroot()
        bars = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}rect")]
        self.assertEqual(["ours", "peer", "peer"], bars)
        self.assertIn("prefers-color-scheme: dark", written[0].read_text())

    def test_documents(self) -> None:
        """What was measured goes between two marks of the documents, and nothing else of them changes."""
        root = Path(self.mktemp())
        (root / "docs").mkdir(parents=True)
        performance, readme = root / "docs" / "performance.md", root / "README.md"
        for document, mark in ((performance, "measured"), (readme, "plots")):
            document.write_text(f"before\n<!-- {mark} -->\nold\n<!-- end -->\nafter\n")
        for _ in range(2):
            documents.write(self.report, root)
            for document, mark in ((performance, "measured"), (readme, "plots")):
                text = document.read_text()
                self.assertTrue(
                    text.startswith(f"before\n<!-- {mark} -->\n") and text.endswith("<!-- end -->\nafter\n")
                )
                self.assertNotIn("old", text)
        self.assertIn("](speed-latency.svg)", performance.read_text())
        self.assertIn("](docs/speed-calls.svg)", readme.read_text())
        self.assertRaises(ValueError, documents.filled, "no marks", "measured", "body")

    def test_the_documents(self) -> None:
        """The real documents have places for what is measured, and every picture they show is there."""
        for document, mark in ((ROOT / "docs" / "performance.md", "measured"), (ROOT / "README.md", "plots")):
            text = document.read_text(encoding="utf-8")
            self.assertIn("\nbody\n", documents.filled(text, mark, "body"))
            for path in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
                self.assertTrue((document.parent / path).is_file(), path)

    def test_left_out(self) -> None:
        """Works left out for the same reason share a line, in which all of them are named."""
        lines = report.lacking_lines({"a": "no x", "b": "no y", "c": "no x"})
        self.assertEqual(["left out: a, c: no x", "left out: b: no y"], lines)


class ProcTests(TestCase):
    """What is read from C{/proc}."""

    def test_grows(self) -> None:
        """It is that of all threads of the process named, and grows by what this one uses."""
        if sys.platform != "linux":
            raise SkipTest("read from /proc")
        before, began = processor(os.getpid()), time.thread_time()
        while time.thread_time() - began < 0.05:
            pass
        self.assertGreater(processor(os.getpid()) - before, 0.04)
        self.assertGreaterEqual(processor(os.getpid()), processor(os.getpid(), main=True) - 0.001)

    def test_wakes(self) -> None:
        """A thread that has slept was woken."""
        if sys.platform != "linux":
            raise SkipTest("read from /proc")
        before = switches(os.getpid())
        time.sleep(0.001)
        self.assertGreater(switches(os.getpid()), before)


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
