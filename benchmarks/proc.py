"""What Linux tells of processes in C{/proc}."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LINUX = sys.platform == "linux"


def lacking() -> str:
    """Why nothing can be told here; empty if it can."""
    return "" if LINUX else "it is read from /proc, which Linux has"


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def memory(pid: int, kind: str) -> int:
    """
    Bytes of a process's memory.

    @param kind: as C{smaps_rollup} has it: C{Rss}, or C{Pss}, which counts a
        share of what is shared.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024
    return 0


def processor(pid: int, main: bool = False) -> float:
    """
    Seconds of processor time that the threads of a process have had.

    @param main: of its first thread alone.
    """
    nanoseconds = 0
    for statistics in Path(f"/proc/{pid}/task").glob(f"{pid if main else '*'}/schedstat"):
        with suppress(OSError):
            nanoseconds += int(statistics.read_text().split()[0])
    return nanoseconds / 1e9


def switches(pid: int) -> int:
    """How often threads of a process have let go of a processor or lost it; each time they were awake before."""
    return sum(int(line.split()[1]) for line in _status(pid) if "ctxt_switches:" in line)


def _status(pid: int) -> Iterator[str]:
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(OSError):
            yield from status.read_text().splitlines()
