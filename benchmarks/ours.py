"""
jobd's side: for each work a real daemon on a fresh state folder, with as many
workers as there are cores, and one client on its Unix socket. Every job is a
request of its own and gets a reply and a finish event of its own.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from benchmarks.client import connected, flood, one_at_a_time
from benchmarks.contender import Contender, Measure, Unavailable, times
from jobd.settings import usable_cores
from tests.daemon import running_daemon

_KEEPS = {
    "commit": "acknowledged and announced only after an fsynced commit",
    "memory": "kept in memory only",
}


def call(number: int) -> bytes:
    """The request for a warm call that does nothing."""
    return b"call benchmarks.nothing:nothing [%d]\n" % number


def command(true: str, cwd: str, number: int) -> bytes:
    """The request for a command that does nothing, in a folder."""
    return f"submit {json.dumps({'argv': [true, str(number)], 'cwd': cwd})}\n".encode()


def options(durability: str) -> tuple[str, ...]:
    """Of each daemon that is measured."""
    return "--workers", str(usable_cores()), "--durability", durability


@contextmanager
def client(durability: str) -> Iterator[socket.socket]:
    """A connection to a new daemon."""
    with running_daemon(*options(durability)) as daemon, connected(daemon) as sock:
        yield sock


@contextmanager
def _flooded(durability: str, request: Callable[[int], bytes]) -> Iterator[Measure]:
    with client(durability) as sock:

        def measure(jobs: int) -> tuple[float]:
            return (jobs / flood(sock, [request(number) for number in range(jobs)]),)

        measure(100)
        yield measure


@contextmanager
def _one_at_a_time(durability: str) -> Iterator[Measure]:
    with client(durability) as sock:

        def measure(jobs: int) -> tuple[float, float]:
            return times(one_at_a_time(sock, [call(number) for number in range(jobs)]))

        measure(100)
        yield measure


@contextmanager
def _commands() -> Iterator[Measure]:
    true = shutil.which("true")
    if true is None:
        raise Unavailable("there is no command true here")
    with (
        tempfile.TemporaryDirectory(prefix="jobd-bench-") as cwd,
        _flooded("commit", partial(command, true, cwd)) as measure,
    ):
        yield measure


def _contender(durability: str, also: str, ready: Callable[[], AbstractContextManager[Measure]]) -> Contender:
    return Contender("jobd", f"each job submitted alone, {_KEEPS[durability]}, told of alone{also}", ready)


def calls(durability: str) -> Contender:
    """Warm calls, as many as it can take."""
    return _contender(durability, "", partial(_flooded, durability, call))


def latency(durability: str) -> Contender:
    """Warm calls, each from its submission to its finish event."""
    return _contender(durability, "", partial(_one_at_a_time, durability))


COMMANDS = _contender("commit", "; a cwd, a session and output files of its own, usage in the event", _commands)
