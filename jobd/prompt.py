"""Writing without waiting for the reactor's next round."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor

LITTLE = 16 * 1024
"""Bytes: what has more does not care for the round, and could be told to go on before it has been told to stop."""


def write(transport: Any, data: bytes) -> None:
    """
    Write; a little at once, where the transport can. What the system does not take, and every error, waits for
    the reactor as always.
    """
    transport.write(data)
    if (
        len(data) <= LITTLE
        and isinstance(transport, FileDescriptor)
        and transport.connected
        and not transport.disconnecting
    ):
        transport.doWrite()
