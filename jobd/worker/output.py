"""
Where the output of jobs goes.

Each attempt has two files, C{FOLDER/<id // 1000>/<id>.<attempt>.out} and
C{.err}. A missing file is an empty one: silent jobs leave none behind.

A command writes straight into its own files. Calls share their worker's
descriptors 1 and 2, and most of them print nothing: so these lead to a
scratch file of the worker, which is renamed to the job's own name after a job
that has written something. Until then L{live_output_path} is where the output
of a running call can be followed, and after a worker has died L{claim_output}
gives it to the job that was running.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Stream = Literal["out", "err"]
STREAMS: tuple[Stream, Stream] = ("out", "err")

_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


def output_path(folder: str, job: int, attempt: int, stream: Stream) -> str:
    """The file that holds what this attempt wrote to C{stream}; it need not exist."""
    return f"{folder}{os.sep}{job // 1000}{os.sep}{job}.{attempt}.{stream}"


def live_output_path(folder: str, pid: int, stream: Stream) -> str:
    """Where the call that the worker C{pid} is running just now writes to."""
    return f"{folder}{os.sep}.{pid}.{stream}"


def claim_output(folder: str, pid: int, job: int, attempt: int) -> None:
    """Give what a call worker that has died left unfinished to the job it was running."""
    for stream in STREAMS:
        source = live_output_path(folder, pid, stream)
        with suppress(OSError):
            if os.path.getsize(source):
                _move(source, output_path(folder, job, attempt, stream))


def discard_scratch(folder: str, pid: int) -> None:
    """Remove the scratch files of a worker that has ended."""
    for stream in STREAMS:
        with suppress(OSError):
            os.unlink(live_output_path(folder, pid, stream))


def open_output(folder: str, job: int, attempt: int, stream: Stream) -> int:
    """
    A descriptor that appends to this attempt's own file, which is made, readable
    for the user only. Programs do not inherit it. Raises L{OSError}.
    """
    path = output_path(folder, job, attempt, stream)
    try:
        return os.open(path, _APPEND, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, _APPEND, 0o600)


def drop_if_empty(folder: str, job: int, attempt: int, stream: Stream) -> None:
    """Remove this attempt's file if nothing was written to it."""
    path = output_path(folder, job, attempt, stream)
    with suppress(OSError):
        if not os.stat(path).st_size:
            os.unlink(path)


def _move(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.rename(source, target)


class Scratch:
    """One of a worker's two output descriptors and the file behind it."""

    def __init__(self, folder: str, stream: Stream, descriptor: int, log: Callable[[str], None]) -> None:
        self._folder = folder
        self._stream: Stream = stream
        self._descriptor = descriptor
        self._log = log
        self._path = live_output_path(folder, os.getpid(), stream)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._install()

    def _install(self) -> None:
        scratch = os.open(self._path, _APPEND, 0o600)
        os.dup2(scratch, self._descriptor)
        os.close(scratch)

    def collect(self, job: int, attempt: int) -> None:
        """
        Make what was written since the last time this attempt's own file. A
        failure costs that output, not the worker: it is logged.
        """
        try:
            if not os.lseek(self._descriptor, 0, os.SEEK_END):
                return
        except OSError:
            # The call has closed the descriptor or put a pipe in its place.
            with suppress(OSError):
                self._install()
            if not self.written():
                return
        try:
            self._hand_over(output_path(self._folder, job, attempt, self._stream))
        except OSError as problem:
            self._log(f"the output of job {job} is lost: {problem}")
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)

    def written(self) -> int:
        """How many bytes were written since the last L{collect}."""
        try:
            return os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            return 0

    def discard(self) -> None:
        """Remove the file when the worker ends."""
        with suppress(OSError):
            os.unlink(self._path)

    if sys.platform == "win32":

        def _hand_over(self, target: str) -> None:
            # An open file cannot be renamed there.
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            with open(target, "ab") as file:
                while data := os.read(self._descriptor, 1 << 16):
                    file.write(data)
            os.ftruncate(self._descriptor, 0)

    else:

        def _hand_over(self, target: str) -> None:
            _move(self._path, target)
            self._install()


class Printed:
    """Both scratch files of a worker that runs one call at a time, with C{sys.stdout} and C{sys.stderr} on them."""

    def __init__(self, folder: str, log: Callable[[str], None]) -> None:
        self._scratches = [Scratch(folder, stream, number, log) for number, stream in enumerate(STREAMS, 1)]
        self._out = self._err = sys.stdout
        self._reopen()

    def _reopen(self) -> None:
        # Line buffered: whoever follows the job sees each line when it is printed.
        self._out, self._err = (
            open(number, "w", encoding="utf-8", errors="backslashreplace", newline="\n", buffering=1, closefd=False)
            for number in (1, 2)
        )
        sys.stdout, sys.stderr = self._out, self._err

    def collect(self, job: int, attempt: int) -> None:
        """Make what was printed since the last time this attempt's output."""
        try:
            self._out.flush()
            self._err.flush()
        except (OSError, ValueError):
            self._reopen()
        sys.stdout, sys.stderr = self._out, self._err
        for scratch in self._scratches:
            scratch.collect(job, attempt)

    def discard(self) -> None:
        """Remove the scratch files when the worker ends."""
        for scratch in self._scratches:
            scratch.discard()
