"""What a process uses, seen from outside, and waiting for something to become so."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.trial.unittest import SkipTest

PATIENCE = 120.0
"""Seconds for what must become so on a busy machine; never reached when all is well."""


def need_linux() -> None:
    """For tests that look into C{/proc}, or use what only Linux has."""
    if sys.platform != "linux":
        raise SkipTest("needs Linux")


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int, name: str = "VmRSS") -> int:
    """Bytes: by default what is resident now; C{VmHWM}: what was at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name} of process {pid}")


def wake_ups(pids: Iterable[int], seconds: float) -> dict[int, int]:
    """
    How often each thread of these processes falls asleep anew in so many seconds from now on, by its number; those
    that sleep on are left out. It is a count of what they do themselves: neighbours do not change it.
    """
    pids = list(pids)
    before = {thread: _sleeps(path) for pid in pids for thread, path in _threads(pid)}
    time.sleep(seconds)
    after = {thread: _sleeps(path) for pid in pids for thread, path in _threads(pid)}
    counts = {thread: count - before.get(thread, 0) for thread, count in after.items()}
    return {thread: count for thread, count in counts.items() if count}


def _threads(pid: int) -> list[tuple[int, Path]]:
    return [(int(path.name), path) for path in Path(f"/proc/{pid}/task").iterdir()]


def _sleeps(thread: Path) -> int:
    for line in (thread / "status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise AssertionError("this system does not count how often a thread sleeps")


def _awake(pid: int) -> float:
    """Seconds for which the threads of a process have run, or have waited for a processor."""
    fields = [(path / "schedstat").read_text().split() for _, path in _threads(pid)]
    return sum(int(run) + int(wait) for run, wait, _ in fields) / 1e9


def comes_to_rest(pid: int, seconds: float = 1.0) -> None:
    """
    Wait until a process sleeps for more than half of so many seconds. What spins never does, however few processors
    there are for it, and what had to wait for one comes to it later.

    @raise AssertionError: it does not.
    """

    def rests() -> bool:
        before, begun = _awake(pid), time.monotonic()
        time.sleep(seconds)
        return _awake(pid) - before < 0.5 * (time.monotonic() - begun)

    wait_until(rests, f"process {pid} sleeps")


def wait_until(true: Callable[[], object], what: str) -> None:
    """
    Wait for it.

    @raise AssertionError: it does not become so.
    """
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            raise AssertionError(f"it never came that {what}")
        time.sleep(0.01)
