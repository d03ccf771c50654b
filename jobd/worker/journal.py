"""
What there is of a worker on disk: how the next daemon finds it, and what became of its attempts.

C{FOLDER/NAME} is made by the daemon and locked by the worker for as long as it lives; the system lets
go of the lock however the worker ends. Beside it C{NAME.sock} is where the next daemon takes the link up
again. The file is empty until the worker has come up. Each line begins with the checksum of the rest of it,
eight hexadecimal digits and a space; a line that is cut or does not agree ends what is believed::

    W PID                            the worker has come up
    G PATH                           the control group it is in with all that it starts (if it is)
    B ID ATTEMPT                     its link has ended without an order to stop; this one had begun
    E                                these were all that had begun
    D ID ATTEMPT STATE WALL OUTCOME  as on the link (L{jobd.worker.link}): how one has ended
    Q                                it was told to end everything: what has not succeeded from here on is handed back

So once C{E} stands there, an attempt of which the file says nothing was never begun by this worker, or is handed
back. It stands behind what it speaks of: where the disk is full in the middle of it, it says nothing.
"""

from __future__ import annotations

import os
import socket
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

_BINARY = getattr(os, "O_BINARY", 0)
_SOCKET = ".sock"


class Gone(Exception):
    """Nobody waits for this worker any more: its journal was taken away, or given to another."""


def lock(descriptor: int) -> bool:
    """
    Lock an open file for this process; false if another one holds it. Copies of this process made by fork do
    not hold it, and it is let go when the process closes any descriptor of the file.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def encode(lines: Iterable[bytes]) -> bytes:
    """Lines, without their ends, as they stand in a journal."""
    return b"".join(b"%08x %b\n" % (zlib.crc32(line), line) for line in lines)


def decode(data: bytes) -> list[bytes]:
    """The lines of a journal, up to the first that is not whole."""
    lines = []
    for line in data.split(b"\n")[:-1]:
        if line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(line[9:]):
            break
        lines.append(line[9:])
    return lines


@contextmanager
def socket_path(folder: str, name: str) -> Iterator[str]:
    """
    A path of the worker's socket for C{bind} and C{connect}. These take a hundred bytes at most; where the system shows
    open folders as files, any folder will do.
    """
    if not os.path.isdir("/proc/self/fd"):
        yield os.path.join(folder, name + _SOCKET)
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{opened}/{name}{_SOCKET}"
    finally:
        os.close(opened)


def remove(folder: str, name: str) -> None:
    """Nothing that stands in it is needed any more."""
    for path in (name + _SOCKET, name):
        with suppress(OSError):
            os.unlink(os.path.join(folder, path))


class Journal:
    """
    The worker's side.

    @ivar listener: where the next daemon will connect.
    """

    listener: socket.socket
    _file: int
    _unwritten: bytes

    def __init__(self, path: str) -> None:
        """
        Take the journal that the daemon has made.

        @raise Gone: it is not there any more, or locked: the next daemon has given this worker up.
        """
        if sys.platform == "win32":
            raise Gone("there are no such sockets here")
        self._unwritten = b""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | _BINARY)
        except OSError:
            raise Gone(path) from None
        if not lock(self._file) or not os.fstat(self._file).st_nlink:
            raise Gone(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder, name = os.path.split(path)
        # Where it cannot be found again the journal still tells how all has ended.
        with suppress(OSError), socket_path(folder, name) as address:
            self.listener.bind(address)
            self.listener.listen(1)
        self.write([b"W %d" % os.getpid()])

    def write(self, lines: Iterable[bytes]) -> None:
        """
        Keep lines, on disk when this returns. Without room for them there is nobody to tell: they are written with the
        next ones, from where it broke off.
        """
        self._unwritten += encode(lines)
        with suppress(OSError):
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
            os.fsync(self._file)

    def accept(self) -> int:
        """The next daemon, which has connected: a descriptor to read from and to write to."""
        connection, _ = self.listener.accept()
        connection.setblocking(True)
        return connection.detach()

    def abandon(self) -> None:
        """Let go of it in a forked copy of the worker."""
        self.listener.close()
        with suppress(OSError):
            os.close(self._file)
