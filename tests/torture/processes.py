"""
The processes of a kill loop: the daemon, its workers, their jobs, and whatever these have started. All are known
by a mark in the environment that they were started with.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

if sys.platform != "linux":
    raise ImportError("the kill loop needs /proc")

MARK = "KILL_LOOP"

PATIENCE = 120.0
"""Seconds for what is going to happen soon to happen on a busy machine."""

_WORKERS = {b"jobd.worker.runner": "runner", b"jobd.worker.call": "call", b"jobd.worker.io": "io"}


class Process(NamedTuple):
    """
    @ivar started: with C{pid} it names one process for ever.
    @ivar role: C{runner}, C{call}, C{io}, C{daemon}, or C{job} for all that a command started.
    @ivar job: id and attempt, of a command's processes.
    """

    pid: int
    started: int
    state: str
    role: str
    job: tuple[int, int]


def marked(mark: str) -> list[Process]:
    """Those that live, or have ended a moment ago."""
    found = []
    wanted = f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, IndexError):
                variables = _read(f"/proc/{name}/environ").split(b"\0")
                if wanted in variables:
                    found.append(_process(int(name), variables))
    return found


def _process(pid: int, variables: list[bytes]) -> Process:
    state, _, started = _stat(pid)
    values = dict(variable.partition(b"=")[::2] for variable in variables)
    job = int(values.get(b"JOBD_JOB_ID", 0)), int(values.get(b"JOBD_ATTEMPT", 0))
    words = _read(f"/proc/{pid}/cmdline").split(b"\0")
    role = next((role for module, role in _WORKERS.items() if module in words), "job" if job[0] else "daemon")
    return Process(pid, started, state, role, job)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _stat(pid: int) -> tuple[str, int, int]:
    """State, parent, and when it was started."""
    text = _read(f"/proc/{pid}/stat")
    fields = text[text.rindex(b")") + 2 :].split(b" ", 20)
    return fields[0].decode(), int(fields[1]), int(fields[19])


def send(process: Process, number: signal.Signals) -> None:
    """Signal that process and no other."""
    with suppress(OSError):
        handle = os.pidfd_open(process.pid)
        try:
            if _stat(process.pid)[2] == process.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def wait_until(over: Callable[[], bool], what: str) -> None:
    """
    @raise AssertionError: it did not come.
    """
    deadline = time.monotonic() + PATIENCE
    while not over():
        if time.monotonic() > deadline:
            raise AssertionError(f"in {PATIENCE:g} seconds not: {what}")
        time.sleep(0.01)


def kill_machine(mark: str) -> None:
    """
    Kill all of them, as if at one moment: first everything is halted that could notice that
    another one is gone and act upon it.
    """
    halting = [process for process in marked(mark) if process.role != "job"]
    for process in halting:
        send(process, signal.SIGSTOP)
    for process in halting:
        wait_until(lambda process=process: not _runs(process), "halted")  # type: ignore[misc]
    kill_all(mark)


def kill_all(mark: str) -> None:
    def over() -> bool:
        left = [process for process in marked(mark) if process.state != "Z"]
        for process in left:
            send(process, signal.SIGKILL)
        return not left

    wait_until(over, "everything killed")


def _runs(process: Process) -> bool:
    """
    Whether it may still act. One that waits in the kernel (for the disk, or for a child between fork and exec that was
    halted before it) does nothing more when it comes back from there.
    """
    try:
        state, _, started = _stat(process.pid)
    except OSError:
        return False
    return started == process.started and state not in "TtZXD"


def zombies(mark: str) -> set[tuple[int, int]]:
    """Processes that have ended and whose parent, one of ours, has not asked how: pid and start."""
    ours = {process.pid for process in marked(mark)}
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                state, parent, started = _stat(int(name))
                if state == "Z" and parent in ours:
                    found.add((int(name), started))
    return found


def lasting_zombies(mark: str) -> int:
    """How many there are that nobody comes for."""
    left = zombies(mark)
    deadline = time.monotonic() + PATIENCE
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left &= zombies(mark)
    return len(left)
