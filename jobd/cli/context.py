"""What a command of C{jobctl} works with: its connection, where it prints, and what it knows of the daemon."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from jobd.client.commands import Command
from jobd.client.core import Stream
from jobd.client.reading import open_stream
from jobd.client.session import Session
from jobd.client.url import Target, locate
from jobd.errors import ConnectionProblem

T = TypeVar("T")

TIMEOUT = 30.0
"""Seconds a reply may take: the daemon may be busy with a big commit, and a person can press Ctrl-C."""

_OURS = frozenset({"JOBD_URL", "JOBD_TOKEN", "JOBD_TOKEN_FILE", "JOBD_JOB_ID", "JOBD_ATTEMPT"})
"""Variables that mean this process, not the job."""


class Context:
    """
    One run of one command; a context manager that closes what it opened.

    @ivar args: what was said on the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self._stack = ExitStack()
        self._session: Session | None = None
        self._target: Target | None = None
        self._local = False

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def session(self) -> Session:
        """The connection, made when it is first needed."""
        if self._session is None:
            self._session = self._connected()
        return self._session

    @property
    def target(self) -> Target:
        """The daemon that was asked for."""
        if self._target is None:
            args = self.args
            self._target = locate(
                args.url, token=args.token, tls_ca=args.tls_ca, tls_cert=args.tls_cert, tls_key=args.tls_key
            )
        return self._target

    def _connected(self) -> Session:
        """The first connection; over TCP the daemon says whether it wants a token, and where it is."""
        session = self._stack.enter_context(self._open(self.target))
        if not self.target.path:
            self._local = session.greet()
        return session

    def _open(self, target: Target) -> Session:
        return Session(target, timeout=TIMEOUT).open()

    def or_private(self, workers: int | None = None) -> None:
        """Connect; where no daemon was named and none is running, start one of our own for as long as we run."""
        args = self.args
        if args.url or os.environ.get("JOBD_URL") or args.no_private:
            return
        try:
            self._session = self._connected()
        except ConnectionProblem:
            if sys.platform == "win32":  # without Unix sockets it would not be private
                raise
            from jobd.cli.private import PrivateDaemon

            daemon = self._stack.enter_context(PrivateDaemon(workers))
            self._target = daemon.target

    def fresh(self) -> Session:
        """A further connection; the caller closes it."""
        return self._open(self.target)

    def stream(self, stream: Stream) -> Session:
        """A further connection, for a stream."""
        return self._stack.enter_context(open_stream(Session(self.target, stream=stream, timeout=TIMEOUT)))

    def do(self, command: Command[T]) -> T:
        """Send a command and read its reply."""
        return command.read(self.session.ask(command.request()))

    def local(self) -> bool:
        """Whether the daemon is on this machine, so that our folders and variables mean something to it."""
        # Only the connected daemon can tell; over a Unix socket it goes without saying.
        return self.session.target.path != "" or self._local

    def surroundings(self) -> tuple[str | None, dict[str, str]]:
        """Our folder and environment for a job, if the daemon is on this machine."""
        if not self.local():
            return None, {}
        return os.getcwd(), {} if self.args.no_env else _environment()

    def print_json(self, value: Any) -> None:
        self.print(json.dumps(value, ensure_ascii=False))

    def print(self, text: str) -> None:
        # What a job wrote need not be text, and our encoding need not know all that it wrote.
        data = text.encode(sys.stdout.encoding or "utf-8", "replace")
        self.write(data + b"\n")

    def write(self, data: bytes, *, error: bool = False) -> None:
        """Bytes to our standard output or error, at once."""
        stream = sys.stderr if error else sys.stdout
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OURS and _is_text(name + value)}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def with_surroundings(spec: Mapping[str, Any], cwd: str | None, env: Mapping[str, str]) -> dict[str, Any]:
    """The job as it runs here: its folder begins at ours, and a command gets our variables under its own."""
    job = dict(spec)
    # What has the wrong type is left for the daemon to complain about.
    given = job.get("cwd") or ""
    if cwd is not None and isinstance(given, str):
        job["cwd"] = os.path.normpath(os.path.join(cwd, given))
    own = job.get("env") or {}
    if env and isinstance(own, dict) and ("argv" in job or "shell" in job):
        job["env"] = {**env, **own}
    return job
