"""
What was promised last, in a small file beside the store: up to which id and which cursor, and how many batches there
were that moved neither.

The store itself cannot tell that its newest part is missing: cut off, deleted, or an old copy put in
its place. This file is written after a batch is safe, and never waited for, so that a power cut leaves it
behind the store, not ahead of it. When the store knows less than was promised, something has been lost.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from pathlib import Path
from typing import BinaryIO

import attrs

from jobd.errors import StoreError
from jobd.store.folders import sync_folders

LINE = re.compile(
    rb"(jobd promised [12] ([0-9a-f]{16}) (commit|os    ) ([0-9]{20}) ([0-9]{20})(?: ([0-9]{20}))?) ([0-9a-f]{8})\n\Z"
)
"""
Version, instance, durability, next id, cursor, from version 2 on changes; the CRC-32 of it all. Always of one length,
as it is overwritten.
"""


@attrs.frozen(slots=True)
class Promise:
    """
    @ivar instance: of the store.
    @ivar synced: whether it was on the disk before it was promised.
    @ivar next_id: all ids below it were given out.
    @ivar cursor: of the newest event.
    @ivar changes: how many batches there were with neither a new id nor an event.
    """

    instance: str
    synced: bool
    next_id: int
    cursor: int
    changes: int

    def line(self) -> bytes:
        text = b"jobd promised 2 %s %s %020d %020d %020d" % (
            self.instance.encode(),
            b"commit" if self.synced else b"os    ",
            self.next_id,
            self.cursor,
            self.changes,
        )
        return b"%s %08x\n" % (text, zlib.crc32(text))


class Promised:
    """The file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._newest: Promise

    def read(self) -> Promise | None:
        """What is in it; None if it is not there, or can no longer be read."""
        try:
            match = LINE.fullmatch(self.path.read_bytes())
        except OSError:
            return None
        if match is None or zlib.crc32(match[1]) != int(match[7], 16):
            return None
        return Promise(match[2].decode(), match[3] == b"commit", int(match[4]), int(match[5]), int(match[6] or 0))

    def begin(self, promise: Promise) -> None:
        """
        Write it, and be ready for more.

        @raise StoreError: it cannot be written.
        """
        try:
            fresh = not self.path.exists()
            self._file = self.path.open("wb" if fresh else "r+b", buffering=0)
            self._newest = promise
            self._file.write(promise.line())
            self._file.truncate(len(promise.line()))
            os.fsync(self._file.fileno())
            if fresh:
                sync_folders(self.path.parent)
        except OSError as problem:
            self.close()
            raise StoreError(f"{self.path} cannot be written: {problem.strerror}") from None

    def note(self, next_id: int, cursor: int, changes: int) -> None:
        """
        So much is safe now, or already was.

        @param changes: how many more there are.
        """
        newest = self._newest
        if (next_id <= newest.next_id and cursor <= newest.cursor and not changes) or self._file is None:
            return
        self._newest = attrs.evolve(
            newest,
            next_id=max(next_id, newest.next_id),
            cursor=max(cursor, newest.cursor),
            changes=newest.changes + changes,
        )
        # Where this cannot be written less is known to be promised, and no harm done.
        with contextlib.suppress(OSError):
            self._file.seek(0)
            self._file.write(self._newest.line())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
