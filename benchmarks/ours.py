"""
jobd's side: for each work a real daemon on a fresh state folder, with as many
workers as there are cores, and one client on its Unix socket. Unless it says
otherwise, every job is a request of its own and gets a reply and a finish
event of its own.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import perf_counter

import jobd
from benchmarks.aside import aside
from benchmarks.client import accept, alone, connected, flood
from benchmarks.contender import Contender, Measure, Trouble, Unavailable, rate_and_times
from benchmarks.nothing import nothing
from jobd.settings import usable_cores
from tests.daemon import running_daemon

_KEEPS = {
    "commit": "acknowledged and announced only after an fsynced commit",
    "memory": "kept in memory only",
}

BATCH = 1000
"""Jobs in one C{submit} of the batched works."""

_WARM = 300
"""Jobs before the first round: the write-ahead log has its size, the workers have begun."""


def call(number: int) -> bytes:
    """The request for a warm call that does nothing."""
    return b"call benchmarks.nothing:nothing [%d]\n" % number


def command(true: str, cwd: str, number: int) -> bytes:
    """The request for a command that does nothing, in a folder."""
    return f"submit {json.dumps({'argv': [true, str(number)], 'cwd': cwd})}\n".encode()


def job(number: int) -> bytes:
    """The same call as JSON, of whose end nobody is told."""
    return b'{"call": "benchmarks.nothing:nothing", "args": [%d], "notify": false}' % number


def batch(first: int, count: int) -> bytes:
    """The request for so many calls, numbered from C{first}."""
    return b"submit [" + b", ".join(map(job, range(first, first + count))) + b"]\n"


def batches(jobs: int) -> list[bytes]:
    """Requests for so many calls in batches."""
    return [batch(first, min(BATCH, jobs - first)) for first in range(0, jobs, BATCH)]


def options(durability: str) -> tuple[str, ...]:
    """Of each daemon that is measured."""
    return "--workers", str(usable_cores()), "--durability", durability


@contextmanager
def client(durability: str, twistd: tuple[str, ...] = ()) -> Iterator[socket.socket]:
    """A connection to a new daemon."""
    with running_daemon(*options(durability), twistd=twistd) as daemon, connected(daemon) as sock:
        yield sock


@contextmanager
def _single(durability: str, request: Callable[[int], bytes], twistd: tuple[str, ...] = ()) -> Iterator[Measure]:
    with client(durability, twistd) as sock:
        yield rate_and_times(
            lambda jobs: flood(sock, [request(number) for number in range(jobs)]),
            lambda number: alone(sock, request(number)),
            _WARM,
        )


@contextmanager
def _commands() -> Iterator[Measure]:
    true = shutil.which("true")
    if true is None:
        raise Unavailable("there is no command true here")
    with (
        tempfile.TemporaryDirectory(prefix="jobd-bench-") as cwd,
        _single("commit", partial(command, true, cwd)) as measure,
    ):
        yield measure


@contextmanager
def _accepted() -> Iterator[Measure]:
    with client("commit") as sock:
        alone(sock, b"pause\n", finishes=False)
        yield rate_and_times(
            lambda jobs: accept(sock, batches(jobs), 8),
            lambda number: alone(sock, batch(number, 1), finishes=False),
            _WARM,
        )


@contextmanager
def mapped(durability: str, chunksize: str) -> Iterator[Measure]:
    """Through C{jobd.Executor}, as a program in Python uses it; run aside."""
    with running_daemon(*options(durability)) as daemon, jobd.Executor(daemon.url) as executor:

        def many(jobs: int) -> float:
            began = perf_counter()
            done = sum(1 for _ in executor.map(nothing, range(jobs), chunksize=int(chunksize)))
            seconds = perf_counter() - began
            if done != jobs:
                raise Trouble(f"{jobs} calls gave {done} results")
            return seconds

        yield rate_and_times(many, lambda number: executor.submit(nothing, number).result(), _WARM)


def _contender(durability: str, also: str, ready: Callable[[], AbstractContextManager[Measure]]) -> Contender:
    return Contender("jobd", f"each job submitted alone, {_KEEPS[durability]}, told of alone{also}", ready)


def calls(durability: str) -> Contender:
    """Warm calls, each a request and an event."""
    return _contender(durability, "", partial(_single, durability, call))


def mapping(durability: str, chunksize: int) -> Contender:
    """Calls through C{jobd.Executor.map}; one at a time through its C{submit}."""
    promises = (
        f"jobs {_KEEPS[durability]}; a future each, whose exception is the call's; a worker that dies costs "
        "the calls of its job; jobs in one line as they gather"
    )
    return Contender("jobd.Executor.map", promises, aside("benchmarks.ours:mapped", durability, str(chunksize)))


def reactor(name: str) -> Contender:
    """Warm calls through a daemon on one of Twisted's reactors."""
    ready = partial(_single, "memory", call, (f"--reactor={name}",))
    return Contender(name, f"twistd --reactor={name}, else the same", ready)


COMMANDS = _contender("commit", "; a cwd, a session and output files of its own, usage in the event", _commands)

ACCEPTED = Contender(
    "jobd",
    f"{BATCH:,} jobs in a request, all or none, {_KEEPS['commit']}; one at a time: a request with one job",
    _accepted,
)
