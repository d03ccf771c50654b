"""
The smallest client that can keep a daemon busy: requests written ahead over
the raw socket, answers counted and not decoded. It takes the least of the
processors that a client can, and checks all the same that every job was
acknowledged and that each has succeeded.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator, Sequence
from time import perf_counter

from benchmarks.contender import Trouble
from jobd.client.dial import dial
from jobd.client.url import parse
from tests.daemon import PATIENCE, Daemon

WINDOW = 2000
"""Jobs sent and not yet announced as finished: enough that neither side waits for the other."""

_CHUNK = 1 << 18


@contextlib.contextmanager
def connected(daemon: Daemon) -> Iterator[socket.socket]:
    """A connection to it on which jobs may be submitted."""
    target = parse(daemon.url)
    with contextlib.closing(dial(target, PATIENCE)) as sock:
        if not target.path:
            sock.sendall(f"auth {daemon.token}\n".encode())
            if sock.recv(_CHUNK) != b"ok\n":
                raise Trouble("the daemon did not accept its own token")
        yield sock


class Tally:
    """
    Counts the answers in what comes from the daemon.

    @ivar accepted: how many jobs were acknowledged.
    @ivar finished: how many were announced as succeeded.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.finished = 0
        self._rest = b""

    def receive(self, data: bytes) -> None:
        """
        @raise Trouble: the connection has ended, a job was refused or did not succeed.
        """
        if not data:
            raise Trouble("the daemon closed the connection")
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if not newline:
            return
        lines = b"\n" + lines
        accepted, events = lines.count(b"\nok "), lines.count(b"\n* ")
        succeeded = lines.count(b" succeeded {")
        if succeeded != events or accepted + events != lines.count(b"\n"):
            raise Trouble("not what was expected: " + _first_wrong(lines))
        self.accepted += accepted
        self.finished += succeeded


def _first_wrong(lines: bytes) -> str:
    for line in lines[1:].split(b"\n"):
        if not line.startswith(b"ok ") and b" succeeded {" not in line:
            return line.decode(errors="replace")
    return "more than one job in a line"


def flood(sock: socket.socket, requests: Sequence[bytes]) -> float:
    """
    Submit every request, a line with one job each, never more than L{WINDOW}
    ahead of the finish events.

    @return: seconds from the first request to the last finish event.
    @raise Trouble: not all of the jobs were accepted and have succeeded.
    """
    tally, total = Tally(), len(requests)
    sent, waiting = 0, b""
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        with selectors.DefaultSelector() as selector:
            key = selector.register(sock, selectors.EVENT_READ)
            began = perf_counter()
            while tally.finished < total:
                room = min(WINDOW - (sent - tally.finished), total - sent)
                if room and not waiting:
                    waiting = b"".join(requests[sent : sent + room])
                    sent += room
                with contextlib.suppress(BlockingIOError):
                    while waiting:
                        waiting = waiting[sock.send(waiting) :]
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
                if wanted != key.events:
                    key = selector.modify(sock, wanted)
                ready = selector.select(PATIENCE)
                if not ready:
                    raise Trouble(f"the daemon was silent for {PATIENCE:.0f} s")
                if ready[0][1] & selectors.EVENT_READ:
                    tally.receive(sock.recv(_CHUNK))
            seconds = perf_counter() - began
    finally:
        sock.settimeout(timeout)
    if tally.accepted != total:
        raise Trouble(f"{total} jobs were submitted and {tally.accepted} acknowledged")
    return seconds


def one_at_a_time(sock: socket.socket, requests: Sequence[bytes]) -> list[float]:
    """
    Submit each request when the job before it has finished.

    @return: for each the seconds until its finish event.
    @raise Trouble: a job was not accepted or did not succeed.
    """
    tally, seconds = Tally(), []
    for done, request in enumerate(requests, 1):
        began = perf_counter()
        sock.sendall(request)
        while tally.finished < done:
            tally.receive(sock.recv(_CHUNK))
        seconds.append(perf_counter() - began)
    return seconds
