"""
The calls of the kill loop. Like C{job.c}, each tells the witness file when it begins and when it ends, and holds
a lock on its byte of that file while it runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform != "linux":
    raise ImportError("the kill loop needs locks that belong to an open file, as Linux has them")

_FLOCK = struct.Struct("hhqqi4x")


class Failed(Exception):
    """This attempt was to fail."""


@contextmanager
def witnessed(witness: str, name: str, number: int, job: str, attempt: str, fails: bool) -> Iterator[None]:
    """Tell the witness that the block is run, and raise at its end if it C{fails}."""
    handle = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def tell(what: str, status: int) -> None:
        line = f"{name} {job} {attempt} {os.getpid()} {what} {time.monotonic_ns()} {status}\n"
        os.write(handle, line.encode())

    try:
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0))
        except OSError:
            tell("overlap", 0)
        tell("start", 0)
        yield
        tell("end", int(fails))
        if fails:
            raise Failed(name)
    finally:
        os.close(handle)


def call(witness: str, name: str, number: int, milliseconds: int, fails: int) -> int:
    """In a process of its own; fails in its first C{fails} attempts."""
    job, attempt = os.environ["JOBD_JOB_ID"], os.environ["JOBD_ATTEMPT"]
    with witnessed(witness, name, number, job, attempt, int(attempt) <= fails):
        time.sleep(milliseconds / 1000)
    return number


def thread(witness: str, name: str, number: int, milliseconds: int) -> int:
    """In a thread of the io lane, where nobody says which attempt this is."""
    with witnessed(witness, name, number, "0", "0", False):
        time.sleep(milliseconds / 1000)
    return number


async def coroutine(witness: str, name: str, number: int, milliseconds: int) -> int:
    """In the event loop of the io lane."""
    with witnessed(witness, name, number, "0", "0", False):
        await asyncio.sleep(milliseconds / 1000)
    return number
