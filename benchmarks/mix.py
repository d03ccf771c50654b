"""
One long call among many short ones, which come at a steady pace that leaves
the workers idle most of the time: any wait is then one behind the long call.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter

from benchmarks.client import CHUNK
from benchmarks.contender import TIMES, Contender, Measure, Trouble, times
from benchmarks.ours import call, client

_PACE = 0.002
"""Seconds between two short calls."""

_LONG = 1.0
"""Seconds the long one takes."""

_PATIENCE = 30.0

METRICS = TIMES
"""Of the short ones, from submission to the notice of the end."""


def _paced(sock: socket.socket, jobs: int, long: bool) -> list[float]:
    """
    Submit short calls at their pace, and a tenth of the way the long one.

    @return: seconds from when each short one was due to be sent to its finish event.
    """
    due: dict[bytes, float] = {}
    replies: list[float | None] = []
    seconds: list[float] = []
    rest, sent, wanted = b"", 0, jobs + long
    start = perf_counter()
    ended = 0
    while ended < wanted:
        next_at = start + sent * _PACE
        left = next_at - perf_counter()
        if sent < jobs and left <= 0:
            sock.settimeout(_PATIENCE)
            if long and sent == jobs // 10:
                sock.sendall(b"call time:sleep [%f]\n" % _LONG)
                replies.append(None)
            sock.sendall(call(sent))
            replies.append(next_at)
            sent += 1
            continue
        sock.settimeout(left if sent < jobs else _PATIENCE)
        try:
            data = sock.recv(CHUNK)
        except TimeoutError:
            if sent < jobs:
                continue
            raise Trouble("not all calls have ended") from None
        now = perf_counter()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            words = line.split(None, 4)
            if words[0] == b"ok":
                # Replies come in the order of the requests.
                if (at := replies.pop(0)) is not None:
                    due[words[1]] = at
            elif words[:1] == [b"*"] and words[3] == b"succeeded":
                ended += 1
                if words[2] in due:
                    seconds.append(now - due.pop(words[2]))
            else:
                raise Trouble(f"not what was expected: {line!r}")
    return seconds


@contextmanager
def _mixed(long: bool) -> Iterator[Measure]:
    with client("memory") as sock:

        def measure(jobs: int) -> tuple[float, float]:
            return times(_paced(sock, jobs, long))

        measure(100)
        yield measure


WITH = Contender("jobd", "kept in memory only; the long one sleeps for a second", partial(_mixed, True))
WITHOUT = Contender("without the long one", "the same short ones", partial(_mixed, False))
