"""
Control groups of Linux, version 2: a process stays in the group of the one that started it, whatever it does about
its session, its environment or its parent, and a whole group is killed at one word.

They may be used where this process may make groups below its own: it is root, or the service manager or the
container has delegated the group. L{found} says no elsewhere, and before Linux 5.14.

To put a process into a group takes the system some ten milliseconds of waiting, so nothing short is worth it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress

_PROCESSES = "cgroup.procs"
_KILL = "cgroup.kill"
_EVENTS = "cgroup.events"

_PREFIX = "jobd."
"""How the groups of workers are called."""

_TRIES = 3

_PATIENCE = 5.0
_PAUSE = 0.01
"""Seconds for all in a group to be gone once they were killed, and between two looks."""


class Cgroup:
    """
    One group.

    @ivar path: its folder.
    @ivar tail: the end of its name, which no other group has: what stands before it depends on who looks.
    """

    def __init__(self, path: str, tail: str = "") -> None:
        self.path = path
        self.tail = tail

    def make(self, name: str) -> Cgroup | None:
        """A group below this one; C{None} if that cannot be had."""
        path = os.path.join(self.path, name)
        try:
            os.mkdir(path)
        except OSError:
            return None
        return Cgroup(path, f"{self.tail}/{name}")

    def take(self, pid: int) -> bool:
        """Put the process that has this number now into the group. Whether that was possible."""
        return _write(os.path.join(self.path, _PROCESSES), b"%d" % pid)

    def pids(self) -> list[int]:
        """What runs in it, without the groups below."""
        with suppress(OSError, ValueError), open(os.path.join(self.path, _PROCESSES), "rb") as file:
            return list(map(int, file.read().split()))
        return []

    @property
    def populated(self) -> bool:
        """Whether anything runs in it or in the groups below. One that was removed is empty."""
        with suppress(OSError), open(os.path.join(self.path, _EVENTS), "rb") as file:
            return b"populated 1" in file.read()
        return False

    def holds(self, pid: int) -> bool:
        """Whether the process that has this number now is in it."""
        return _group_of(pid).endswith(self.tail)

    def below(self, pid: int) -> str:
        """The name of the group below this one that it is in; empty if it is in none."""
        head, _, name = _group_of(pid).rpartition("/")
        return name if head.endswith(self.tail) else ""

    def send(self, number: signal.Signals, told: Container[int] = ()) -> None:
        """Signal everything in it but what has been told already."""
        if sys.platform != "linux":
            return
        for pid in self.pids():
            if pid in told:
                continue
            with suppress(OSError):
                descriptor = os.pidfd_open(pid)
                try:
                    # If it can still be signalled after that, it had the number all the while.
                    if self.holds(pid):
                        signal.pidfd_send_signal(descriptor, number)
                finally:
                    os.close(descriptor)

    def kill(self) -> None:
        """Kill everything in it and in the groups below; what is forked meanwhile does not escape."""
        _write(os.path.join(self.path, _KILL), b"1")

    def end(self) -> bool:
        """Kill everything in it and remove it. Whether it is gone."""
        end = time.monotonic() + _PATIENCE
        self.kill()
        while self.populated and time.monotonic() < end:
            time.sleep(_PAUSE)
        return self.remove()

    def remove(self) -> bool:
        """Remove it with the groups below; nothing may run there. Whether it is gone."""
        with suppress(OSError):
            for entry in os.scandir(self.path):
                if entry.is_dir(follow_symlinks=False):
                    Cgroup(entry.path).remove()
        with suppress(OSError):
            os.rmdir(self.path)
        return not os.path.exists(self.path)


class Own(Cgroup):
    """
    A group of this process's own, in which all that it starts is found.

    @param origin: where the process was before.
    """

    def __init__(self, group: Cgroup, origin: Cgroup) -> None:
        super().__init__(group.path, group.tail)
        self.origin = origin

    def disband(self) -> None:
        """Leave it, and end what is left in it."""
        if self.origin.take(os.getpid()):
            self.end()


def found() -> Own | None:
    """Make a group for this process below the one it is in, and move there. C{None} where that may not be."""
    where = _own_path() if sys.platform == "linux" else ""
    if not where:
        return None
    origin = Cgroup(where)
    _tidy(origin)
    # As long as it is empty another worker that tidies up may remove it.
    for _ in range(_TRIES):
        new = origin.make(f"{_PREFIX}{os.getpid()}.{time.time_ns():x}")
        if new is None:
            break
        if os.path.exists(os.path.join(new.path, _KILL)) and new.take(os.getpid()):
            return Own(new, origin)
        new.remove()
    return None


def _tidy(origin: Cgroup) -> None:
    """Remove the groups of workers that were killed, with nobody to tidy up after them."""
    with suppress(OSError):
        for entry in os.scandir(origin.path):
            if entry.name.startswith(_PREFIX):
                group = Cgroup(entry.path)
                if not group.populated:
                    group.remove()


def _own_path() -> str:
    """The folder of the group this process is in; empty where there is none to be seen."""
    with suppress(OSError, ValueError, IndexError):
        group = _group_of(os.getpid())
        if not group or ".." in group.split("/"):
            return ""
        for root, mount in _mounts():
            inside = root.rstrip("/")
            if group == root or group.startswith(inside + "/"):
                path = (mount + group[len(inside) :]).rstrip("/")
                if os.path.isfile(os.path.join(path, _PROCESSES)):
                    return path
    return ""


def _group_of(pid: int) -> str:
    """As this process's own view of the hierarchy has it."""
    with suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
    return ""


def _mounts() -> Iterator[tuple[str, str]]:
    """What of the hierarchy is mounted, and where."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            # Between the sixth field and the dash stands any number of others.
            if fields[fields.index("-", 6) + 1] == "cgroup2":
                yield fields[3], fields[4]


def _write(path: str, data: bytes) -> bool:
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(data)
    except OSError:
        return False
    return True


@contextmanager
def staying(wanted: bool) -> Iterator[Own | None]:
    """This process in a group of its own, if there may be one, while the block runs; then what is left is ended."""
    own = found() if wanted else None
    try:
        yield own
    finally:
        if own is not None:
            own.disband()
