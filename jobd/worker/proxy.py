"""Standard output and error of a process in which many jobs print at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from jobd.worker.output import STREAMS, Stream, open_append, output_path, text_stream


class JobOutput:
    """What one job prints; its files are made when it first does."""

    __slots__ = ("_attempt", "_closed", "_files", "_folder", "_job")

    def __init__(self, folder: str, job: int, attempt: int) -> None:
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
        return file

    def close(self) -> None:
        """The job has ended: write out what it has printed."""
        self._closed = True
        for file in self._files.values():
            with suppress(OSError, ValueError):
                file.close()


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
