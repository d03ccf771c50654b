"""A plain client for tests: lines over a socket, as a person would type them, and nothing of jobd's own clients."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tests.daemon import Daemon

PATIENCE = 120.0
"""Seconds for an answer on a busy machine; never reached when all is well."""


class Event(NamedTuple):
    """C{* CURSOR JOB-ID STATE JSON}"""

    cursor: int
    job_id: int
    state: str
    json: dict[str, Any]


class Talk:
    """
    One connection.

    @ivar sock: its socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self._buffer = b""
        self._events: deque[Event] = deque()
        self._ended: dict[int, Event] = {}

    @classmethod
    def unix(cls, daemon: Daemon) -> Talk:
        """Over the daemon's Unix socket."""
        if sys.platform == "win32":
            raise AssertionError("there are no Unix sockets here")
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(daemon.socket_path))
        return cls(sock)

    @classmethod
    def tcp(cls, daemon: Daemon, token: str | None = None, tls: ssl.SSLContext | None = None) -> Talk:
        """Over TCP, with a token if one is given."""
        sock = socket.create_connection(daemon.tcp_address, PATIENCE)
        talk = cls(tls.wrap_socket(sock, server_hostname="localhost") if tls is not None else sock)
        if token is not None and (answer := talk.ask(f"auth {token}")) != "ok":
            raise AssertionError(answer)
        return talk

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, *lines: str | bytes) -> None:
        """Whole lines, in one piece."""
        self.sock.sendall(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))

    def line(self) -> str:
        """The next line, whatever it is; empty once the daemon has closed."""
        while b"\n" not in self._buffer:
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                return ""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def reply(self) -> str:
        """The next reply; events before it are kept for later."""
        while (line := self.line()).startswith("*"):
            self._events.append(_event(line))
        return line

    def ask(self, line: str | bytes) -> str:
        self.send(line)
        return self.reply()

    def ok(self, line: str | bytes) -> str:
        """The text of the C{ok} to a request."""
        answer = self.ask(line)
        if answer.split(" ")[0] != "ok":
            raise AssertionError(f"{line[:200]!r} was answered by {answer[:500]!r}")
        return answer[3:]

    def json(self, line: str) -> Any:
        """The JSON of the C{ok} to a request."""
        return json.loads(self.ok(line))

    def event(self) -> Event:
        """The next event."""
        if self._events:
            return self._events.popleft()
        line = self.line()
        if not line.startswith("*"):
            raise AssertionError(f"expected an event, got {line!r}")
        return _event(line)

    def events(self, count: int) -> list[Event]:
        return [self.event() for _ in range(count)]

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event of a kind; others before it are dropped."""
        while not wanted(event := self.event()):
            pass
        return event

    def end_of(self, job_id: int) -> Event:
        """The finish event of a job; those of others before it are kept for when they are asked for."""
        while job_id not in self._ended:
            event = self.event()
            if event.cursor:
                self._ended[event.job_id] = event
        return self._ended.pop(job_id)

    def submit(self, **fields: Any) -> int:
        """The new job's id."""
        return int(self.ok("submit " + json.dumps(fields)))

    def run(self, **fields: Any) -> Event:
        """Submit a job and wait for its end."""
        return self.end_of(self.submit(**fields))

    def output(self, job_id: int, stream: str = "stdout") -> str:
        """All that a job wrote."""
        text: str = self.json(f'output {job_id} {{"stream": "{stream}"}}')["data"]
        return text

    def state(self, job_id: int) -> str:
        state: str = self.json(f"show {job_id}")["state"]
        return state


def _event(line: str) -> Event:
    _, cursor, job_id, state, *rest = line.split(" ", 4)
    return Event(int(cursor), int(job_id), state, json.loads(rest[0]) if rest else {})


class Fifo:
    """A named pipe between a test and a command: each can wait for the other, with no clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._buffer = b""
        # For both, so that opening it waits for nobody.
        self._handle = _make_fifo(path)

    def wait(self) -> str:
        """The next line that a command writes."""
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._handle], [], [], PATIENCE)
            if not ready:
                raise AssertionError(f"nothing came through {self.path}")
            self._buffer += os.read(self._handle, 4096)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def release(self, count: int = 1) -> None:
        """Let so many commands that C{read} from it go on."""
        os.write(self._handle, b"go\n" * count)

    def close(self) -> None:
        os.close(self._handle)


def _make_fifo(path: Path) -> int:
    if sys.platform == "win32":
        raise AssertionError("there are no named pipes here")
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)
