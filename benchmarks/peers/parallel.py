"""GNU parallel: as C{xargs}, with each command's output kept together."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.aside import aside
from benchmarks.contender import Contender, Measure, Unavailable
from benchmarks.peers.serving import folder, program
from benchmarks.peers.xargs import fed
from jobd.settings import usable_cores


@contextmanager
def commands() -> Iterator[Measure]:
    """A line of input for each command."""
    parallel = program("parallel", "parallel")
    version = subprocess.run([parallel, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if not version.stdout.startswith(b"GNU parallel"):
        raise Unavailable("parallel is another program here (Debian's package parallel)")
    with folder() as home:
        # It would ask to be cited, and looks there for what it was told before.
        (home / "will-cite").touch()
        command = ["env", f"PARALLEL_HOME={home}", parallel, f"-j{usable_cores()}", program("true", "coreutils"), "{}"]
        yield fed(command)


PARALLEL = Contender(
    "GNU parallel",
    "nothing is kept; each command's output is kept together, in files of its own; one exit status that counts "
    "failures; one at a time: a parallel for each",
    aside("benchmarks.peers.parallel:commands"),
    most=500,
)
