"""
The call worker's side of the jobs' output.

Calls share the descriptors 1 and 2 of their worker, and most of them print
nothing. So these lead to a scratch file, which gets the job's own name when a
job has ended that has written something, or when a job takes so long that
somebody may want to follow it. A silent job costs one C{lseek} for each stream.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from jobd.worker.output import STREAMS, Stream, live_output_path, move, open_append, output_path, shorten, text_stream


class Scratch:
    """
    One of a worker's two output descriptors and the file behind it.

    @param log: is told, in a sentence, of output that is lost.
    @param limit: the most bytes that are kept of what one job writes; 0: all.
    """

    def __init__(self, folder: str, stream: Stream, descriptor: int, log: Callable[[str], None], limit: int) -> None:
        self._folder = folder
        self._stream: Stream = stream
        self._descriptor = descriptor
        self._log = log
        self._published = ""
        self._limit = limit
        self._cut = False
        self._path = live_output_path(folder, os.getpid(), stream)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._install()

    def _install(self) -> None:
        scratch = open_append(self._path)
        if scratch == self._descriptor:
            # A call has closed it, and its number was the lowest free one.
            os.set_inheritable(scratch, True)
            return
        os.dup2(scratch, self._descriptor)
        os.close(scratch)

    def publish(self, job: int, attempt: int) -> None:
        """Give the file the name of the job that is running, to be followed while it grows."""
        if sys.platform != "win32" and not self._published:
            target = output_path(self._folder, job, attempt, self._stream)
            with suppress(OSError):
                move(self._path, target)
                self._published = target

    def cut(self) -> None:
        """Take off what is over the limit; whoever writes goes on behind what is left."""
        if self._limit:
            with suppress(OSError):
                self._shorten(self._size())

    def _shorten(self, size: int) -> None:
        if size > self._limit:
            self._cut = shorten(self._published or self._path, self._limit) or self._cut

    def collect(self, job: int, attempt: int) -> bool:
        """
        Make what was written since the last time the output of a job that has
        ended. A failure costs that output, not the worker: it is logged. Returns whether there was more than is kept.
        """
        cut = False
        try:
            size = self._size()
            if size or self._published:
                if self._limit:
                    self._shorten(size)
                cut, self._cut = self._cut, False
                self._hand_over(size, job, attempt)
        except OSError as problem:
            self._log(f"output of job {job} may be lost: {problem}")
            self._published = ""
            with suppress(OSError):
                self._install()
                os.ftruncate(self._descriptor, 0)
        return cut

    def _size(self) -> int:
        try:
            return os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            # The call has closed the descriptor, or put a pipe in its place.
            size = os.stat(self._published or self._path).st_size
            if not (size or self._published):
                self._install()
            return size

    def discard(self) -> None:
        """Remove the file when the worker ends."""
        with suppress(OSError):
            os.unlink(self._path)

    if sys.platform == "win32":

        def _hand_over(self, size: int, job: int, attempt: int) -> None:
            # An open file cannot be renamed there.
            target = open_append(output_path(self._folder, job, attempt, self._stream))
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            while data := os.read(self._descriptor, 1 << 16):
                os.write(target, data)
            os.close(target)
            os.ftruncate(self._descriptor, 0)

    else:

        def _hand_over(self, size: int, job: int, attempt: int) -> None:
            if not self._published:
                move(self._path, output_path(self._folder, job, attempt, self._stream))
            elif size:
                # If the file is gone, the log is to say so.
                os.stat(self._published)
            else:
                with suppress(OSError):
                    os.unlink(self._published)
            self._published = ""
            self._install()


def _written() -> bool:
    """Whether there may be anything in one of the two files."""
    try:
        return bool(os.lseek(1, 0, os.SEEK_END) or os.lseek(2, 0, os.SEEK_END))
    except OSError:
        return True


class Printed:
    """Both of them, with C{sys.stdout} and C{sys.stderr} on top. Two threads may use it."""

    def __init__(self, folder: str, log: Callable[[str], None], limit: int = 0) -> None:
        self._lock = Lock()
        self._published = False
        self._scratches = [Scratch(folder, stream, number, log, limit) for number, stream in enumerate(STREAMS, 1)]
        self._ended: tuple[bytes, bytes] | None = None
        self._out, self._err = text_stream(1), text_stream(2)
        sys.stdout, sys.stderr = self._out, self._err

    def publish(self, job: bytes, attempt: bytes, still: Callable[[], bool]) -> None:
        """Let the output of a running job, named as on the link, be followed, if it is C{still} the one that runs."""
        with self._lock:
            # One whose output was collected may still pass for the one that runs: the file is the next one's by now.
            if still() and (job, attempt) != self._ended:
                self._published = True
                for scratch in self._scratches:
                    scratch.publish(int(job), int(attempt))

    def cut(self) -> None:
        """Take off what is over the limit of what the running job has written."""
        with self._lock:
            for scratch in self._scratches:
                scratch.cut()

    def collect(self, job: bytes, attempt: bytes) -> bool:
        """
        Make what was printed since the last time the output of a job that has ended, named as on the link. Returns
        whether there was more than is kept.
        """
        whole = True
        try:
            self._out.flush()
            self._err.flush()
        except (OSError, ValueError):
            whole = False
        cut = False
        with self._lock:
            self._ended = (job, attempt)
            if self._published or _written():
                # A list: each has to.
                cut = any([scratch.collect(int(job), int(attempt)) for scratch in self._scratches])
                self._published = False
        if not whole:
            # The call has closed one.
            self._out, self._err = text_stream(1), text_stream(2)
        # It may also have put others in their place.
        sys.stdout, sys.stderr = self._out, self._err
        return cut

    def discard(self) -> None:
        """Remove the scratch files when the worker ends."""
        for scratch in self._scratches:
            scratch.discard()
