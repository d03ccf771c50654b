"""A client's connection to a daemon that may go at any moment: raw lines over its Unix socket."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from typing import Any

if sys.platform == "win32":
    raise ImportError("the kill loop needs Unix sockets")

PATIENCE = 120.0
"""Seconds without a daemon, or without anything from it, after which a client gives up."""


class Orders:
    """
    What the loop tells a client, on its standard input: C{stop}, or C{until CURSOR}. Its end is an order to stop
    at once: there is no loop any more.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.until: int | None = None

    def read(self) -> None:
        """There is something to read."""
        line = os.read(0, 4096).decode()
        if not line:
            os._exit(1)
        word, _, rest = line.partition(" ")
        self.stopping = True
        if word == "until":
            self.until = int(rest)


class Connection:
    """
    @ivar number: 1 for the first of this client, and so on; 0 while there was none.
    """

    def __init__(self, path: str, orders: Orders) -> None:
        self._path = path
        self._orders = orders
        self._socket: socket.socket | None = None
        self._rest = b""
        self._unsent = b""
        self.number = 0

    def open(self) -> None:
        """Look for a daemon until one is there."""
        deadline = time.monotonic() + PATIENCE
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self._path)
                break
            except OSError as problem:
                sock.close()
                if time.monotonic() > deadline:
                    sys.exit(f"no daemon for {PATIENCE:g} seconds: {problem}")
                if select.select([0], [], [], 0.02)[0]:
                    self._orders.read()
        sock.setblocking(False)
        self._socket, self._rest, self._unsent = sock, b"", b""
        self.number += 1

    def send(self, line: str) -> None:
        self._unsent += line.encode() + b"\n"

    def lines(self, seconds: float = PATIENCE) -> list[str] | None:
        """
        Send what is to be sent, wait until something comes from the daemon or from the loop, or until so many seconds
        have passed. The complete lines that have come; None when the connection has ended.
        """
        sock = self._socket
        assert sock is not None
        try:
            if self._unsent:
                self._flush(sock)
            both: list[Any] = [0, sock]
            ready, writable, _ = select.select(both, [sock] if self._unsent else [], [], seconds)
            if not ready and not writable and seconds >= PATIENCE:
                sys.exit(f"nothing from the daemon for {PATIENCE:g} seconds")
            if 0 in ready:
                self._orders.read()
            if sock not in ready:
                return []
            data = sock.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self.close()
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in lines]

    def _flush(self, sock: socket.socket) -> None:
        try:
            self._unsent = self._unsent[sock.send(self._unsent) :]
        except BlockingIOError:
            return

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
