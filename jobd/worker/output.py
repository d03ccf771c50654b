"""
Where the output of jobs is.

Each attempt has two files, C{FOLDER/<id // 1000>/<id>.<attempt>.out} and
C{.err}. A missing file is an empty one: silent jobs leave none behind. While a
job runs its files are there already and grow (those of a call from a few
hundredths of a second on), so they can be followed.

An empty file may be given another name and used for another job, see
L{jobd.worker.spool}: whoever reads one asks L{still_names} afterwards.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Literal, TextIO

Stream = Literal["out", "err"]
STREAMS: tuple[Stream, Stream] = ("out", "err")

_BINARY = getattr(os, "O_BINARY", 0)
_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY


def output_folder(folder: str, job: int) -> str:
    """Where the files of this job and its neighbours are; it need not exist."""
    return f"{folder}{os.sep}{job // 1000}"


def output_path(folder: str, job: int, attempt: int, stream: Stream) -> str:
    """The file that holds what this attempt wrote to C{stream}; it need not exist."""
    return f"{output_folder(folder, job)}{os.sep}{job}.{attempt}.{stream}"


def still_names(path: str, opened: os.stat_result) -> bool:
    """
    Whether C{path} still is the file that was opened, whose C{fstat} is
    C{opened}. Ask I{after} reading: an empty file may have become that of another
    job since it was opened. It gets its new name before that job begins, so if
    the old name still holds, then so does what was read.
    """
    try:
        return os.path.samestat(os.stat(path), opened)
    except OSError:
        return False


def live_output_path(folder: str, pid: int, stream: Stream) -> str:
    """Where a call worker's output goes until it is known which call printed it."""
    return f"{folder}{os.sep}.{pid}.{stream}"


def claim_output(folder: str, pid: int, job: int, attempt: int) -> None:
    """Give what a call worker that has died left unfinished to the job it was running."""
    for stream in STREAMS:
        source = live_output_path(folder, pid, stream)
        with suppress(OSError):
            if os.path.getsize(source):
                move(source, output_path(folder, job, attempt, stream))


def discard_scratch(folder: str, pid: int) -> None:
    """Remove the scratch files of a worker that has ended."""
    for stream in STREAMS:
        with suppress(OSError):
            os.unlink(live_output_path(folder, pid, stream))


def open_append(path: str) -> int:
    """
    A descriptor that appends to the file, which is made, readable for the user
    only, with its folder. Programs do not inherit it. Raises L{OSError}.
    """
    try:
        return os.open(path, _APPEND, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, _APPEND, 0o600)


def shorten(file: str | int, limit: int) -> bool:
    """
    Take off what is over C{limit} bytes; whoever appends to the file goes on behind what is left. Whether there was
    any; a limit of 0 is none. Raises L{OSError}.
    """
    if not limit or os.stat(file).st_size <= limit:
        return False
    os.truncate(file, limit)
    return True


def move(source: str, target: str) -> None:
    """Rename a file, into a folder that is made if need be. Raises L{OSError}."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        os.rename(source, target)


def text_stream(descriptor: int, closefd: bool = False) -> TextIO:
    """
    What C{print} writes to: UTF-8, whatever the locale, and line buffered, so
    that whoever follows the job sees each line when it is printed.
    """
    return open(
        descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="\n", buffering=1, closefd=closefd
    )
