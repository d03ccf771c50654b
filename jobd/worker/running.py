"""What the runner knows of a command that was started, and the moments it has noted."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

from jobd.worker.cgroup import Cgroup
from jobd.worker.link import Key
from jobd.worker.outcome import UNKNOWN, Usage
from jobd.worker.spool import OwnFile


class Command:
    """
    A command that was started.

    @ivar pid: its main process, and its process group and session.
    @ivar main: whether the main process has not been waited for.
    @ivar own: its own output files.
    @ivar orphans: processes it has left, now children of the runner.
    @ivar group: its control group.
    @ivar enclosed: nothing that it has started is outside of that.
    @ivar cancelled: whether it was told to end.
    @ivar killed: the monotonic time of the first KILL.
    @ivar stuck: something of it did not go away after KILL, and that has been told.
    @ivar cut: its output was more than is kept.
    @ivar written: how much of it there was when it was last looked at; C{pause} seconds later, at C{next_look}, it is
        looked at again.
    """

    __slots__ = (
        "attempt", "cancelled", "cut", "enclosed", "ended", "group", "job", "killed", "left", "main", "next_look",
        "orphans", "own", "pause", "pid", "returncode", "started", "stuck", "used", "written",
    )  # fmt: skip

    def __init__(
        self, job: bytes, attempt: bytes, own: list[OwnFile], pid: int, started: float, next_look: float = 0.0
    ) -> None:
        self.job = job
        self.attempt = attempt
        self.own = own
        self.pid = pid
        self.started = started
        self.main = True
        self.orphans: set[int] = set()
        self.group: Cgroup | None = None
        self.enclosed = False
        self.cancelled = False
        self.killed: float | None = None
        self.stuck = False
        self.cut = False
        self.written = 0
        self.pause = 0.125
        self.next_look = next_look
        self.left = 0
        self.ended = 0.0
        self.returncode = 0
        self.used: Usage = UNKNOWN

    @property
    def key(self) -> Key:
        return self.job, self.attempt


class Timers:
    """What is to be done at which moment."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def later(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (time.monotonic() + delay, self._count, action))

    def timeout(self) -> float | None:
        """Milliseconds until something is to be done; C{None}: nothing is."""
        if not self._heap:
            return None
        return max(0.0, self._heap[0][0] - time.monotonic()) * 1000 + 1

    def run(self) -> None:
        """Do what is due."""
        while self._heap and self._heap[0][0] <= time.monotonic():
            heapq.heappop(self._heap)[2]()
