"""gearmand with workers and a client in C, by libgearman."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.aside import aside
from benchmarks.building import built, compiler
from benchmarks.contender import Contender, Measure, Trouble, Unavailable, samples, times
from benchmarks.peers.serving import folder, free_port, program, running, serving
from jobd.settings import usable_cores

_SOURCE = Path(__file__).resolve().parent.parent / "c" / "gearman.c"
_HEADER = "libgearman/gearman.h"


@functools.cache
def _program() -> Path:
    cc = compiler("CC", "cc")
    if cc is None:
        raise Unavailable("there is no C compiler (cc, or what CC names)")
    look = [cc, "-x", "c", "-fsyntax-only", f"-include{_HEADER}", "/dev/null"]
    if subprocess.run(look, capture_output=True, check=False).returncode:
        raise Unavailable(f"{_HEADER} is not installed (Debian's package libgearman-dev)")
    return built(cc, _SOURCE, "-lgearman")


@contextmanager
def foreground() -> Iterator[Measure]:
    """Many tasks at once, then calls one at a time."""
    server = program("gearmand", "gearman-job-server")
    speaker = str(_program())
    place = ("127.0.0.1", free_port())
    words = (place[0], str(place[1]))
    with ExitStack() as stack:
        home = stack.enter_context(folder())
        command = [server, "--listen", words[0], "--port", words[1], "--log-file", str(home / "log"), "--threads", "4"]
        stack.enter_context(serving(command, place, home))
        for _ in range(usable_cores()):
            stack.enter_context(running([speaker, "worker", *words]))
        client = stack.enter_context(
            subprocess.Popen([speaker, "client", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )

        def ask(how: str, jobs: int, lines: int) -> list[float]:
            assert client.stdin is not None and client.stdout is not None
            print(how, jobs, file=client.stdin, flush=True)
            answers = [client.stdout.readline() for _ in range(lines)]
            if not all(answers):
                raise Trouble("its client has ended")
            return [float(answer) for answer in answers]

        def measure(jobs: int) -> tuple[float, float, float]:
            count = samples(jobs)
            p50, p99 = times(ask("one", count, count))
            return jobs / ask("many", jobs, 1)[0], p50, p99

        measure(20)
        try:
            yield measure
        finally:
            # The end of its input ends it.
            client.communicate()


GEARMAN = Contender(
    "gearmand",
    "foreground calls, client and workers in C: nothing is kept; each acknowledged and told of alone; a call whose "
    "worker dies is given to another one",
    aside("benchmarks.peers.gearman:foreground"),
    most=10_000,
)
