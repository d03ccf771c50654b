"""
Servers that peers need: started on a Unix socket or a free port of the
loopback in a folder of their own, ended and removed with it.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.contender import Trouble, Unavailable

_PATIENCE = 30.0

Address: TypeAlias = "str | tuple[str, int]"
"""The path of a Unix socket, or host and port."""


def library(name: str) -> Any:
    """
    A module of somebody else's. Its types are not known here: where they are, depends on what is installed.

    @raise Unavailable: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        raise Unavailable(f"Python's {problem.name} is not installed") from None


def program(name: str, package: str) -> str:
    """
    The path of a program.

    @raise Unavailable: it is not installed.
    """
    # Servers stand in sbin, which is not on everybody's path.
    found = shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    )
    if found is None:
        raise Unavailable(f"{name} is not installed (Debian's package {package})")
    return found


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder with a short name: the path of a Unix socket must be."""
    with tempfile.TemporaryDirectory(prefix="jobd-bench-") as name:
        yield Path(name).resolve()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def dial(address: Address) -> socket.socket:
    """A connection to such an address."""
    if not isinstance(address, str):
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    if sys.platform == "win32":
        raise Unavailable("there are no Unix sockets here")
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


@contextmanager
def running(
    command: Sequence[str], cwd: Path | None = None, environment: Mapping[str, str] | None = None, stdout: int = 2
) -> Iterator[subprocess.Popen[bytes]]:
    """A program while the block runs; what it prints goes where this process's errors go, or to a descriptor."""
    whole = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, cwd=cwd, env=whole, stdin=subprocess.DEVNULL, stdout=stdout) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def serving(command: Sequence[str], address: Address, cwd: Path) -> Iterator[None]:
    """
    A server, from when it accepts connections.

    @raise Trouble: it does not.
    """
    with running(command, cwd) as process:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with suppress(OSError):
                dial(address).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise Trouble(f"{Path(command[0]).name} does not listen")
            time.sleep(0.02)
        yield


@contextmanager
def redis() -> Iterator[Path]:
    """
    A Redis server that keeps nothing on disk, on a Unix socket, whose path is given.

    @raise Unavailable: it is not installed.
    """
    server = program("redis-server", "redis-server")
    with folder() as home:
        path = home / "redis.sock"
        command = [server, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(home)]
        with serving(command, str(path), home):
            yield path
