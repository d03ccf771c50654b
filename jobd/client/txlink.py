"""A connection in a Twisted reactor, kept by a C{ClientService}."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, DNSLookupError
from twisted.internet.error import TimeoutError as TwistedTimeoutError
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from jobd.client.core import Core, Request, Stream
from jobd.client.dial import handshake_problem, lost, problem, unknown_fate, untrusted
from jobd.client.link import Owner
from jobd.client.liveness import Comeback, Pulse
from jobd.client.url import Target, Tls
from jobd.errors import ConnectionProblem, JobdError, UsageError

T = TypeVar("T")

_END = b"-----END CERTIFICATE-----"


class Promise(Generic[T]):
    """One result, for any number of Deferreds."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []
        self._fire: Callable[[Deferred[T]], None] | None = None

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._fire is not None

    def set_result(self, result: T) -> None:
        self._settle(lambda deferred: deferred.callback(result))

    def set_exception(self, exception: BaseException) -> None:
        self._settle(lambda deferred: deferred.errback(exception))

    def when(self) -> Deferred[T]:
        """A new Deferred with the result; cancelling it does not touch the others."""
        deferred: Deferred[T] = Deferred(self._forget)
        if self._fire is None:
            self._waiting.append(deferred)
        else:
            self._fire(deferred)
        return deferred

    def _forget(self, deferred: Deferred[T]) -> None:
        self._waiting.remove(deferred)

    def _settle(self, fire: Callable[[Deferred[T]], None]) -> None:
        self._fire = fire
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            fire(deferred)


def endpoint_of(reactor: Any, target: Target, timeout: float) -> IStreamClientEndpoint:
    """
    The endpoint for a target; over TLS the host's name is verified by service-identity.

    @raise UsageError: a certificate or key file is wrong.
    """
    from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS

    if target.path:
        unix: IStreamClientEndpoint = UNIXClientEndpoint(reactor, target.path, timeout=timeout)
        return unix
    tcp: IStreamClientEndpoint = HostnameEndpoint(reactor, target.host, target.port, timeout=timeout)
    if target.tls is None:
        return tcp
    wrapped: IStreamClientEndpoint = wrapClientTLS(_tls_options(target, target.tls), tcp)
    return wrapped


def _tls_options(target: Target, tls: Tls) -> Any:
    from twisted.internet import ssl

    trust: Any = None
    own: Any = None
    try:
        if tls.ca:
            pem = Path(tls.ca).read_bytes().split(_END)[:-1]
            trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(one + _END) for one in pem])
        if tls.cert:
            key = Path(tls.key).read_bytes() if tls.key else b""
            own = ssl.PrivateCertificate.loadPEM(Path(tls.cert).read_bytes() + b"\n" + key)
    except Exception as error:  # OSError, and whatever the libraries below have for a file they cannot read
        files = ", ".join(name for name in tls if name)
        raise UsageError(f"TLS: cannot use {files}: {error}; PEM files are needed") from None
    at_least = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_2}
    return ssl.optionsForClientTLS(target.host, trust, own, extraCertificateOptions=at_least)


