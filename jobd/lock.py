"""One daemon for one state folder: a lock that the system lets go of when its holder dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jobd.errors import UsageError


class FolderLock:
    """Held from L{take} until L{release}, or until the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._handle: int | None = None

    def take(self) -> None:
        """
        @raise UsageError: another daemon holds it, or the file cannot be made.
        """
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise UsageError(f"the state folder {self._path.parent} cannot be used: {problem.strerror}") from None
        try:
            _lock(handle)
        except OSError:
            os.close(handle)
            raise UsageError(
                f"another jobd uses the state folder {self._path.parent}; stop it, or give this one another --state-dir"
            ) from None
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
