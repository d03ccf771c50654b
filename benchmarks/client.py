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
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from benchmarks.contender import Trouble
from jobd.client.dial import dial
from jobd.client.url import parse
from tests.daemon import PATIENCE, Daemon

WINDOW = 2000
"""Jobs sent and not yet announced as finished: enough that neither side waits for the other."""

CHUNK = 1 << 18
"""How much is read at a time."""

LITTLE = 1 << 12
"""The same where one line is waited for: memory for more is had from the system, and given back, with each reading."""


@contextlib.contextmanager
def connected(daemon: Daemon) -> Iterator[socket.socket]:
    """A connection to it on which jobs may be submitted."""
    target = parse(daemon.url)
    with contextlib.closing(dial(target, PATIENCE)) as sock:
        if not target.path:
            sock.sendall(f"auth {daemon.token}\n".encode())
            if sock.recv(CHUNK) != b"ok\n":
                raise Trouble("the daemon did not accept its own token")
        yield sock


class Tally:
    """
    Counts the answers in what comes from the daemon.

    @ivar accepted: how many requests were acknowledged.
    @ivar finished: how many jobs were announced as succeeded.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.finished = 0
        self._rest = b""

    def receive(self, data: bytes) -> None:
        """
        @raise Trouble: the connection has ended, a request was refused or a job did not succeed.
        """
        if not data:
            raise Trouble("the daemon closed the connection")
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if not newline:
            return
        lines = b"\n" + lines
        accepted, events = lines.count(b"\nok"), lines.count(b"\n* ")
        succeeded = lines.count(b" succeeded {")
        if succeeded != events or accepted + events != lines.count(b"\n"):
            raise Trouble("not what was expected: " + _first_wrong(lines))
        self.accepted += accepted
        self.finished += succeeded


def _first_wrong(lines: bytes) -> str:
    for line in lines[1:].split(b"\n"):
        if not line.startswith(b"ok") and b" succeeded {" not in line:
            return line.decode(errors="replace")
    return "more than one job in a line"


def exchange(sock: socket.socket, requests: Sequence[bytes], window: int, receive: Callable[[bytes], int]) -> float:
    """
    Send every request, never more than C{window} ahead of those that are done.

    @param receive: is given what comes, and says how many are done up to now.
    @return: seconds from the first request until all are done.
    @raise Trouble: nothing came for a long time.
    """
    total, done, sent, waiting = len(requests), 0, 0, b""
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        with selectors.DefaultSelector() as selector:
            key = selector.register(sock, selectors.EVENT_READ)
            began = perf_counter()
            while done < total:
                room = min(window - (sent - done), total - sent)
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
                    raise Trouble(f"there was no answer for {PATIENCE:.0f} s")
                if ready[0][1] & selectors.EVENT_READ:
                    done = receive(sock.recv(CHUNK))
            return perf_counter() - began
    finally:
        sock.settimeout(timeout)


def flood(sock: socket.socket, requests: Sequence[bytes]) -> float:
    """
    Submit every request, a line with one job each, never more than L{WINDOW}
    ahead of the finish events.

    @return: seconds from the first request to the last finish event.
    @raise Trouble: not all of the jobs were accepted and have succeeded.
    """
    tally = Tally()

    def receive(data: bytes) -> int:
        tally.receive(data)
        return tally.finished

    seconds = exchange(sock, requests, WINDOW, receive)
    if tally.accepted != len(requests):
        raise Trouble(f"{len(requests)} jobs were submitted and {tally.accepted} acknowledged")
    return seconds


def accept(sock: socket.socket, requests: Sequence[bytes], window: int) -> float:
    """
    Send requests after which no events come, and have each acknowledged.

    @return: seconds from the first request to the last reply.
    @raise Trouble: one was refused.
    """
    tally = Tally()

    def receive(data: bytes) -> int:
        tally.receive(data)
        return tally.accepted

    return exchange(sock, requests, window, receive)


def alone(sock: socket.socket, request: bytes, finishes: bool = True) -> None:
    """
    Send a request when nothing else is under way, and return when it is done.

    @param finishes: it is a job, whose finish event is waited for.
    @raise Trouble: it was refused, or the job did not succeed.
    """
    sock.sendall(request)
    # Only now: what is not needed to send it is not waited for.
    tally = Tally()
    while not (tally.finished if finishes else tally.accepted):
        tally.receive(sock.recv(LITTLE))
