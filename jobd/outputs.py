"""Reading what jobs wrote: parts of files in the output folder."""

from __future__ import annotations

import base64
import errno
import os
import stat
from contextlib import suppress
from typing import Any

import attrs

from jobd.worker.output import Stream, output_folder, output_path, still_names

FILE_OF: dict[str, Stream] = {"stdout": "out", "stderr": "err"}
"""What the workers call each stream."""

_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EISDIR})
"""There is no output, or something in its place that is none. All other errors may pass."""


@attrs.define(slots=True)
class Part:
    """
    A piece of an output.

    @ivar start: the byte it begins at.
    @ivar size: how many bytes there are in all by now.
    """

    start: int
    data: bytes
    size: int

    @property
    def next(self) -> int:
        return self.start + len(self.data)

    def fields(self) -> dict[str, Any]:
        """C{data}, and C{encoding} where it is not UTF-8."""
        try:
            return {"data": self.data.decode()}
        except UnicodeDecodeError:
            return {"data": base64.b64encode(self.data).decode(), "encoding": "base64"}


class Outputs:
    """
    @param folder: where the workers put the output of each attempt.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def read(self, job_id: int, attempt: int, stream: str, start: int, limit: int) -> Part:
        """
        A part that begins at C{start} (below 0: counted from the end), of C{limit} bytes at most. Of an output
        that is not there the part is empty. A character of UTF-8 is not cut in two.

        @raise OSError: it may be there, but the system cannot open or read it now.
        """
        nothing = Part(max(0, start), b"", 0)
        path = output_path(self.folder, job_id, attempt, FILE_OF[stream])
        try:
            handle = os.open(path, _OPEN)
        except OSError as problem:
            if problem.errno in _NOT_THERE:
                return nothing
            raise
        try:
            part = _read(handle, start, limit)
            # If not, it was empty, and has become another job's since it was opened.
            return part if not part.data or still_names(path, os.fstat(handle)) else nothing
        finally:
            os.close(handle)

    def remove(self, gone: list[int]) -> None:
        """Delete the output of jobs that are no longer kept: most have left none, so it is looked at what there is."""
        ids = set(map(str, gone))
        for folder in {output_folder(self.folder, number) for number in gone}:
            with suppress(OSError):
                for name in os.listdir(folder):
                    if name.partition(".")[0] in ids:
                        with suppress(OSError):
                            os.unlink(os.path.join(folder, name))


def _read(handle: int, start: int, limit: int) -> Part:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        return Part(max(0, start), b"", 0)
    size = status.st_size
    if start < 0:
        start = max(0, size + start)
    if start >= size:
        return Part(start, b"", size)
    os.lseek(handle, start, os.SEEK_SET)
    data = os.read(handle, limit)
    return Part(start, _whole_characters(data) if start + len(data) < size else data, size)


def _whole_characters(data: bytes) -> bytes:
    """Leave out the beginning of a character at the end, if the rest is UTF-8."""
    for cut in range(1, min(4, len(data))):
        if data[-cut] & 0xC0 == 0xC0:
            width = 2 if data[-cut] < 0xE0 else 3 if data[-cut] < 0xF0 else 4
            return data[:-cut] if width > cut else data
        if data[-cut] & 0x80 == 0:
            break
    return data
