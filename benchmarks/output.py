"""A job that writes very much: to its file, and to a client that follows it while another one works."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.client import alone, connected, flood
from benchmarks.contender import Contender, Measure, Metric, Trouble, timed, times
from benchmarks.ours import call, options
from tests.daemon import running_daemon

_ROOT = Path(__file__).resolve().parent.parent
_MB = 1_000_000
_LINE = b"a line of output as a program might print it, with a number: 1234567890 and an end\n"

WRITTEN = (Metric("rate", "MB/s", more_is_better=True),)

FOLLOWED = (
    Metric("rate", "MB/s", more_is_better=True),
    Metric("p50 of others", "µs", more_is_better=False),
    Metric("alone", "µs", more_is_better=False),
    Metric("others", "times alone", more_is_better=False),
)
"""How fast output comes to the client that follows, and how long another client's calls take meanwhile."""


def _writer(megabytes: int) -> str:
    """A shell line that writes so much, zeros: the least that the command itself can cost."""
    return f"head -c {megabytes * _MB} /dev/zero"


@contextmanager
def _to_file() -> Iterator[Measure]:
    with running_daemon(*options("commit")) as daemon, connected(daemon) as sock:

        def measure(megabytes: int) -> tuple[float]:
            began = perf_counter()
            alone(sock, f"submit {json.dumps({'shell': _writer(megabytes)})}\n".encode())
            rate = megabytes / (perf_counter() - began)
            # The disk is not filled with it: a daemon keeps its jobs' output.
            files = [
                path for path in daemon.state.rglob("*") if path.is_file() and path.stat().st_size >= megabytes * _MB
            ]
            if len(files) != 1:
                raise Trouble(f"{len(files)} files have the output of one job")
            files[0].unlink()
            return (rate,)

        measure(1)
        yield measure


@contextmanager
def _without() -> Iterator[Measure]:
    with tempfile.TemporaryDirectory(prefix="jobd-bench-") as folder:
        path = Path(folder) / "output"

        def measure(megabytes: int) -> tuple[float]:
            began = perf_counter()
            with path.open("wb") as file:
                subprocess.run(["/bin/sh", "-c", _writer(megabytes)], stdout=file, check=True)
            rate = megabytes / (perf_counter() - began)
            path.unlink()
            return (rate,)

        measure(1)
        yield measure


@contextmanager
def _followed() -> Iterator[Measure]:
    with (
        running_daemon(*options("memory")) as daemon,
        connected(daemon) as active,
        tempfile.TemporaryDirectory(prefix="jobd-bench-") as folder,
    ):
        source = Path(folder) / "text"
        flood(active, [call(number) for number in range(300)])

        def measure(megabytes: int) -> list[float | None]:
            size = megabytes * _MB // len(_LINE) * len(_LINE)
            source.write_bytes(_LINE * (size // len(_LINE)))
            before = times(timed(lambda number: alone(active, call(number)), 500))[0]
            command = [sys.executable, "-m", "benchmarks.follower", daemon.url, str(source)]
            with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as follower:
                assert follower.stdout is not None
                follower.stdout.readline()
                meanwhile = []
                while follower.poll() is None:
                    meanwhile += timed(lambda number: alone(active, call(number)), 1)
                answer = follower.stdout.read().split()
            if len(answer) != 2 or int(answer[1]) != size:
                raise Trouble("the output did not arrive whole")
            p50 = times(meanwhile)[0] if meanwhile else None
            return [size / _MB / float(answer[0]), p50, before, p50 / before if p50 else None]

        measure(1)
        yield measure


TO_FILE = Contender("jobd", "durable; the output file is the job's own and is kept as long as the job", _to_file)
WITHOUT = Contender("without jobd", "the same shell and command, its output to a file on the same disk", _without)
FOLLOWED_LIVE = Contender(
    "jobd",
    "kept in memory only; text, as JSON in events, to a client that does nothing but receive it; another's calls "
    "that do nothing, one at a time, before and meanwhile",
    _followed,
)
