"""What an error of SQLite means to the daemon."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from pathlib import Path

from jobd.errors import Full, StoreError

PROBE = 1 << 20
"""Bytes written to find out whether there is room."""

MAY_BE_ROOM = frozenset(
    {
        "SQLITE_IOERR_WRITE",
        "SQLITE_IOERR_TRUNCATE",
        "SQLITE_IOERR_SHMOPEN",
        "SQLITE_IOERR_SHMSIZE",
        "SQLITE_IOERR_SHMMAP",
        "SQLITE_CANTOPEN",
    }
)
"""
What SQLite also says where there is no room: it takes only C{ENOSPC} from a write to one of its two files for
that, not a quota that is used up, nor its shared memory that cannot grow. A sync is never among these.
"""


def explain(problem: Exception, path: Path) -> Exception:
    """
    L{Full} for what goes away by itself: nothing was kept, and the same may be tried again. Else
    L{StoreError}: nobody knows what is on the disk.
    """
    if not isinstance(problem, sqlite3.Error):
        return problem
    text = str(problem)
    name = getattr(problem, "sqlite_errorname", "")  # from Python 3.11
    if "is full" in text or (name in MAY_BE_ROOM and not has_room(path.parent)):
        return Full(f"there is no room for the job store {path}")
    if "is locked" in text:
        return Full(f"another program keeps the job store {path} locked")
    return StoreError(f"the job store {path} failed: {text}" + (f" ({name})" if name else ""))


def has_room(folder: Path) -> bool:
    """Whether a file in this folder can still grow."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            left = PROBE
            while left:
                left -= file.write(bytes(left))
    except OSError as problem:
        return problem.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return True
