"""
A daemon that says what a test tells it to: a real socket, and for each
connection a function that reads and writes lines.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

LIMIT = 120.0
"""Seconds after which a conversation that does not go on has failed."""


class Peer:
    """The daemon's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def read(self) -> str:
        """The next line, without its end; empty when the client has closed."""
        return self._file.readline().decode().rstrip("\n")

    def write(self, *lines: str) -> None:
        self.sock.sendall("".join(line + "\n" for line in lines).encode())

    def expect(self, start: str, *answers: str) -> str:
        """Read a line, check how it begins, answer; returns the rest of the line."""
        line = self.read()
        if not line.startswith(start):
            raise AssertionError(f"expected {start!r}, got {line!r}")
        self.write(*answers)
        return line[len(start) :].strip()

    def hello(self, json: str = '{"version": "0.1.0", "protocol": 1, "local": false}') -> None:
        self.expect("hello", "ok " + json)

    def close(self) -> None:
        self._file.close()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


Conversation = Callable[[Peer], None]


class ScriptedDaemon:
    """
    Holds one conversation on each connection, in the order of the connections. When
    one returns, its connection is closed. A failure in one is raised at the
    end of the C{with} block.
    """

    def __init__(self, *conversations: Conversation, tcp: bool = False) -> None:
        self._conversations = conversations
        self._folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        if tcp or not hasattr(socket, "AF_UNIX"):
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"jobd://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            path = str(Path(self._folder.name) / "s")
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen()
            self.url = f"jobd+unix://{path}"
        self._failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._stopping = False

    def __enter__(self) -> ScriptedDaemon:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(LIMIT)
        self._folder.cleanup()
        if error is None and not self._failures.empty():
            raise self._failures.get()

    def _serve(self) -> None:
        threads = []
        for conversation in self._conversations:
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if not self._stopping:
                    self._failures.put(error)
                break
            sock.settimeout(LIMIT)
            threads.append(threading.Thread(target=self._converse, args=(conversation, Peer(sock)), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(LIMIT)

    def _converse(self, conversation: Conversation, peer: Peer) -> None:
        try:
            conversation(peer)
        except BaseException as error:
            self._failures.put(error)
        finally:
            peer.close()
