"""C{xargs -P}: a process for each line of input, so many at a time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, Trouble, rate_and_times
from benchmarks.peers.serving import program
from jobd.settings import usable_cores


def fed(command: list[str]) -> Measure:
    """The measure of a program that runs a command for each line of its input."""

    def many(jobs: int) -> float:
        lines = "".join(f"{number}\n" for number in range(jobs)).encode()
        began = perf_counter()
        status = subprocess.run(command, input=lines, check=False).returncode
        seconds = perf_counter() - began
        if status:
            raise Trouble(f"it ended with {status}")
        return seconds

    return rate_and_times(many, lambda number: many(1))


@contextmanager
def commands() -> Iterator[Measure]:
    """A line of input for each command."""
    yield fed([program("xargs", "findutils"), "-n1", f"-P{usable_cores()}", program("true", "coreutils")])


XARGS = Contender(
    "xargs -n1 -P",
    "nothing is kept; one exit status for all; shared output, no session and no cwd of their own; one at a time: an "
    "xargs for each",
    aside("benchmarks.peers.xargs:commands"),
)
