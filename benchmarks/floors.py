"""
The physical floors: what the machine takes for each step of a job's way when
nobody does anything but that step. No design can be faster than these; a
batch shares one of them among its jobs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import perf_counter
from typing import TypeAlias

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, Unavailable, rate_and_times, samples, timed, times
from benchmarks.figures import Floor
from jobd.settings import usable_cores

PAGES = bytes(3 * 4096)
"""What SQLite's write-ahead log grows by for a small commit: three pages or so."""

_ECHO_PIPE = """
import os
while data := os.read(0, 64):
    os.write(1, data)
"""
_ECHO_SOCKET = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as sock:
    while data := sock.recv(64):
        sock.sendall(data)
"""
_WORD = b"x"

Step: TypeAlias = Callable[[int], object]


def measure(quick: bool) -> list[Floor]:
    """All of them that this system has; it takes seconds."""
    found = []
    for name, what, ready in _FLOORS:
        with ready() as step:
            if step is not None:
                count = 20 if quick else 1000
                timed(step, 5)
                found.append(Floor(name, what, *times(timed(step, count))))
    return found


@contextmanager
def _pipe() -> Iterator[Step]:
    with subprocess.Popen(
        [sys.executable, "-c", _ECHO_PIPE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        into, out = process.stdin.fileno(), process.stdout.fileno()

        def step(number: int) -> None:
            os.write(into, _WORD)
            os.read(out, 64)

        yield step
        process.stdin.close()


@contextmanager
def _socket(pair: Callable[[], tuple[socket.socket, socket.socket]]) -> Iterator[Step | None]:
    if sys.platform == "win32":
        yield None
        return
    ours, theirs = pair()
    command = [sys.executable, "-c", _ECHO_SOCKET, str(theirs.fileno())]
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        theirs.close()

        def step(number: int) -> None:
            ours.sendall(_WORD)
            ours.recv(64)

        yield step
        ours.close()
        process.wait()


def _tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    for sock in (ours, theirs):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


@contextmanager
def _fsync() -> Iterator[Step]:
    with tempfile.TemporaryFile(buffering=0) as file:
        descriptor = file.fileno()

        def step(number: int) -> None:
            os.write(descriptor, PAGES)
            # As SQLite does it.
            if sys.platform == "linux":
                os.fdatasync(descriptor)
            else:
                os.fsync(descriptor)

        yield step


@contextmanager
def _spawn() -> Iterator[Step | None]:
    true = shutil.which("true")
    if sys.platform == "win32" or true is None:
        yield None
        return
    program: str = true

    def step(number: int) -> None:
        # With an argument, and the environment: true looks at its locale first, as everybody's does here.
        os.waitpid(os.posix_spawn(program, [program, str(number)], os.environ), 0)

    yield step


@contextmanager
def _two_syncs() -> Iterator[Measure]:
    with _fsync() as step:

        def measure(jobs: int) -> list[float | None]:
            return [None, *times(timed(lambda number: (step(number), step(number)), samples(jobs)))]

        yield measure


TWO_SYNCS = Contender(
    "two fsyncs",
    "the disk alone, twice a small commit appended and synced: what a job costs at least that is on disk before it is "
    "acknowledged and again before its end is told",
    _two_syncs,
)


@contextmanager
def spawning() -> Iterator[Measure]:
    """Programs that do nothing, as many at a time as there are cores; run aside, as it waits for any child."""
    true = shutil.which("true")
    if sys.platform == "win32" or true is None:
        raise Unavailable("there is no posix_spawn, or no command true")
    program: str = true

    def begin(number: int) -> None:
        os.posix_spawn(program, [program, str(number)], os.environ, setsid=True)

    def many(jobs: int) -> float:
        began = perf_counter()
        at_once = min(usable_cores(), jobs)
        for number in range(jobs + at_once):
            if number >= at_once:
                os.wait()
            if number < jobs:
                begin(number)
        return perf_counter() - began

    def one(number: int) -> None:
        begin(number)
        os.wait()

    yield rate_and_times(many, one)


SPAWNS = Contender(
    "posix_spawn alone",
    "the system alone: as many at a time as there are cores, each in a session of its own, its end waited for; nothing "
    "is kept, told or written, no process has begun but these",
    aside("benchmarks.floors:spawning"),
)

_FLOORS: tuple[tuple[str, str, Callable[[], AbstractContextManager[Step | None]]], ...] = (
    ("pipe", "a byte to another process over a pipe, and one back over another", _pipe),
    ("unix", "a byte there and back over a Unix socket", partial(_socket, socket.socketpair)),
    ("loopback", "a byte there and back over TCP on the loopback", partial(_socket, _tcp)),
    ("fsync", f"{len(PAGES):,} bytes, a small commit, appended to a file and synced to the disk", _fsync),
    ("spawn", "posix_spawn of true as jobd starts it, which is vfork and exec, and its end waited for", _spawn),
)
