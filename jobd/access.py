"""Who may come in, and where from. No I/O."""

from __future__ import annotations

import hmac

import attrs
from twisted.internet.interfaces import IAddress

LONGEST_PENALTY = 4.0
"""Seconds that the answer to a wrong token is held back at most."""


@attrs.define
class Access:
    """
    Who may come in.

    @ivar token: what a connection over TCP has to know; None where only client certificates count.
    @ivar pickle: from where pickled calls are accepted: C{local}, C{all} or C{none}.
    """

    token: bytes | None
    pickle: str = "local"
    _wrong: dict[str, int] = attrs.Factory(dict)

    def check(self, token: bytes, host: str) -> bool:
        """Compare in a time that tells nothing, and remember who was wrong."""
        right = self.token is not None and hmac.compare_digest(token, self.token)
        if right:
            self._wrong.pop(host, None)
        else:
            if len(self._wrong) > 10_000:
                self._wrong.clear()
            self._wrong[host] = self._wrong.get(host, 0) + 1
        return right

    def penalty(self, host: str) -> float:
        """Seconds to hold the answer back: more with every wrong token from that host."""
        wrong = self._wrong.get(host, 0)
        return min(LONGEST_PENALTY, 0.05 * 2.0**wrong) if wrong else 0.0


@attrs.define
class Peer:
    """
    Where a connection comes from.

    @ivar host: its address, or empty for a Unix socket.
    @ivar local: it comes from this machine.
    @ivar identity: who it is, once that is known.
    """

    host: str
    local: bool
    identity: str | None

    @classmethod
    def at(cls, address: IAddress | None) -> Peer:
        host = getattr(address, "host", None)
        if host is None:
            return cls("", True, "local")
        return cls(host, host in ("127.0.0.1", "::1", "::ffff:127.0.0.1") or host.startswith("127."), None)
