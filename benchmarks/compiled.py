"""
jobd's C++ client, measured by C{benchmarks/cpp/speed.cpp}, a program that is
built when it is needed: beside the client of L{benchmarks.client}, and beside
a bare socket in the same program. In each work both sides share one daemon.
"""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import process_time

from benchmarks.building import built, compiler
from benchmarks.client import connected, flood
from benchmarks.contender import RATE, Contender, Measure, Metric, Shared, Trouble, times
from benchmarks.ours import call, options
from benchmarks.proc import processor
from tests.daemon import PATIENCE, Daemon, running_daemon

_ROOT = Path(__file__).resolve().parent.parent
_SOURCE = _ROOT / "benchmarks" / "cpp" / "speed.cpp"
_FLAGS = ("-std=c++17", "-pthread", f"-I{_ROOT / 'cpp' / 'include'}")

_LIBRARY, _BARE = 0, 1

RATE_AND_SHARE = (
    RATE,
    Metric("cpu", "% of daemon's", more_is_better=False),
)
"""Of a client that keeps a daemon busy: its pace, and its own processor time as a part of the daemon's."""


def lacking() -> str:
    """Why the C++ client cannot be measured here; empty if it can."""
    if sys.platform != "linux":
        return "the C++ client is measured on Linux only"
    return "" if _compiler() else "there is no C++ compiler (g++, or what CXX names)"


def _compiler() -> str | None:
    return compiler("CXX", "g++")


def _built() -> Path:
    cxx = _compiler()
    assert cxx is not None, "works that lack something are not run"
    return built(cxx, _SOURCE, *_FLAGS)


class _Program:
    """The program while it runs: is told numbers of jobs, answers with figures."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout

    def do(self, jobs: int, lines: int) -> list[tuple[float, float]]:
        """
        @param lines: how many lines of figures it answers.
        @raise Trouble: it did not do the jobs; what was wrong stands on stderr.
        """
        print(jobs, file=self._in, flush=True)
        answers = [self._out.readline().split() for _ in range(lines)]
        if any(len(answer) != 2 for answer in answers):
            raise Trouble(f"the C++ program ended with {self._process.wait(PATIENCE)}")
        return [(float(first), float(second)) for first, second in answers]


@contextmanager
def _running(daemon: Daemon, *arguments: str) -> Iterator[_Program]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBD_")}
    with subprocess.Popen(
        [str(_built()), *arguments],
        env={**environment, "JOBD_URL": daemon.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield _Program(process)
        finally:
            with suppress(BrokenPipeError):
                process.communicate(timeout=PATIENCE)


@contextmanager
def _a_daemon() -> Iterator[Daemon]:
    with running_daemon(*options("memory")) as daemon:
        yield daemon


_daemon = Shared(_a_daemon)


@contextmanager
def _posted() -> Iterator[Measure]:
    with _daemon.ready() as daemon, _running(daemon, "post") as program:

        def measure(jobs: int) -> tuple[float, float]:
            before = processor(daemon.pid)
            ((seconds, own),) = program.do(jobs, 1)
            return jobs / seconds, 100 * own / (processor(daemon.pid) - before)

        measure(100)
        yield measure


def _keyed(number: int) -> bytes:
    """The same call as the library submits it, but for the tag."""
    return b'submit {"call": "benchmarks.nothing:nothing", "args": [%d], "key": "%s.%d"}\n' % (
        number,
        b"0" * 24,
        number,
    )


@contextmanager
def _flooded(request: Callable[[int], bytes]) -> Iterator[Measure]:
    with _daemon.ready() as daemon, connected(daemon) as sock:
        numbers = itertools.count()

        def measure(jobs: int) -> tuple[float, float]:
            requests = [request(number) for number in itertools.islice(numbers, jobs)]
            before, own = processor(daemon.pid), process_time()
            seconds = flood(sock, requests)
            own = process_time() - own
            return jobs / seconds, 100 * own / (processor(daemon.pid) - before)

        measure(100)
        yield measure


class _Pairs:
    """
    Both sides' times of the same round: the program does a job of each in
    turn, whoever is measured first lets it, and the other one takes its half.
    """

    def __init__(self, program: _Program) -> None:
        self._program = program
        self._kept: dict[int, Sequence[float]] = {}

    def take(self, side: int, jobs: int) -> Sequence[float]:
        """Seconds of each job of a side."""
        if side not in self._kept:
            self._kept = dict(enumerate(zip(*self._program.do(jobs, jobs), strict=True)))
        return self._kept.pop(side)


@contextmanager
def _paired() -> Iterator[_Pairs]:
    with _a_daemon() as daemon, _running(daemon, "pairs", str(daemon.socket_path)) as program:
        yield _Pairs(program)


_pairs = Shared(_paired)


@contextmanager
def _side(side: int) -> Iterator[Measure]:
    with _pairs.ready() as pairs:

        def measure(jobs: int) -> tuple[float, float]:
            return times(pairs.take(side, jobs))

        measure(100)
        yield measure


POSTED = Contender(
    "C++ client",
    "kept in memory only; each job posted alone and under a key of its own, so that none is lost or doubled when the "
    "daemon comes again; its result decoded and handed to a callback",
    _posted,
)
FLOODED = Contender(
    "raw Python client",
    "the client of the other works: lines written before the clock starts, at most 2,000 under way, "
    "answers counted and not decoded",
    functools.partial(_flooded, call),
)
FLOODED_KEYED = Contender(
    "the same, with keys",
    "lines as long as the library's, each with a key that the daemon has to know again",
    functools.partial(_flooded, _keyed),
)
LIBRARY = Contender(
    "C++ client",
    "kept in memory only; submit(...).get(): a key, the reply, the result decoded",
    functools.partial(_side, _LIBRARY),
)
BARE = Contender(
    "bare socket",
    "in the same program, turn about: a line sent, two lines received, nothing decoded, nothing resumed after a loss",
    functools.partial(_side, _BARE),
)
