"""One daemon for all tests of a process that only need some daemon; started by the first, stopped at the end."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from pathlib import Path

from tests.daemon import Daemon


@cache
def shared_daemon() -> Daemon:
    """A running daemon that listens on a Unix socket and on TCP. A test must not stop it, drain it or pause it."""
    folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
    daemon = Daemon(Path(folder.name).resolve(), "--workers", "2", tcp=True)
    daemon.start()
    atexit.register(folder.cleanup)
    atexit.register(daemon.stop)
    return daemon
