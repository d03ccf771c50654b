"""
A session: one client, over whatever transport it came.

    bytes -> lines -> requests -> a verb -> events for the daemon
    actions of the daemon -> lines -> bytes

A session handles its requests one after the other. One that has to ask the
store first keeps those behind it waiting, and nobody else. After so many in a
row the others have their turn. What the client does not take is bounded: above
a limit no more requests are read, above another the client is cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any
from typing import Protocol as Interface

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from jobd import actions, events, prompt, wire
from jobd.access import Access, Peer
from jobd.alarm import Clock, Timer
from jobd.daemon import Daemon
from jobd.errors import Internal, JobdError, NotAuthenticated, Slow
from jobd.events import Event
from jobd.feed import Feed
from jobd.follow import Following
from jobd.outputs import Outputs
from jobd.wire import Request

UNREAD = 8 * 1024 * 1024
"""Bytes that wait for a client that does not read; then it is cut off."""

UNREAD_PAUSE = 1024 * 1024
"""Bytes that wait for a client when no more of its requests are handled."""

UNANSWERED = 2048
"""Requests of one client that may be without a reply when no more of them are handled."""

IN_A_ROW = 128
"""Requests of one client that are handled before it is the others' turn."""

TIME_TO_AUTH = 5.0
"""Seconds."""

Handler = Callable[["Session", Request], "Coroutine[Deferred[Any], Any, None] | None"]


@attrs.define
class ServerInfo:
    """What C{hello} and C{stats} say of the daemon itself."""

    version: str
    state_dir: str
    started: float
    clock: Clock


