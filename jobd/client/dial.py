"""
Opening the socket to a L{Target}; every way in which that can fail becomes a
L{ConnectionProblem} that says what to do about it.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from typing import TYPE_CHECKING

from jobd.client.url import Target, Tls
from jobd.errors import ConnectionProblem, UsageError

if TYPE_CHECKING:
    import ssl

START = "start it with 'twistd jobd'"


def dial(target: Target, timeout: float) -> socket.socket:
    """
    A connected socket; over TLS with the handshake done and the host's name verified.

    @param timeout: seconds for each step; the socket returned has it as its timeout, too.
    @raise ConnectionProblem: it did not work, and why.
    @raise UsageError: a certificate or key file is wrong.
    """
    try:
        sock = _dial_unix(target.path, timeout) if target.path else _dial_tcp(target, timeout)
    except (OSError, UnicodeError) as error:
        raise problem(target, error) from error
    if target.tls is None:
        return sock
    try:
        return _handshake(target, target.tls, sock)
    except BaseException:
        sock.close()
        raise


def _dial_unix(path: str, timeout: float) -> socket.socket:
    if sys.platform == "win32":
        raise UsageError("there are no Unix sockets here: use a jobd://host:port URL")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _dial_tcp(target: Target, timeout: float) -> socket.socket:
    sock = socket.create_connection((target.host, target.port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A wait may last for days: notice when the other machine has silently gone.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
    return sock


def _handshake(target: Target, tls: Tls, sock: socket.socket) -> socket.socket:
    context = tls_context(tls)
    try:
        return context.wrap_socket(sock, server_hostname=target.host)
    except OSError as error:
        raise handshake_problem(target, error) from error


def handshake_problem(target: Target, error: OSError) -> ConnectionProblem:
    """The L{ConnectionProblem} for a TLS handshake that failed."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectionProblem(untrusted(target, error.verify_code, error.verify_message))
    if isinstance(error, ssl.SSLError):
        return ConnectionProblem(
            f"{target.url}: no TLS connection ({error.reason or error}); is it a TLS port, "
            "and does it want a client certificate (JOBD_TLS_CERT, JOBD_TLS_KEY)?"
        )
    return ConnectionProblem(f"{target.url}: the TLS handshake was cut short ({error}); is it a TLS port?")


def tls_context(tls: Tls) -> ssl.SSLContext:
    """
    TLS 1.2 or later, the host's name verified, always.

    @raise UsageError: a file cannot be read.
    """
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # SSLError is one
        files = ", ".join(name for name in tls if name)
        raise UsageError(f"TLS: cannot use {files}: {error}; PEM files are needed") from None
    return context


def untrusted(target: Target, code: int, message: str) -> str:
    """What to say of a certificate that was refused, with OpenSSL's code and words for the reason."""
    if code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return f"{target.url}: the daemon's certificate is not for {target.host!r} ({message}); use the name it is for"
    return f"{target.url}: the daemon's certificate is not trusted ({message}); name its authority with JOBD_TLS_CA"


def problem(target: Target, error: BaseException) -> ConnectionProblem:
    """The L{ConnectionProblem} for a failure of the system's C{connect}."""
    code = getattr(error, "errno", None)
    if target.path:
        if code == errno.ENOENT:
            why = f"there is no socket {target.path}: is the daemon running? {START}"
        elif code == errno.ECONNREFUSED:
            why = f"nobody listens on {target.path} any more: the daemon has gone; {START}"
        elif code in (errno.EACCES, errno.EPERM):
            why = f"this user may not use the socket {target.path}"
        else:
            why = f"cannot connect to the socket {target.path}: {error}"
    elif isinstance(error, socket.gaierror | UnicodeError):
        why = f"there is no host {target.host!r}: check the URL {target.url}"
    elif isinstance(error, TimeoutError):
        why = f"{target.url} does not answer: is the host up, and may its port be reached from here?"
    elif code == errno.ECONNREFUSED:
        why = f"nobody listens at {target.url}: is the daemon running there? {START}"
    else:
        why = f"cannot connect to {target.url}: {error}"
    return ConnectionProblem(why)


def lost(target: Target, why: object = None) -> ConnectionProblem:
    """The error for a connection that ended in the middle."""
    if target.tls is not None and isinstance(why, OSError) and type(why).__name__.startswith("SSL"):
        # With TLS 1.3 the other side's refusal comes only after our half of the handshake.
        return handshake_problem(target, why)
    detail = f": {why}" if why else ""
    return ConnectionProblem(f"the connection to {target.url} was lost{detail}")


def unknown_fate(target: Target) -> ConnectionProblem:
    """The error for a request that was sent and never answered, and must not be sent twice."""
    return ConnectionProblem(
        f"the connection to {target.url} was lost before the answer came: the request may or may not have been "
        "carried out; look with 'list' before you send it again, or give jobs a key"
    )
