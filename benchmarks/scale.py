"""What very many jobs in the queue, and very many connections that wait, cost jobd and whoever uses it meanwhile."""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks import proc
from benchmarks.client import CHUNK, accept, alone, connected, flood
from benchmarks.contender import P50, P99, Contender, Measure, Metric, Trouble, timed, times
from benchmarks.ours import batch, batches, call, options
from tests.daemon import Daemon, running_daemon

QUEUED = (
    Metric("first tenth", "jobs/s", more_is_better=True),
    Metric("last tenth", "jobs/s", more_is_better=True),
    Metric("last/first", "", more_is_better=True),
    Metric("one more p50", "µs", more_is_better=False),
    Metric("memory", "bytes/job", more_is_better=False),
    Metric("restart", "s", more_is_better=False),
    Metric("dispatch", "jobs/s", more_is_better=True),
    Metric("dispatch/empty", "", more_is_better=True),
)
"""Of a daemon with very many queued jobs."""

WAITING = (P50, P99, Metric("memory", "KiB each", more_is_better=False))
"""Of an active client beside connections that wait, and what such a connection takes."""

_AHEAD = 4
"""Batches under way at a time."""

_PARTS = 10
"""Of a tenth of the jobs: so often the first and the last take turns."""

_TAKEN = 100_000
"""How many jobs are run to see how fast they are dispatched, at most: more than are near their turn at first."""

_TAKEN_ALONE = 50_000
"""The same with no others queued: all of them are near."""


@contextmanager
def _queued() -> Iterator[Measure]:
    yield _queue


_ELSEWHERE = b'submit {"call": "benchmarks.nothing:nothing", "args": [%d], "queue": "another"}\n'
"""A call in a queue that is not paused."""


def _queue(jobs: int) -> list[float | None]:
    """Everything on a daemon of its own: what is queued stays queued."""
    with tempfile.TemporaryDirectory(prefix="jobd-bench-") as folder, ExitStack() as stack:
        # None is forgotten meanwhile: that would cost those that run last.
        daemon = Daemon(Path(folder).resolve(), *options("commit"), "--keep-jobs", str(2 * jobs + _TAKEN))
        daemon.start()
        stack.callback(daemon.stop)
        with _paused(daemon, jobs) as (sock, empty):
            # The first jobs make the daemon's heap; the idle memory is what is left of that.
            idle = proc.memory(daemon.pid, "Rss")
            first, last = _filled(sock, jobs)
            more = times(timed(lambda number: alone(sock, batch(number, 1), finishes=False), 100))[0]
            memory = (proc.memory(daemon.pid, "Rss") - idle) / jobs
        daemon.stop()
        began = perf_counter()
        daemon.start()
        with connected(daemon) as sock:
            alone(sock, b"ping\n", finishes=False)
            restart = perf_counter() - began
            # Its workers have only just begun; those before had worked. None of the many runs meanwhile.
            flood(sock, [_ELSEWHERE % number for number in range(1000)])
            full = _dispatched(daemon, sock, min(_TAKEN, jobs // 2))
        return [first, last, last / first, more, memory, restart, full, full / empty]


@contextmanager
def _paused(daemon: Daemon, jobs: int) -> Iterator[tuple[socket.socket, float]]:
    """A connection to a daemon that has run jobs, how many a second, and now only takes them in."""
    taken = min(_TAKEN_ALONE, jobs // 2)
    with connected(daemon) as sock:
        flood(sock, [call(number) for number in range(100)])
        alone(sock, b"pause default\n", finishes=False)
        accept(sock, batches(taken), _AHEAD)
        yield sock, _dispatched(daemon, sock, taken)


def _filled(sock: socket.socket, jobs: int) -> tuple[float, float]:
    """
    Submit so many jobs. The rates of the first tenth and of the last: a part of the one and of the other in turn,
    the first by a daemon that has no others, as a machine is not as fast in one second as in the next.
    """
    tenth = max(1, jobs // 10)
    # Written as they are needed: a client need not hold them all.
    for _ in range(9):
        accept(sock, batches(tenth), _AHEAD)
    part = max(1, tenth // _PARTS)
    with running_daemon(*options("commit")) as another, _paused(another, jobs) as (fresh, _):
        rates = [[part / accept(each, batches(part), _AHEAD) for each in (fresh, sock)] for _ in range(_PARTS)]
    first, last = (statistics.median(column) for column in zip(*rates, strict=True))
    return first, last


def _dispatched(daemon: Daemon, sock: socket.socket, jobs: int) -> float:
    """Let jobs that are queued run on a paused daemon until so many have ended; how many did so a second."""
    with connected(daemon) as watching:
        watching.sendall(b"watch\n")
        answer = b""
        while b"\n" not in answer:
            answer += watching.recv(CHUNK)
        done = 0
        began = perf_counter()
        sock.sendall(b"resume default\n")
        while done < jobs:
            data = watching.recv(CHUNK)
            if not data:
                raise Trouble("the daemon closed the connection")
            done += data.count(b"\n")
        rate = done / (perf_counter() - began)
    sock.recv(CHUNK)
    alone(sock, b"pause default\n", finishes=False)
    return rate


@contextmanager
def _beside(waiting: bool) -> Iterator[Measure]:
    with running_daemon(*options("memory")) as daemon, ExitStack() as stack:
        sock = stack.enter_context(connected(daemon))
        flood(sock, [call(number) for number in range(2_000)])
        sock.sendall(b'submit {"argv": ["true"], "delay": 86400, "notify": false}\n')
        job_id = sock.recv(CHUNK).split()[1]
        idle = proc.memory(daemon.pid, "Rss")
        connections: list[socket.socket] = []

        def measure(count: int) -> list[float | None]:
            while waiting and len(connections) < count:
                connections.append(stack.enter_context(connected(daemon)))
                alone(connections[-1], b"wait %s\n" % job_id, finishes=False)
            each = (proc.memory(daemon.pid, "Rss") - idle) / 1024 / count if waiting else None
            p50, p99 = times(timed(lambda number: alone(sock, call(number)), max(100, min(2_000, count))))
            return [p50, p99, each]

        yield measure


def lacking() -> str:
    """Why very many connections cannot be had here; lets this process and its daemons have as many as they may."""
    if sys.platform == "win32" or not proc.LINUX:
        return proc.lacking()
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _DESCRIPTORS and hard >= _DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, hard))
    elif soft < _DESCRIPTORS:
        return f"a process may have {hard} open files here, {_DESCRIPTORS:,} are needed (ulimit -n)"
    return ""


_DESCRIPTORS = 6_000

QUEUE = Contender(
    "jobd",
    "calls in batches of 1,000, each batch acknowledged after an fsynced commit, while it is paused; the first tenth "
    "by another daemon that has no others, in turns with the last; one more, alone; stopped and started; then let run "
    "until 100,000 have ended, and the same with 50,000 and no others queued",
    _queued,
)
WAIT = Contender(
    "jobd",
    "one active client, kept in memory only; each of the others has said wait for a job that is not due",
    partial(_beside, True),
)
NO_WAIT = Contender("no connections", "the same client alone", partial(_beside, False))
