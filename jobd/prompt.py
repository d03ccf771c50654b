"""Writing, and reading on, without waiting for the reactor's next round."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.abstract import FileDescriptor


def write(transport: Any, data: bytes) -> None:
    """
    Write at once, where the transport can and nothing waits before it: to have the reactor look out for room first
    costs more than to write. What the system does not take, and every error, waits for the reactor as always.
    """
    if (
        isinstance(transport, FileDescriptor)
        and transport.connected
        and not transport.disconnecting
        and not transport.dataBuffer
        # What it was given since; a Twisted that keeps that elsewhere is written to as always.
        and not getattr(transport, "_tempDataBuffer", True)
    ):
        # It is a connection with the system itself, in which nothing waits.
        data = data[_taken(transport, data) :]
    if data:
        transport.write(data)


def _taken(transport: Any, data: bytes) -> int:
    """How much of it the system takes. To ask through the transport costs more of Python than all else of a reply."""
    socket = getattr(transport, "socket", None)
    try:
        return os.write(transport.fileno(), data) if socket is None else int(socket.send(data))
    except OSError:
        return 0


PIECE = 8192
"""Bytes that Twisted reads from a pipe at a time (C{twisted.internet.fdesc.readFromFD})."""

MORE = 1 << 16
"""Bytes: what a pipe holds, on Linux."""


def read_on(pipe: Any, data: bytes) -> bytes:
    """
    @param data: what the reactor has just read from the pipe. Where that was a whole piece, there is probably more.
    @return: that, and what else is in the pipe now. Its end, and every error, the reactor finds as well.
    """
    if len(data) < PIECE:
        return data
    try:
        return data + os.read(pipe.fileno(), MORE)
    except OSError:
        return data
