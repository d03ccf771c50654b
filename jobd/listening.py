"""Where the daemon listens: endpoints, TLS, the token, and who may reach what."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import UNIXServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IReactorCore, IStreamServerEndpoint
from twisted.python.failure import Failure

from jobd import paths
from jobd.errors import UsageError
from jobd.settings import Settings
from jobd.wire import plain

IDLE, BETWEEN, LOOKS = 60, 15, 4
"""Seconds of silence before the system asks a client's machine, seconds between two times, and how often it asks."""

GONE = 120
"""Seconds after which a client has vanished whose machine does not confirm what it is sent."""

SET_ASIDE, FOR_EACH_WORKER, FEWEST = 128, 4, 8
"""Descriptors that are not for connections, those of each worker, and the connections there may always be."""

LONGEST_SOCKET_PATH = 100
"""Bytes: what every system takes for a Unix socket's path."""


def make_token(path: Path) -> bytes:
    """
    Read the token, or make one where there is none.

    @raise UsageError: the file cannot be read or made, or others can read it.
    """
    try:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            token = path.read_bytes().strip()
        else:
            token = secrets.token_hex(32).encode()
            with os.fdopen(handle, "wb") as file:
                file.write(token + b"\n")
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            raise UsageError(f"others can read the token file {path}: chmod 600 {path}")
    except OSError as problem:
        raise UsageError(f"the token file {path} cannot be used: {problem.strerror}") from None
    if not token or len(token) > 1024 or not token.isascii() or b" " in token or not token.decode().isprintable():
        raise UsageError(f"the token file {path} must hold one word of ASCII")
    return token


def tls_options(settings: Settings) -> Any:
    """
    The TLS context factory, or None where there is no TLS.

    @raise UsageError: a file cannot be read or does not fit.
    """
    if settings.tls_key is None or settings.tls_cert is None:
        return None
    from OpenSSL import SSL, crypto
    from twisted.internet import ssl

    try:
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, _pem(settings.tls_key))
        chain = _certificates(settings.tls_cert)
        trust = None
        if settings.tls_client_ca is not None:
            trust = ssl.trustRootFromCertificates(
                [ssl.Certificate(one) for one in _certificates(settings.tls_client_ca)]
            )
        options = ssl.CertificateOptions(
            privateKey=key,
            certificate=chain[0],
            extraCertChain=chain[1:] or None,
            trustRoot=trust,
            raiseMinimumTo=ssl.TLSVersion.TLSv1_2,
        )
        options.getContext()
    except (SSL.Error, crypto.Error, ValueError) as problem:
        files = ", ".join(str(path) for path in (settings.tls_key, settings.tls_cert, settings.tls_client_ca) if path)
        raise UsageError(f"the TLS files ({files}) cannot be used: {_reason(problem)}") from None
    return options


def _reason(problem: Exception) -> str:
    reasons = [part[-1] for part in problem.args[0]] if problem.args and isinstance(problem.args[0], list) else []
    return "; ".join(filter(None, reasons)) or str(problem) or "they are not PEM, or the key is not the certificate's"


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}") from None


def _certificates(path: Path) -> list[Any]:
    from OpenSSL import crypto

    end = b"-----END CERTIFICATE-----"
    parts = [part + end for part in _pem(path).split(end)[:-1]]
    if not parts:
        raise UsageError(f"{path} holds no certificate in PEM")
    return [crypto.load_certificate(crypto.FILETYPE_PEM, part) for part in parts]


def default_endpoints() -> list[str]:
    tcp = f"tcp:{paths.DEFAULT_PORT}:interface={paths.DEFAULT_HOST}"
    return [tcp] if sys.platform == "win32" else [unix_endpoint(paths.socket_path()), tcp]


def unix_endpoint(path: Path) -> str:
    return f"unix:{str(path).replace(':', chr(92) + ':')}:mode=600"


def parse_endpoints(descriptions: list[str], reactor: IReactorCore) -> list[tuple[str, IStreamServerEndpoint]]:
    """
    @raise UsageError: one of them is no endpoint.
    """
    found = []
    for description in descriptions:
        kind = description.partition(":")[0]
        if kind in ("ssl", "tls"):
            raise UsageError(
                f"listen {description!r}: write tcp:…, with --tls-key and --tls-cert every TCP listener speaks TLS"
            )
        if kind == "unix" and ":mode=" not in description:
            description += ":mode=600"
        try:
            found.append((description, serverFromString(reactor, description)))
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as problem:
            raise UsageError(
                f"listen {description!r} is not a server endpoint, "
                f"as tcp:7733:interface=127.0.0.1 or unix:/run/jobd.sock: {plain(str(problem))}"
            ) from None
    return found


