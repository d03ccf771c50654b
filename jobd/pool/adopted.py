"""A worker that an earlier daemon has started, and that has outlived it: the link is a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from jobd.actions import Start
from jobd.alarm import Clock
from jobd.pool.estate import Estate
from jobd.pool.journals import Found, Journals
from jobd.pool.worker import Attempt, Owner, Worker

UNWANTED_GRACE = 5.0
"""Seconds between TERM and KILL for an attempt that the store knows nothing of."""


class AdoptedWorker(Worker, Protocol):
    """
    It says what it still runs and what it has reported of late, and from then on is like any other, but that it is
    given nothing more, and goes once all it had is kept.

    @ivar answered: it has said all that.
    @param estate: what it may have.
    @param answered: called when it has said all that.
    """

    def __init__(
        self,
        found: Found,
        clock: Clock,
        owner: Owner,
        estate: Estate,
        answered: Callable[[AdoptedWorker], None],
        journals: Journals,
    ) -> None:
        super().__init__(found.lane, found.name, clock, owner)
        self.pid = found.pid
        self.closing = True
        self._found = found
        self._estate = estate
        self._tell = answered
        self.answered = False
        self._news = False
        self._acknowledged = 0
        self._journals = journals
        self._unwanted: set[Attempt] = set()

    @property
    def spent(self) -> bool:
        """It runs nothing more, and all that is of interest of what it has reported is kept."""
        heard = not self._news or self._acknowledged == self.reports
        return self.answered and heard and not self.inflight and not self._unwanted

    def kept(self, reports: int) -> None:
        super().kept(reports)
        self._acknowledged = reports

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.received(data)

    def _said(self, line: bytes) -> None:
        if line == b"E":
            self.answered = True
            self._tell(self)
        elif line[:2] == b"A ":
            _, job_id, attempt = line.split(b" ")
            self._adopt((int(job_id), int(attempt)))
        else:
            super()._said(line)

    def _adopt(self, attempt: Attempt) -> None:
        start = self._estate.claim(attempt)
        if start is not None:
            self.inflight[attempt] = start
        else:
            self._unwanted.add(attempt)
            self.ask_to_end(*attempt, UNWANTED_GRACE)

    def claim(self, attempt: Attempt) -> Start | None:
        self._unwanted.discard(attempt)
        start = self.inflight.pop(attempt, None) or self._estate.claim(attempt)
        self._news = self._news or start is not None
        return start

    def _write(self, data: bytes) -> None:
        if self.connected:
            self.transport.write(data)

    def let_go(self) -> None:
        if self.connected:
            self.transport.loseWriteConnection()

    def kill(self) -> None:
        self._journals.kill(self._found)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.connected = 0
        self._owner.gone(self)