class Server(Interface):
    """
    What a session knows of those that it is one of.

    @ivar verbs: for each verb its handler, and whether it is open to those who have not proved who they are.
    @ivar most: how many sessions there may be; None: as many as come.
    @ivar turned_away: how many connections were one too many.
    """

    daemon: Daemon
    outputs: Outputs
    access: Access
    info: ServerInfo
    verbs: dict[str, tuple[Handler, bool]]
    most: int | None
    turned_away: int

    def closed(self, session: Session) -> None:
        """It is gone."""


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Session(Protocol):
    """
    One client.

    @ivar conn: the connection's number, which the scheduler knows it by.
    @ivar server: it and all the others.
    """

    log = Logger()
    transport: Any

    def __init__(self, conn: int, peer: Peer, server: Server) -> None:
        self.conn = conn
        self.peer = peer
        self.daemon = server.daemon
        self.outputs = server.outputs
        self.access = server.access
        self.info = server.info
        self.gone = False
        self.feed: Feed | None = None
        self._following: Following | None = None
        self.server = server
        self._verbs = server.verbs
        self._lines = wire.Lines(wire.MAX_LINE if peer.identity else wire.MAX_LINE_BEFORE_AUTH)
        self._requests: deque[bytes | None] = deque()
        self._first = True
        self._busy = False
        self._working = False
        self._resting = False
        self._unread = False
        self._unanswered = 0
        self._input_over = False
        self._finishing = False
        self._closing = False
        self._deaf = False
        self._cut = False
        self._held = 0
        self._out: list[bytes] = []
        self._out_size = 0
        self._blocked = False
        self._drained: list[Deferred[None]] = []
        self._auth_timer: Timer | None = None

    # The connection.

    def connectionMade(self) -> None:
        if hasattr(self.transport, "setTcpNoDelay") and self.peer.host:
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        self.daemon.listeners[self.conn] = self
        if self.peer.identity is None:
            self._auth_timer = self.daemon.clock.callLater(TIME_TO_AUTH, self._too_late)

    def handshakeCompleted(self) -> None:
        certificate = self.transport.getPeerCertificate()
        if certificate is not None:
            name = certificate.get_subject().CN or "certificate"
            self.authenticated(f"cert:{name}")

    def authenticated(self, identity: str) -> None:
        self.peer.identity = identity
        self._lines.limit = wire.MAX_LINE
        if self._auth_timer is not None:
            self._auth_timer.cancel()
            self._auth_timer = None

    def _too_late(self) -> None:
        self._auth_timer = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.gone = True
        self._requests.clear()
        self._out.clear()
        # What knows this session is let go of: the collector, which would have to find such circles, seldom comes.
        if self._auth_timer is not None:
            self._auth_timer.cancel()
            self._auth_timer = None
        if self.feed is not None:
            self.feed.stop()
            self.feed = None
        if self._following is not None:
            self._following.stop()
            self._following = None
        self.daemon.listeners.pop(self.conn, None)
        self.daemon.handle(events.Disconnected(self.conn))
        self.server.closed(self)
        self._release_drained()

    def readConnectionLost(self) -> None:
        self._input_over = True
        self._work()

    def writeConnectionLost(self) -> None:
        self.transport.abortConnection()

    # In.

    def dataReceived(self, data: bytes) -> None:
        self.daemon.at_once(self._received, data)

    def _received(self, data: bytes) -> None:
        start = 0
        while self.peer.identity is None and start < len(data) and not self._deaf:
            # An auth gives the lines behind it another limit, though they came with it.
            end = data.find(b"\n", start) + 1 or len(data)
            self._take_in(data[start:end])
            start = end
        self._take_in(data[start:])

    def _take_in(self, data: bytes) -> None:
        if self._deaf or not data:
            return
        self._requests.extend(self._lines.feed(data))
        self._work()

    def _work(self) -> None:
        if self._working or self._resting:
            # A request that was handled at once comes back here: the loop below goes on by itself.
            return
        self._working = True
        requests = self._requests
        try:
            for _ in range(IN_A_ROW):
                if not requests or self._busy or self.gone or self._congested:
                    break
                line = requests.popleft()
                if line != b"":
                    self._unanswered += 1
                    self._take(line)
            else:
                self._rest()
        finally:
            self._working = False
        self._steer()
        if self._input_over and not self._requests and not self._busy and not self._finishing and not self.gone:
            self._finishing = True
            self.daemon.handle(events.InputEnded(self.conn))

    def _rest(self) -> None:
        """Let the others have their turn, and then go on."""

        def go_on(_: None) -> None:
            self._resting = False
            self._work()

        self._resting = True
        self.daemon.next_turn().addCallback(go_on)

    @property
    def _congested(self) -> bool:
        return self._unanswered >= UNANSWERED or self._out_size >= UNREAD_PAUSE

    def _steer(self) -> None:
        """Read no more from a client whose requests have piled up, until they are worked off."""
        if self.gone or self._input_over:
            return
        full = bool(self._requests)
        if full == self._unread:
            return
        self._unread = full
        if full:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _take(self, line: bytes | None) -> None:
        request: Request | None = None
        try:
            if line is None:
                raise wire.too_long(self._lines.limit)
            if self._first:
                self._first = False
                if line.split(b" ", 1)[0] in wire.HTTP_METHODS:
                    self._close_browser()
                    return
            request = wire.parse_request(line)
            handler, open_to_all = self._verbs[request.verb]
            if self.peer.identity is None and not open_to_all:
                raise NotAuthenticated("say 'auth TOKEN' first; the token is in the daemon's token file")
            waiting = handler(self, request)
        except JobdError as problem:
            self.refuse(problem.tag if request is None else request.tag, problem)
            if line is None and self.peer.identity is None:
                self.hang_up()
        except Exception:
            assert request is not None
            self._failed(request, Failure())
        else:
            if waiting is not None:
                self._busy = True
                Deferred.fromCoroutine(waiting).addErrback(self._went_wrong, request).addBoth(self._go_on)

    def _close_browser(self) -> None:
        self.log.warn("closed a connection that speaks HTTP")
        self._ignore_the_rest()
        self.transport.abortConnection()

    def _went_wrong(self, failure: Failure, request: Request) -> None:
        if isinstance(failure.value, JobdError):
            self.refuse(request.tag, failure.value)
        else:
            self._failed(request, failure)

    def _failed(self, request: Request, failure: Failure) -> None:
        self.log.failure("request {verb} failed", failure, verb=request.verb)
        self.refuse(request.tag, Internal("this should not have happened; the daemon's log has more"))

    def _go_on(self, _: object) -> None:
        self._busy = False
        self._work()

    def tell(self, event: Event) -> None:
        """Hand an event of this client to the daemon. Once it is gone it asks for nothing any more."""
        if not self.gone:
            self.daemon.handle(event)

    # Replies: all of them take their turn among the daemon's actions.

    def reply(self, request: Request, text: bytes = b"") -> None:
        self.daemon.gather([actions.Reply(self.conn, request.tag, text, plain=True)])

    def refuse(self, tag: bytes, problem: JobdError) -> None:
        self.daemon.gather([actions.Refuse(self.conn, tag, problem, plain=True)])

    # Out: what the daemon calls.

    def send(self, line: bytes) -> None:
        if not self._cut:
            self._out.append(line)
            self._out_size += len(line)

    def announce(self, line: bytes) -> None:
        if self.feed is None and not self._cut:
            self._out.append(line)
            self._out_size += len(line)

    def answer(self, line: bytes) -> None:
        self._unanswered -= 1
        if not self._cut:
            self._out.append(line)
            self._out_size += len(line)

    def flush(self) -> None:
        if self.gone:
            return
        if not self._blocked and self._out:
            self._write()
        elif self._out_size > UNREAD:
            self._cut_off()
        if self._requests and not self._busy and self._unanswered <= UNANSWERED // 2:
            self._work()

    def _write(self) -> None:
        data = b"".join(self._out)
        self._out, self._out_size = [], 0
        prompt.write(self.transport, data)

    def _cut_off(self) -> None:
        problem = Slow("this client does not read fast enough; connect again and resume with 'watch'")
        # What comes now would look as if nothing were missing before it.
        self._cut = True
        self._out, self._out_size = [], 0
        self.transport.write(wire.error(b"", problem))
        self.hang_up()

    def watch(self, feed: Feed, request: Request, newest: int) -> None:
        """Send a feed's events, after the reply that says where they begin."""
        self.feed = feed
        self.reply(request, b"%d" % newest)
        self.hold(1)
        self.daemon.gather([self._begin_feed])

    @property
    def following(self) -> Following:
        """What it follows. Not to be asked for once it is gone."""
        if self._following is None:
            self._following = Following(self.daemon, self.outputs, self)
        return self._following

    def _begin_feed(self) -> None:
        if self.feed is None:
            return
        caught_up = Deferred.fromCoroutine(self.feed.catch_up())
        caught_up.addErrback(lambda failure: self.log.failure("watching failed", failure))
        caught_up.addCallback(lambda _: self.hold(-1))

    def hang_up(self) -> None:
        """Close as soon as what has been said is out, but do not wait for it for ever."""
        self._ignore_the_rest()
        self.daemon.gather([self.close])

    def _ignore_the_rest(self) -> None:
        """The connection is being closed: nothing that the client says from here on counts."""
        self._deaf = True
        self._requests.clear()

    def close(self) -> None:
        """Say what has gathered, and nothing more."""
        self._ignore_the_rest()
        if self.gone:
            return
        if self._out:
            # Also what the transport had no room for: it is closed when all of it is out.
            self._write()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self.daemon.clock.callLater(TIME_TO_AUTH, self._abort)

    def _abort(self) -> None:
        if not self.gone:
            self.transport.abortConnection()

    def hold(self, by: int) -> None:
        self._held += by
        self._finish_if_idle()

    def finish(self) -> None:
        self._closing = True
        self._finish_if_idle()

    def _finish_if_idle(self) -> None:
        # A client that is slow to take the rest has all the time it needs.
        if self._closing and not self._held and not self._busy and not self._blocked:
            self._closing = False
            self.hang_up()

    # Backpressure: the transport tells when its own buffer is full.

    def pauseProducing(self) -> None:
        self._blocked = True

    def resumeProducing(self) -> None:
        self._blocked = False
        self.flush()
        if not self._blocked:
            self._release_drained()
            self._work()
            self._finish_if_idle()

    def stopProducing(self) -> None:
        self._blocked = True

    def drained(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._blocked and not self.gone:
            self._drained.append(done)
        else:
            done.callback(None)
        return done

    def _release_drained(self) -> None:
        waiting, self._drained = self._drained, []
        for done in waiting:
            done.callback(None)
