"""What a figure depends on besides the programs: the machine, the disk, the versions."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import attrs
import twisted

import jobd
from benchmarks.client import connected, flood
from benchmarks.contender import times
from benchmarks.ours import call
from jobd.settings import usable_cores
from tests.daemon import running_daemon

_BLOCK = bytes(4096)


@attrs.frozen
class Machine:
    """
    @ivar load: how many processes wanted a processor in the minute before; much
        above 0, the figures say more about the neighbours. C{None} where it
        cannot be told.
    @ivar fsync_p50: microseconds to append 4 KiB to a file and have it on the
        disk, where the daemons of the benchmarks keep their state.
    @ivar daemon_rss: bytes of memory of an idle daemon itself; C{None} where
        it cannot be told.
    @ivar all_pss: bytes of the daemon and its workers, what they share
        counted once.
    @ivar processes: how many these are.
    """

    cores: int
    processor: str
    system: str
    python: str
    twisted: str
    sqlite: str
    jobd: str
    load: float | None
    fsync_p50: float
    fsync_p99: float
    daemon_rss: int | None
    all_pss: int | None
    processes: int | None


def look(quick: bool) -> Machine:
    """Look at this machine; it takes a second or two."""
    load = _load()
    p50, p99 = _fsync(50 if quick else 1000)
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
        p50,
        p99,
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


def _fsync(samples: int) -> tuple[float, float]:
    seconds = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(samples):
            began = perf_counter()
            file.write(_BLOCK)
            _sync(file.fileno())
            seconds.append(perf_counter() - began)
    return times(seconds)


def _sync(descriptor: int) -> None:
    """As SQLite does it."""
    if sys.platform == "linux":
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def _idle_memory() -> tuple[int | None, int | None, int | None]:
    """Of a daemon that has done a little, so that all it needs is loaded: its own, with its workers, how many."""
    with running_daemon("--workers", str(usable_cores())) as daemon, connected(daemon) as sock:
        flood(sock, [call(number) for number in range(100)])
        flood(sock, [b"run true\n"])
        if sys.platform != "linux":
            return None, None, None
        family = _family(daemon.pid)
        return _memory(daemon.pid, "Rss"), sum(_memory(pid, "Pss") for pid in family), len(family)


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def _memory(pid: int, kind: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024
    return 0
