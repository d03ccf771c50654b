"""
Reports that a call worker has made and not sent yet, where its daemon finds them if the worker dies.

To send a report, and to wake the daemon for it, costs more than a short call does. So the reports of short calls wait
for one another, in memory that both processes share: the system keeps it for the daemon however the worker ends. Only
the daemon that has started the worker has it. The next one does not need it: if the worker lives it tells all that is
not known to be kept, and if it does not, what stood in the pipe is gone as well.

The first eight bytes say where the last whole line ends.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import sys

ROOM = 1 << 15
"""Bytes: no more than a pipe takes at once."""

_INHERITED = 3

_HEAD = struct.Struct("@Q")


class Unsent:
    """
    The worker's side. Not thread-safe.

    @param descriptor: of the memory; it is closed.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, ROOM)
        os.close(descriptor)
        self._head = memoryview(self._memory)[: _HEAD.size].cast("Q")
        self._end = _HEAD.size

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self._end != _HEAD.size

    def add(self, line: bytes) -> bool:
        """Keep a report, with its end; false where there is no room for it."""
        begin = self._end
        end = begin + len(line)
        if end > ROOM:
            return False
        self._memory[begin:end] = line
        # Only now, with one store: a worker that is killed between the two has not reported it.
        self._head[0] = self._end = end
        return True

    def lines(self) -> bytes:
        """All of them, in their order."""
        return self._memory[_HEAD.size : self._end]

    def clear(self) -> None:
        """They have been sent."""
        self._head[0] = self._end = _HEAD.size


_NOT_HERE = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL})
"""There is no such memory on this system, or it is forbidden; every other error may pass."""


class Shared:
    """
    The daemon's side: the memory for one worker.

    @param wanted: this worker lets reports wait.
    @ivar descriptor: of the memory; -1 where there is none: then the worker sends each report at once.
    """

    def __init__(self, wanted: bool) -> None:
        """Raises L{OSError}."""
        self.descriptor = -1
        if wanted and sys.platform == "linux" and hasattr(os, "memfd_create"):
            try:
                self.descriptor = os.memfd_create("jobd-unsent")
            except OSError as problem:
                if problem.errno in _NOT_HERE:
                    return
                raise
            try:
                # All of it now: where there is no memory, later the worker would die of it.
                os.posix_fallocate(self.descriptor, 0, ROOM)
            except OSError:
                self.close()
                raise

    @property
    def descriptors(self) -> dict[int, int | str] | None:
        """What the worker is to inherit, as C{spawnProcess} takes it: the usual three, and the memory."""
        return None if self.descriptor == -1 else {0: "w", 1: "r", 2: "r", _INHERITED: self.descriptor}

    @property
    def option(self) -> list[str]:
        """What the worker is to be told."""
        return [] if self.descriptor == -1 else ["--unsent", str(_INHERITED)]

    def lines(self) -> list[bytes]:
        """
        What the worker has not sent, without the ends. It may have sent the first of them, or all, if it has died
        while it did; while it lives it may be sending them now.
        """
        if sys.platform == "win32" or self.descriptor == -1:
            return []
        data = os.pread(self.descriptor, ROOM, 0)
        (end,) = _HEAD.unpack_from(data)
        return data[_HEAD.size : end].split(b"\n")[:-1]

    def close(self) -> None:
        """It is not needed any more."""
        if self.descriptor != -1:
            os.close(self.descriptor)
            self.descriptor = -1
