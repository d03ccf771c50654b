"""
Is the end of the database file there?

SQLite takes a page behind the end of the file for one of zeros, and finds no fault in it where it continues a
long text. So this is looked at before SQLite sees the file. It says itself how many pages it has; one that is not there
must be in the log, as the daemon before may have died while it folded that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobd.store.log import FRAME_HEADER, HEADER

MAGIC = b"SQLite format 3\0"


def missing_pages(database: Path) -> int:
    """
    How many pages of the file are nowhere (https://sqlite.org/fileformat.html).

    @raise OSError: it cannot be read.
    """
    with database.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(MAGIC):
        return 0  # SQLite says more of that.
    size = int.from_bytes(header[16:18], "big")
    size = 65536 if size == 1 else size
    pages = int.from_bytes(header[28:32], "big")
    there = database.stat().st_size // max(1, size)
    if there >= pages:
        return 0
    return len(set(range(there + 1, pages + 1)).difference(_logged(database, size)))


def _logged(database: Path, size: int) -> Iterator[int]:
    """The pages in the log."""
    log = database.with_name(database.name + "-wal")
    if not log.exists():
        return
    with log.open("rb") as file:
        salt = file.read(HEADER)[16:24]
        while len(frame := file.read(FRAME_HEADER)) == FRAME_HEADER and frame[8:16] == salt:
            yield int.from_bytes(frame[:4], "big")
            file.seek(size, 1)
