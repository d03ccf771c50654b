"""task-spooler: a queue of commands in a server for each user, filled from a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, Trouble, rate_and_times
from benchmarks.peers.serving import folder, program
from jobd.settings import usable_cores

_SCRIPT = """
for i in $(seq "$1"); do "$TSP" -n true "$i" > /dev/null || exit; done
"$TSP" -nf -N "$TS_SLOTS" true || exit
"$TSP" -C
"""
"""The last command, which is waited for, wants all the slots: it runs when all the others have ended."""


@contextmanager
def queued() -> Iterator[Measure]:
    """Commands queued from a shell."""
    # Debian calls it tsp, others ts, which is another program there.
    spooler = shutil.which("tsp") or program("ts", "task-spooler")
    with folder() as home:
        own = {"TSP": spooler, "TS_SOCKET": str(home / "socket"), "TMPDIR": str(home), "TS_SLOTS": str(usable_cores())}
        environment = {**os.environ, **own, "TS_MAXFINISHED": "10"}

        def many(jobs: int) -> float:
            began = perf_counter()
            status = subprocess.run(["sh", "-c", _SCRIPT, "sh", str(jobs)], env=environment, check=False).returncode
            seconds = perf_counter() - began
            if status:
                raise Trouble(f"it ended with {status}")
            return seconds

        def one(number: int) -> None:
            subprocess.run([spooler, "-nf", "true", str(number)], env=environment, check=True)

        try:
            yield rate_and_times(many, one)
        finally:
            subprocess.run([spooler, "-K"], env=environment, check=False)


SPOOLER = Contender(
    "task-spooler",
    "tsp in a shell loop: the queue is in the server's memory; an exit status for each; a session of its own, the "
    "submitting shell's cwd; one waits for a job, nobody is told",
    aside("benchmarks.peers.spooler:queued"),
    most=1_000,
)
