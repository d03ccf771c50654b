"""The workers' journals, seen from the daemon: C{jobd.worker.journal} says what stands in them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count

import attrs
from twisted.logger import Logger

from jobd.job import Lane
from jobd.pool.worker import Attempt
from jobd.worker import journal

_BINARY = getattr(os, "O_BINARY", 0)


@attrs.define(slots=True)
class Found:
    """
    A journal that was there already.

    @ivar alive: its worker lives.
    @ivar pid: the worker's; 0 if it never came up.
    @ivar whole: what was begun and not reported when the link ended is all in C{begun}.
    @ivar ordered: it was told to end everything, and what it ended by that is in no other attribute.
    @ivar begun: attempts that had begun when the link ended.
    @ivar reports: lines C{D} by their attempt.
    @ivar group: the folder of its control group, if it had one.
    """

    name: str
    lane: Lane
    alive: bool
    pid: int = 0
    whole: bool = False
    ordered: bool = False
    begun: set[Attempt] = attrs.Factory(set)
    reports: dict[Attempt, bytes] = attrs.Factory(dict)
    group: str = ""

    @property
    def tidy(self) -> bool:
        """It has ended all that it had started, and itself: then there is no group any more."""
        return bool(self.group) and not os.path.exists(self.group)


class Journals:
    """
    All in one folder; without a folder there are none. The daemon holds the lock on those of dead workers until they
    are removed: a worker that comes up so late that it was given up already finds that out by it.
    """

    log = Logger()

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[str, int] = {}
        self._numbers = count(1)
        # The names are marks in the environment of what workers start, too: no other daemon's may be the same.
        self._stem = f"{time.time_ns() // 1_000_000:x}-{os.getpid():x}"
        if folder:
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def new(self, lane: Lane) -> str:
        """
        Make the journal for a worker that is to be started, if there are any. Returns its name, which no other worker
        has. Raises L{OSError}.
        """
        while True:
            name = f"{lane.name.lower()}-{self._stem}-{next(self._numbers)}"
            if not self._folder:
                return name
            with suppress(FileExistsError):
                os.close(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                return name

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._folder)

    def path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def find(self) -> list[Found]:
        """What earlier daemons have left."""
        lanes = {lane.name.lower() for lane in Lane}
        names = sorted(os.listdir(self._folder)) if self._folder else []
        return [self.look(name) for name in names if name.partition("-")[0] in lanes and "." not in name]

    def look(self, name: str) -> Found:
        """One of these journals as it is now."""
        lane = Lane[name.partition("-")[0].upper()]
        if name not in self._files:
            self._files[name] = os.open(self.path(name), os.O_RDWR | _BINARY)
        found = Found(name, lane, not journal.lock(self._files[name]))
        for line in journal.decode(self._read(name)):
            try:
                _note(found, line)
            except (ValueError, IndexError):
                self.log.error("{name} has a line that nobody has written: {line}", name=name, line=line[:200])
        return found

    def _read(self, name: str) -> bytes:
        # Not through a file object: when that is closed the lock is gone.
        descriptor, parts = self._files[name], []
        os.lseek(descriptor, 0, os.SEEK_SET)
        while data := os.read(descriptor, 1 << 20):
            parts.append(data)
        return b"".join(parts)

    def connect(self, name: str) -> socket.socket | None:
        """A connection to the living worker, not blocking; None: not now."""
        if sys.platform == "win32":
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            with journal.socket_path(self._folder, name) as address:
                connection.connect(address)
        except OSError:
            connection.close()
            return None
        return connection

    def kill(self, found: Found) -> None:
        """End a living worker at once."""
        if sys.platform == "win32" or not found.pid:
            return
        with suppress(OSError), signalling(found.pid) as send:
            # While the lock is held, the number is its holder's.
            if not journal.lock(self._files[found.name]):
                send(signal.SIGKILL)

    def remove(self, names: Sequence[str]) -> None:
        """
        All that stands in these is kept elsewhere. They are gone for good when this returns: an attempt that was handed
        back begins again under the same number, and is not to be taken for the old one after a power cut.
        """
        if not self._folder or not names:
            return
        for name in names:
            journal.remove(self._folder, name)
            descriptor = self._files.pop(name, None)
            if descriptor is not None:
                os.close(descriptor)
        if sys.platform != "win32":
            with suppress(OSError):
                folder = os.open(self._folder, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)


@contextmanager
def signalling(pid: int) -> Iterator[Callable[[signal.Signals], None]]:
    """
    What sends a signal to the process that has this number I{now}, where the system can tell it from a later one of the
    same number. Raises L{OSError} if there is none.
    """
    if sys.platform != "linux":
        yield partial(os.kill, pid)
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield partial(signal.pidfd_send_signal, descriptor)
    finally:
        os.close(descriptor)


def _note(found: Found, line: bytes) -> None:
    kind, *words = line.split(b" ", 3)
    if kind == b"W":
        found.pid = int(words[0])
    elif kind == b"G":
        found.group = os.fsdecode(line[2:])
    elif kind == b"E":
        found.whole = True
    elif kind == b"B":
        found.begun.add((int(words[0]), int(words[1])))
    elif kind == b"Q":
        found.ordered = True
    elif kind == b"D" and not (found.ordered and words[2].partition(b" ")[0] != b"succeeded"):
        found.reports[int(words[0]), int(words[1])] = line
