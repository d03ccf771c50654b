"""
The server's side of connections: it makes a session for each, as many at a time as may be; who comes then is told so.
"""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from jobd import wire
from jobd.access import Access, Peer
from jobd.alarm import Timer
from jobd.daemon import LOG_FULL, Daemon
from jobd.errors import Busy
from jobd.outputs import Outputs
from jobd.session import TIME_TO_AUTH, Handler, ServerInfo, Session

MOST_REFUSED = 32
"""Connections that may wait to be told that they are too many; any more are closed without a word."""


class Refused(Protocol):
    """A connection that is one too many: it is told so, and closed."""

    transport: Any

    def __init__(self, factory: SessionFactory) -> None:
        self._refused = factory.refused
        self._clock = factory.daemon.clock
        self._timer: Timer | None = None

    def connectionMade(self) -> None:
        if len(self._refused) >= MOST_REFUSED:
            self.transport.abortConnection()
            return
        self._refused.add(self)
        self.transport.write(wire.error(b"", Busy("there are as many connections as can be served; try again later")))
        if isinstance(self.transport, ProtocolWrapper):
            self.transport.loseConnection()
        else:
            # A whole close, with something it has said unread, would take the line back.
            self.transport.loseWriteConnection()
        self._timer = self._clock.callLater(TIME_TO_AUTH, self.transport.abortConnection)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._refused.discard(self)
        if self._timer is not None:
            self._timer.cancel()


class SessionFactory(ServerFactory):
    """
    Makes a session for each connection.

    @param verbs: for each verb its handler, and whether it is open to those who have not proved who they are.
    @param most: sessions at a time; None: as many as come. Those of whom nobody knows yet who they are may have
        half of them, so that they cannot keep all others out.
    @ivar refused: the connections that are being told that they are too many.
    @ivar turned_away: how many there have been.
    """

    log = Logger()
    noisy = False
    _numbers = itertools.count(1)

    def __init__(
        self,
        daemon: Daemon,
        outputs: Outputs,
        access: Access,
        info: ServerInfo,
        verbs: dict[str, tuple[Handler, bool]],
        most: int | None = None,
    ) -> None:
        self.daemon = daemon
        self.outputs = outputs
        self.access = access
        self.info = info
        self.verbs = verbs
        self.most = most
        self.refused: set[Refused] = set()
        self.turned_away = 0
        self._told_full = float("-inf")
        self.sessions: set[Session] = set()
        self._empty: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> Session | Refused:
        peer = Peer.at(addr)
        if self.most is not None and self._is_full(self.most, peer.identity is None):
            return self._refuse()
        session = Session(next(self._numbers), peer, self)
        session.factory = self
        self.sessions.add(session)
        return session

    def _is_full(self, most: int, stranger: bool) -> bool:
        here = len(self.sessions)
        if not stranger or here < most // 2:
            return here >= most
        return here >= most or sum(one.peer.identity is None for one in self.sessions) >= most // 2

    def _refuse(self) -> Refused:
        self.turned_away += 1
        if self.daemon.clock.seconds() - self._told_full >= LOG_FULL:
            self._told_full = self.daemon.clock.seconds()
            self.log.warn("there are {most} connections: no more can be served, new ones are refused", most=self.most)
        return Refused(self)

    def closed(self, session: Session) -> None:
        self.sessions.discard(session)
        if not self.sessions:
            waiting, self._empty = self._empty, []
            for done in waiting:
                done.callback(None)

    def close(self) -> Deferred[None]:
        """Hang up on everybody; the daemon has told all that it will. Fires once all are gone."""
        done: Deferred[None] = Deferred()
        self._empty.append(done)
        for session in list(self.sessions):
            session.close()
        for refused in list(self.refused):
            refused.transport.abortConnection()
        if not self.sessions:
            self._empty = []
            done.callback(None)
        return done
