"""The outcome of an attempt and the line that reports it."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import msgspec

_PLATFORM_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Usage(NamedTuple):
    """
    What an attempt has used.

    @ivar user: seconds of processor time in user mode; negative where it
        cannot be told apart from that of other jobs.
    @ivar system: the same, in the kernel.
    @ivar max_rss: bytes; 0 where it is not known.
    """

    user: float
    system: float
    max_rss: int


UNKNOWN = Usage(-1.0, -1.0, 0)

Used = tuple[float, float, int]
"""The same without names: to make a L{Usage} costs as much as to ask the system."""

if sys.platform == "win32":

    def process_usage() -> Used:
        """What this process has used so far."""
        import os

        times = os.times()
        return times.user, times.system, 0

    def children_time() -> tuple[float, float]:
        """User and system seconds of the ended children of this process; not known here."""
        return (0.0, 0.0)

    def thread_time() -> tuple[float, float] | None:
        """User and system seconds of the calling thread; C{None} where they are not known."""
        return None

else:
    import resource
    from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

    def usage(record: resource.struct_rusage) -> Usage:
        """The system's record in jobd's units."""
        return Usage(record[0], record[1], record[2] * _PLATFORM_RSS_UNIT)

    def process_usage() -> Used:
        """What this process has used so far."""
        record = getrusage(RUSAGE_SELF)
        return record[0], record[1], record[2] * _PLATFORM_RSS_UNIT

    def children_time() -> tuple[float, float]:
        """User and system seconds of the ended children of this process."""
        record = getrusage(RUSAGE_CHILDREN)
        return record[0], record[1]

    def thread_time() -> tuple[float, float] | None:
        """User and system seconds of the calling thread; C{None} where they are not known."""
        if sys.platform == "darwin":
            return None
        record = getrusage(resource.RUSAGE_THREAD)
        return record[0], record[1]


class Ended(NamedTuple):
    """
    How an attempt ended.

    @ivar state: C{b"succeeded"}, C{b"failed"} or C{b"cancelled"}.
    @ivar extra: further members of the outcome, as JSON that begins with a comma.
    """

    state: bytes
    exit_code: int
    extra: bytes = b""


def members(**values: Any) -> bytes:
    """The given values as JSON members for L{Ended.extra}; what is C{None} is left out."""
    return b"".join(
        b', "%s": %s' % (name.encode(), msgspec.json.encode(value))
        for name, value in values.items()
        if value is not None
    )


def failed(error: str, exit_code: int = 1) -> Ended:
    """An attempt that could not do what it should, and why."""
    return Ended(b"failed", exit_code, members(error=error.encode("utf-8", "backslashreplace").decode()))


def done(job: bytes, attempt: bytes, ended: Ended, wall: float, used: Used) -> bytes:
    """The C{D} line."""
    user, system, max_rss = used
    state, exit_code, extra = ended
    seconds = b"%.6f" % wall
    if user < 0.0:
        return _WITHOUT_TIME % (job, attempt, state, seconds, exit_code, seconds, max_rss, attempt, extra)
    return _WHOLE % (job, attempt, state, seconds, exit_code, seconds, user, system, max_rss, attempt, extra)


_WITHOUT_TIME = b'D %b %b %b %b {"exit_code": %d, "wall": %b, "max_rss": %d, "attempt": %b%b}\n'
_WHOLE = b'D %b %b %b %b {"exit_code": %d, "wall": %b, "user": %.6f, "sys": %.6f, "max_rss": %d, "attempt": %b%b}\n'
