"""
The process tree of a command, on Linux: everything it has started, also what
has left its process group or session.

The runner is a subreaper: a process whose parent has ended becomes a child of
the runner. A child that has not been waited for keeps its number, so a signal to
it cannot hit another process; a deeper descendant is signalled through a pidfd
after its parent was looked up once more.

Elsewhere there are only process groups: L{available} is false.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """
    A line of C{/proc/PID/stat}.

    @ivar state: one letter; C{Z} for one that has ended and was not waited for.
    @ivar started: when, in the system's ticks: with C{pid} it names one process for ever.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int


def adopt_orphans() -> bool:
    """
    Become the parent of every descendant whose own parent ends. False where
    the system cannot do that or does not show the children of a process.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            return False
    except (OSError, AttributeError):
        return False
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def children(pid: int) -> list[int]:
    """The children of a process, those that have ended and were not waited for included."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            found += map(int, file.read().split())
    return found


def look_at(pid: int) -> Process | None:
    """What the system knows of a process; C{None} if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The second field is the program's name in parentheses, and may hold anything.
    fields = text[text.rindex(b")") + 2 :].split(b" ", 20)
    return Process(pid, fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def environment_of(pid: int) -> list[bytes]:
    """The environment a process was started with, a list of C{NAME=VALUE}; empty where it is not to be seen."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def job_of(pid: int) -> tuple[bytes, bytes] | None:
    """ID and ATTEMPT that stand in the environment a process was started with."""
    variables = dict(item.partition(b"=")[::2] for item in environment_of(pid))
    job, attempt = variables.get(b"JOBD_JOB_ID"), variables.get(b"JOBD_ATTEMPT")
    return None if job is None or attempt is None else (job, attempt)


def descendants(pid: int) -> list[Process]:
    """All living descendants of a process, parents before children."""
    found: list[Process] = []
    for child in children(pid):
        process = look_at(child)
        if process is not None and process.parent == pid:
            if process.state != "Z":
                found.append(process)
            found += descendants(child)
    return found


def send(process: Process, number: signal.Signals) -> None:
    """Signal a descendant, unless it is gone by now."""
    if sys.platform != "linux":
        return
    with suppress(OSError):
        descriptor = os.pidfd_open(process.pid)
        try:
            now = look_at(process.pid)
            if now is not None and now.started == process.started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
