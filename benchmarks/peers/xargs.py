"""C{xargs -P}: a process for each line of input, so many at a time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.contender import Contender, Measure, Trouble, Unavailable
from jobd.settings import usable_cores


@contextmanager
def _commands() -> Iterator[Measure]:
    xargs, true = shutil.which("xargs"), shutil.which("true")
    if xargs is None or true is None:
        raise Unavailable("xargs and true are not both here")
    command = [xargs, "-n1", f"-P{usable_cores()}", true]

    def measure(jobs: int) -> tuple[float]:
        lines = "".join(f"{number}\n" for number in range(jobs)).encode()
        began = perf_counter()
        status = subprocess.run(command, input=lines, check=False).returncode
        seconds = perf_counter() - began
        if status:
            raise Trouble(f"xargs ended with {status}")
        return (jobs / seconds,)

    measure(100)
    yield measure


XARGS = Contender(
    "xargs -n1 -P",
    "nothing is kept; one exit status for all; shared output, no session and no cwd of their own",
    _commands,
)
