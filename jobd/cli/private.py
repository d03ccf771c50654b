"""
A daemon for one command alone, where none is running: on a temporary folder,
without TCP, gone afterwards. It holds the read end of a pipe that ends when
this process does, also by C{kill -9}; then it ends its jobs and goes.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from jobd.client.url import Target
from jobd.errors import ConnectionProblem

_START = 30.0
_STOP = 30.0


class PrivateDaemon:
    """
    Runs while the C{with} block does.

    @param workers: how many jobs it runs at a time; by default as many as there are cores.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def __enter__(self) -> PrivateDaemon:
        # Python ends at once at a TERM and would leave the daemon behind.
        self._before = signal.signal(signal.SIGTERM, _leave)
        self._folder = tempfile.TemporaryDirectory(prefix="jobctl-")
        self._path = Path(self._folder.name)
        command = [sys.executable, "-m", "jobd.cli.owned", str(self._path), "-n", "--pidfile="]
        command += ["jobd", "--state-dir", str(self._path / "state"), "--listen", f"unix:{self._socket}"]
        command += ["--durability", "memory"]
        if self._workers:
            command += ["--workers", str(self._workers)]
        try:
            (self._path / "state").mkdir(mode=0o700)
            with (self._path / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, cwd=self._path
                )
            self._await()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            process.stdin.close()
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with contextlib.suppress(OSError):
            self._folder.cleanup()
        signal.signal(signal.SIGTERM, self._before)

    @property
    def target(self) -> Target:
        """Where it is."""
        return Target(path=str(self._socket))

    @property
    def _socket(self) -> Path:
        return self._path / "jobd.sock"

    def _await(self) -> None:
        deadline = time.monotonic() + _START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = (self._path / "log").read_text("utf-8", "replace").split("\n")
                said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
                said = said.rpartition(" jobd: ")[2]
                raise ConnectionProblem(f"no daemon is running, and a private one did not start: {said}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        import socket

        if sys.platform == "win32":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