class Link:
    """
    The core, and the connection it has at the moment.

    @param endpoint: how to connect; by default as the target says.
    @param liveness: seconds of silence after which the daemon is asked for a sign of life, or counts as lost.
    @ivar patience: seconds for which a lost daemon is looked for; 0: not at all.
    """

    def __init__(
        self,
        reactor: Any,
        target: Target,
        owner: Owner,
        *,
        endpoint: IStreamClientEndpoint | None = None,
        timeout: float,
        patience: float,
        liveness: float,
        stream: Stream | None = None,
    ) -> None:
        self.reactor = reactor
        self.target = target
        self.patience = patience
        self.endpoint = endpoint_of(reactor, target, timeout) if endpoint is None else endpoint
        self._owner = owner
        self._core = Core(target.token, stream, msgspec.json.decode)
        self._pulse = Pulse(self._core, liveness)
        self._comeback = Comeback()
        self._silence: ConnectionProblem | None = None
        self._watch: IDelayedCall | None = None
        self._protocol: _Lines | None = None
        self._heard = False
        self._failure: JobdError | None = None
        self._giving_up: IDelayedCall | None = None
        self._service = ClientService(self.endpoint, _Factory(self), self._pause, clock=reactor)

    async def open(self) -> None:
        """
        Connect.

        @raise ConnectionProblem: it cannot be reached.
        """
        connected = self._service.whenConnected(failAfterFailures=1)
        self._service.startService()
        try:
            await connected
        except JobdError:
            raise
        except Exception as error:
            await self.close()
            raise _connect_problem(self.target, error) from error

    def send(self, request: Request) -> None:
        """
        Ask for something.

        @raise ConnectionProblem: the link has ended.
        """
        if self._failure is not None:
            raise self._failure
        self._core.send(request)
        self._flush()

    def close(self) -> Deferred[None]:
        """End it; what has no reply yet is refused. Fires once the connection is closed."""
        return self._end(ConnectionProblem("this client has been closed"))

    # For the protocol.

    def made(self, protocol: _Lines) -> None:
        self._protocol = protocol
        self._silence = None
        self._core.connected()
        self._pulse.heard(self.reactor.seconds())
        self._flush()

    def received(self, data: bytes) -> None:
        if self._failure is not None:
            return
        self._pulse.heard(self.reactor.seconds())
        try:
            items = self._core.receive(data)
        except JobdError as error:
            self._end(error)
            return
        self._heard = True
        if self._core.of_use:
            self._comeback.of_use()
            self._expect_no_end()
        if items:
            self._owner.deliver(items)
        # The core may have something to ask for by itself.
        self._flush()

    def lost(self, reason: Failure) -> None:
        self._protocol = None
        if self._failure is not None:
            return
        why = _loss(self.target, self._core.reason or self._silence, reason, heard=self._heard)
        for request in self._core.disconnected():
            self._owner.refused(request, unknown_fate(self.target) if self.patience > 0 else why)
        if self.patience <= 0:
            self._end(why)
        elif self._giving_up is None:
            gone = lost(self.target, f"and it did not come back: {why}")
            self._giving_up = self.reactor.callLater(self.patience, self._give_up, gone)

    def _give_up(self, failure: JobdError) -> None:
        self._giving_up = None
        self._end(failure)

    def _expect_no_end(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _pause(self, failed_attempts: int) -> float:
        return self._comeback.pause(self.reactor.seconds())

    def _flush(self) -> None:
        if self._protocol is not None and self._failure is None:
            data = self._core.outgoing()
            if data:
                self._protocol.transport.write(data)
            if self._watch is None and (left := self._pulse.left(self.reactor.seconds())) is not None:
                self._watch = self.reactor.callLater(left, self._look)

    def _look(self) -> None:
        """Nothing may have come for a while. A reactor calls what is due before it reads what there is: let it read."""
        self._watch = self.reactor.callLater(0, self._listen)

    def _listen(self) -> None:
        self._watch = None
        if self._protocol is None:
            return
        try:
            self._pulse.check(self.reactor.seconds())
        except ConnectionProblem as silence:
            self._silence = silence
            self._protocol.transport.abortConnection()
        else:
            self._flush()

    def _end(self, failure: JobdError) -> Deferred[None]:
        if self._failure is None:
            self._failure = failure
            self._expect_no_end()
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None
            for request in self._core.abandon():
                self._owner.refused(request, failure)
            self._owner.ended(failure)
        # Not at once: a ClientService that is just telling of a failure cannot be stopped.
        return deferLater(self.reactor, 0, _nothing).addCallback(lambda _: self._service.stopService())


def _nothing() -> None:
    """Only the time it is called at matters."""


class _Lines(Protocol):
    """One connection of a link."""

    transport: Any

    def __init__(self, link: Link) -> None:
        self._link = link

    def connectionMade(self) -> None:
        self._link.made(self)

    def dataReceived(self, data: bytes) -> None:
        self._link.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._link.lost(reason)


class _Factory(Factory):
    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: IAddress | None) -> _Lines:
        return _Lines(self._link)


def _connect_problem(target: Target, error: Exception) -> ConnectionProblem:
    if isinstance(error, DNSLookupError):
        return problem(target, socket.gaierror())
    if isinstance(error, TwistedTimeoutError):
        return problem(target, TimeoutError())
    number = getattr(error, "osError", None)
    return problem(target, OSError(number, str(error)) if isinstance(number, int) else error)


def _loss(target: Target, said: JobdError | None, reason: Failure, *, heard: bool) -> ConnectionProblem:
    """
    Why a connection was lost.

    @param heard: whether it had brought anything; over TLS it is the handshake that has failed, else.
    """
    if target.tls is not None and not heard:
        # Compared by name: the classes belong to libraries that are only there for TLS.
        kind = type(reason.value).__name__
        if kind in ("VerificationError", "CertificateError"):
            return ConnectionProblem(untrusted(target, 62, "the names in it are others"))
        # OpenSSL's errors are lists of places and reasons.
        errors = getattr(reason.value, "args", ()) if kind == "Error" else ()
        text = "; ".join(str(part[-1]) for part in errors[0]) if errors else reason.getErrorMessage()
        if "certificate verify failed" in text:
            return ConnectionProblem(untrusted(target, 0, text))
        return handshake_problem(target, OSError(text))
    clean = reason.check(ConnectionDone) is not None
    return lost(target, said or ("the daemon closed it" if clean else reason.getErrorMessage()))
