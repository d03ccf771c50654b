"""What a process uses, seen from outside, and waiting for something to become so."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest

PATIENCE = 60.0
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


def used(pid: int) -> float:
    """Seconds of processor time."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def share(pid: int, seconds: float = 1.0) -> float:
    """Of one processor, measured over so many seconds from now on."""
    before, begun = used(pid), time.monotonic()
    time.sleep(seconds)
    return (used(pid) - before) / (time.monotonic() - begun)


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
