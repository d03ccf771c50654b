"""
SQLite's write-ahead log, kept short: what is in it is folded back into the database file.

SQLite would do so by itself, within a commit, but then nobody hears of an error: a disk
that no longer takes a sync must stop the daemon, not only the folding.

A frame belongs to the present log if it carries the same salt as the log's header, which changes
whenever writing begins again at the front (https://sqlite.org/walformat.html).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from jobd.errors import Full

FOLD = 4000
"""Pages (of 4 KiB) in the log before it is folded back: 16 MB."""

MOST = 262_144
"""Pages in the log at most, while another program's reading keeps it from being folded: 1 GB."""

LOOK_EVERY = 16
"""Batches between two looks at the log."""

HEADER, FRAME_HEADER = 32, 24


class Log:
    """
    @param database: path of the database file; the log stands beside it.
    """

    def __init__(self, database: Path, fold: int = FOLD, most: int = MOST, look_every: int = LOOK_EVERY) -> None:
        self._path = database.with_name(database.name + "-wal")
        self._fold, self._most, self._look_every = fold, most, look_every
        self._next = fold
        self._until = 0

    def keep_short(self, database: sqlite3.Connection) -> None:
        """
        Fold the log back if it is long. To be called before each batch, by the one that writes.

        @raise Full: it can grow no more before somebody who reads the database lets go of it.
        @raise sqlite3.Error: of the disk.
        """
        if self._until:
            self._until -= 1
            return
        if self.reaches(self._next):
            pages, folded = self.fold(database)
            left = pages - folded
            if left >= self._most:
                raise Full(
                    f"the log {self._path} has grown to {left} pages: "
                    "another program has been reading the job store for too long"
                )
            # What a reader still needs stays; more of it is worth a try only when there is more of it.
            self._next = self._fold + (pages if left else 0)
        self._until = self._look_every - 1

    def begin_anew(self, database: sqlite3.Connection) -> None:
        """
        Fold all of it back and empty it, if nobody else reads the database.

        @raise sqlite3.Error: of the disk.
        """
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def fold(self, database: sqlite3.Connection) -> tuple[int, int]:
        """
        Fold back what no reader needs any more, waiting for nobody. What was folded is synced first.

        @return: the pages in the log, and how many of them are in the database file now.
        """
        _, pages, folded = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return pages, folded

    def reaches(self, pages: int) -> bool:
        """Whether there are so many pages in the present log."""
        try:
            with self._path.open("rb", buffering=0) as file:
                header = file.read(HEADER)
                size = int.from_bytes(header[8:12], "big")
                file.seek(HEADER + (pages - 1) * (FRAME_HEADER + size))
                frame = file.read(FRAME_HEADER)
        except OSError:
            return False
        return len(frame) == FRAME_HEADER and frame[8:16] == header[16:24]
