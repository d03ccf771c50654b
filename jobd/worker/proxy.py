"""Standard output and error of a process in which many jobs print at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from jobd.worker.output import STREAMS, Stream, open_append, output_path, shorten, text_stream

_OFTEN = 64
"""After so many writes it is seen whether there is more than is kept."""


class JobOutput:
    """
    What one job prints; its files are made when it first does.

    @param limit: the most bytes of each that are kept; 0: all.
    """

    __slots__ = ("_attempt", "_closed", "_files", "_folder", "_job", "_limit", "_over", "_writes")

    def __init__(self, folder: str, job: int, attempt: int, limit: int = 0) -> None:
        self._limit = limit
        self._writes = 0
        self._over = False
        self._folder = folder
        self._job = job
        self._attempt = attempt
        self._files: dict[Stream, TextIO] = {}
        self._closed = False

    def file(self, stream: Stream) -> TextIO | None:
        """The file for C{stream}; C{None} when the job has ended."""
        if self._closed:
            return None
        file = self._files.get(stream)
        if file is None:
            descriptor = open_append(output_path(self._folder, self._job, self._attempt, stream))
            file = text_stream(descriptor, closefd=True)
            self._files[stream] = file
        if self._limit:
            self._writes += 1
            if self._writes % _OFTEN == 0:
                self._shorten(file)
        return file

    def _shorten(self, file: TextIO) -> None:
        with suppress(OSError, ValueError):
            self._over = shorten(file.fileno(), self._limit) or self._over

    def close(self) -> bool:
        """The job has ended: write out what it has printed. Returns whether that was more than is kept."""
        self._closed = True
        for file in self._files.values():
            with suppress(OSError, ValueError):
                file.flush()
                self._shorten(file)
                file.close()
        return self._over


class Redirected:
    """
    Stands for C{sys.stdout} or C{sys.stderr}, and passes everything on to the
    file of the job that the calling thread or task belongs to.
    """

    def __init__(self, stream: Stream, default: TextIO, output: Callable[[], JobOutput | None]) -> None:
        self._stream: Stream = stream
        self._default = default
        self._output = output

    def __getattr__(self, name: str) -> Any:
        output = self._output()
        file = None if output is None else output.file(self._stream)
        return getattr(self._default if file is None else file, name)


def redirect(output: Callable[[], JobOutput | None]) -> None:
    """
    Send what is printed to C{output()}; where that is C{None}, where it went before.
    """
    streams: list[Any] = [Redirected(stream, sys.stderr, output) for stream in STREAMS]
    sys.stdout, sys.stderr = streams
