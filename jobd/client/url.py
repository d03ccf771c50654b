"""
From what a user says (a URL, the environment, nothing at all) to a L{Target}:
where the daemon is and what proves who we are. Nothing is connected here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jobd import paths
from jobd.errors import UsageError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_FORMS = "jobd+unix:///path, jobd://host:port or jobds://host:port (TLS)"


class Tls(NamedTuple):
    """
    The PEM files of a TLS connection: whom to trust (by default the system's
    authorities), and our own certificate and key where the daemon asks for one.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


class Target(NamedTuple):
    """One daemon: a Unix socket's C{path}, or C{host} and C{port} with C{tls} or without."""

    path: str = ""
    host: str = ""
    port: int = paths.DEFAULT_PORT
    tls: Tls | None = None
    token: str | None = None

    @property
    def url(self) -> str:
        """The same in one line; the token is not in it."""
        if self.path:
            return f"jobd+unix://{_quote(self.path)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'jobd' if self.tls is None else 'jobds'}://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine by its address alone."""
        return bool(self.path) or self.host in LOOPBACK or self.host.startswith("127.")


def parse(url: str) -> Target:
    """
    The target that a URL names, without token and files.

    @raise UsageError: it is not one of jobd's URLs.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UsageError(f"{url!r} is not a URL of jobd: write {_FORMS}")
    if scheme == "jobd+unix":
        if not rest.startswith("/"):
            raise UsageError(f"{url!r} names no absolute path: write jobd+unix:///path, with three slashes")
        path = _unquote(rest)
        if "\0" in path:
            raise UsageError(f"{url!r}: no path has a NUL character in it")
        return Target(path=path)
    if scheme not in ("jobd", "jobds"):
        why = "jobd does not speak HTTP" if scheme in ("http", "https") else f"jobd does not know {scheme!r}"
        raise UsageError(f"{url!r}: {why}; write {_FORMS}")
    host, port = _host_and_port(url, rest.rstrip("/"))
    return Target(host=host, port=port, tls=Tls() if scheme == "jobds" else None)


# A path without special characters needs no urllib, which takes longer to import than this module.
def _quote(path: str) -> str:
    if path.isascii() and all(mark.isalnum() or mark in "/._-~" for mark in path):
        return path
    from urllib.parse import quote

    return quote(path)


def _unquote(path: str) -> str:
    if "%" not in path:
        return path
    from urllib.parse import unquote

    return unquote(path)


def _host_and_port(url: str, rest: str) -> tuple[str, int]:
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise UsageError(f"{url!r}: write an IPv6 address as [address]:port")
        port = tail[1:]
    else:
        host, _, port = rest.partition(":")
    if not host or not host.isprintable() or any(mark in host + port for mark in "/?#@[] "):
        raise UsageError(f"{url!r} names no host: write {_FORMS}")
    if not port:
        return host, paths.DEFAULT_PORT
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise UsageError(f"{url!r}: {port!r} is no port; it is a number from 1 to 65535")
    return host, int(port)


def locate(
    url: str | None = None,
    *,
    token: str | None = None,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """
    The daemon to talk to. What is not given comes from C{JOBD_URL},
    C{JOBD_TOKEN}, C{JOBD_TOKEN_FILE}, C{JOBD_TLS_CA}, C{JOBD_TLS_CERT} and
    C{JOBD_TLS_KEY}; then from this user's own daemon: its Unix socket if
    there is one, else TCP on the loopback address with its token file.

    @raise UsageError: the URL or a file is wrong.
    """
    env = os.environ if environ is None else environ
    url = url or env.get("JOBD_URL")
    target = parse(url) if url else default_target()
    if target.tls is not None:
        tls = Tls(
            tls_ca or env.get("JOBD_TLS_CA") or None,
            tls_cert or env.get("JOBD_TLS_CERT") or None,
            tls_key or env.get("JOBD_TLS_KEY") or None,
        )
        if tls.key and not tls.cert:
            raise UsageError("a TLS key without its certificate: give both, or neither")
        target = target._replace(tls=tls)
    elif tls_ca or tls_cert or tls_key:
        raise UsageError(f"{target.url} is not TLS, so it can use no certificates: write jobds://host:port")
    return target._replace(token=_token(target, token, env))


def default_target() -> Target:
    """This user's own daemon: by its Unix socket if there is one, else by TCP on the loopback address."""
    socket = paths.socket_path()
    if socket.exists():
        return Target(path=str(socket))
    return Target(host=paths.DEFAULT_HOST)


def _token(target: Target, token: str | None, env: Mapping[str, str]) -> str | None:
    if target.path:
        return None
    token = token or env.get("JOBD_TOKEN")
    if token:
        return _checked(token, "the token")
    named = env.get("JOBD_TOKEN_FILE")
    if named:
        try:
            return _checked(Path(named).read_text("utf-8"), f"the token file {named}")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"JOBD_TOKEN_FILE: cannot read {named}: {error}") from None
    if target.loopback:
        try:
            return paths.token_file().read_text("utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None
    return None


def _checked(token: str, what: str) -> str:
    token = token.strip()
    if not token or len(token.split()) != 1 or not token.isprintable():
        raise UsageError(f"{what} must be one word")
    return token