def listen(description: str, endpoint: IStreamServerEndpoint, factory: IProtocolFactory, tls: Any) -> IListeningPort:
    """
    Listen, or say why not.

    @raise UsageError: the address is taken, or may not be used, or others could reach it without TLS.
    """
    unix = isinstance(endpoint, UNIXServerEndpoint)
    if unix:
        prepare_unix(_unix_path(endpoint))
    if tls is not None and not unix:
        from twisted.protocols.tls import TLSMemoryBIOFactory

        factory = TLSMemoryBIOFactory(tls, False, factory)
    results: list[Any] = []
    endpoint.listen(factory).addBoth(results.append)
    port = results[0] if results else Failure(UsageError("this kind of endpoint cannot be used here"))
    if not unix and not isinstance(port, Failure):
        notice_the_dead(port.socket)
    if unix and not isinstance(port, Failure):
        port.transport = _plain_unix()
    if isinstance(port, Failure):
        problem = port.value
        reason = problem.socketError if isinstance(problem, CannotListenError) else problem
        raise UsageError(f"cannot listen on {description}: {getattr(reason, 'strerror', None) or reason}")
    if tls is None and not reachable_only_here(port.getHost()):
        port.stopListening()
        raise UsageError(
            f"refusing to listen on {description}: other machines could reach it, and there is no TLS. "
            "Give --tls-key and --tls-cert, or add :interface=127.0.0.1"
        )
    listening: IListeningPort = port
    return listening


def _plain_unix() -> type:
    """
    The transport of connections to a Unix socket, that reads bytes only: to look for descriptors as well, which nobody
    sends, takes longer than to read a request.
    """
    from twisted.internet import tcp, unix

    class Plain(unix.Server):
        doRead = tcp.Connection.doRead  # type: ignore[assignment]

    return Plain


def notice_the_dead(listener: socket.socket) -> None:
    """
    Have the system look whether clients are still there that say nothing and take nothing: one that vanished
    without a word is then dropped. What is set here holds for every connection that is accepted.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {"TCP_KEEPIDLE": IDLE, "TCP_KEEPALIVE": IDLE, "TCP_KEEPINTVL": BETWEEN, "TCP_KEEPCNT": LOOKS}
    for name, value in {**options, "TCP_USER_TIMEOUT": GONE * 1000}.items():
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                listener.setsockopt(socket.IPPROTO_TCP, option, value)


def most_connections(workers: int) -> int | None:
    """
    How many connections can be served, by the descriptors this process may open: some are set aside for the
    store, the workers, listeners, output that is read, and those who are told that they are too many.
    None: there is no such limit.
    """
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(FEWEST, limit - SET_ASIDE - FOR_EACH_WORKER * workers)


def reachable_only_here(address: IAddress) -> bool:
    host = getattr(address, "host", None)
    return host is None or host == "::1" or host.startswith("127.")


def _unix_path(endpoint: Any) -> Path:
    return Path(os.fsdecode(endpoint._address))


def prepare_unix(path: Path) -> None:
    """
    Make the folder, and remove a socket that a dead daemon has left.

    @raise UsageError: the folder cannot be made, or somebody listens there.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise UsageError(f"the path of the socket {path} is too long: {LONGEST_SOCKET_PATH} bytes at most")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"the folder {path.parent} cannot be made: {problem.strerror}") from None
    if sys.platform == "win32" or not path.is_socket():
        return
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(path))
    except OSError:
        path.unlink(missing_ok=True)
        Path(f"{path}.lock").unlink(missing_ok=True)
    else:
        raise UsageError(f"another daemon listens on {path}")
    finally:
        probe.close()


def url_of(address: IAddress, tls: bool) -> str:
    """How a client reaches a listener."""
    if isinstance(address, UNIXAddress):
        return "jobd+unix://" + quote(os.fsdecode(address.name or b""))
    host = f"[{address.host}]" if ":" in address.host else address.host  # type: ignore[attr-defined]
    return f"{'jobds' if tls else 'jobd'}://{host}:{address.port}"  # type: ignore[attr-defined]
