"""What a figure depends on besides the programs: the machine, the disk, the versions."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from pathlib import Path

import twisted

import jobd
from benchmarks import proc
from benchmarks.client import connected, flood
from benchmarks.figures import Machine
from benchmarks.ours import call
from jobd.settings import usable_cores
from tests.daemon import running_daemon


def look() -> Machine:
    """Look at this machine; it takes a second or so."""
    load = _load()
    rss, pss, processes = _idle_memory()
    return Machine(
        usable_cores(),
        _processor(),
        f"{platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        twisted.__version__,
        sqlite3.sqlite_version,
        jobd.__version__,
        load,
        rss,
        pss,
        processes,
    )


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> float | None:
    if sys.platform == "win32":
        return None
    return os.getloadavg()[0]


def _idle_memory() -> tuple[int | None, int | None, int | None]:
    """Of a daemon that has done a little, so that all it needs is loaded: its own, with its workers, how many."""
    with running_daemon("--workers", str(usable_cores())) as daemon, connected(daemon) as sock:
        flood(sock, [call(number) for number in range(100)])
        flood(sock, [b"run true\n"])
        if not proc.LINUX:
            return None, None, None
        family = proc.family(daemon.pid)
        return proc.memory(daemon.pid, "Rss"), sum(proc.memory(pid, "Pss") for pid in family), len(family)
