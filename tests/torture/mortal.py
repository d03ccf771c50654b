"""A daemon on a folder, and the next one: each may be made to die at a point, see L{tests.torture.victim}."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.functional.conversation import Talk
from tests.torture import processes
from tests.torture.mix import ROOT
from tests.torture.plan import Point

PATIENCE = 120.0
"""Seconds for what must come: it hangs if it does not."""

REACHED = 60.0
"""Seconds for a daemon to come to its point; it is killed where it is after that."""

WORKERS = 4


class Trouble(AssertionError):
    """The loop cannot go on."""


class Mortal:
    """
    @param folder: its state is kept in C{state} there, its log is written beside it.
    @ivar mark: by which all its processes are known, see L{processes}.
    @ivar socket: where it listens.
    """

    def __init__(self, folder: Path, sabotage: str = "-") -> None:
        self.mark = f"{os.getpid()}.{time.time_ns()}"
        self.state = folder / "state"
        self.socket = str(self.state / "jobd.sock")
        self._sabotage = sabotage
        self._log = folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, point: Point | None = None, armed: bool = False) -> None:
        """
        @param point: where it dies.
        @param armed: passages count from the start, not only from L{arm} on.
        """
        name, passage = point or Point("-")
        words = [name, str(passage), "now" if armed else "signal", self._sabotage]
        daemon = ["-n", "--pidfile=", "jobd", "--state-dir", str(self.state), "--workers", str(WORKERS)]
        listen = ["--listen", f"unix:{self.socket}", "--keep-jobs", "10000000"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBD_")}
        environment |= {processes.MARK: self.mark, "PYTHONPATH": str(ROOT)}
        self.state.mkdir(mode=0o700, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.torture.victim", *words, *daemon, *listen],
                cwd=self.state,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def connect(self) -> Talk:
        """
        Wait until it listens.

        @raise Trouble: it does not.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            self.check()
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self.socket)
                return Talk(sock)
            except OSError:
                sock.close()
                if time.monotonic() > deadline:
                    raise Trouble("the daemon does not listen") from None
                time.sleep(0.005)

    def check(self) -> None:
        """
        @raise Trouble: it has ended, and was not to.
        """
        assert self._process is not None
        if self._process.poll() is not None:
            raise Trouble(f"the daemon ended by itself, with {self._process.returncode}; {self._tell()}")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def arm(self) -> None:
        """From now on the passages of its point count."""
        self.send(signal.SIGUSR1)

    def falls(self) -> bool:
        """
        Wait until it has come to its point, or has stopped; where it does neither kill it. Returns whether it
        was killed at its point.

        @raise Trouble: it ended otherwise.
        """
        assert self._process is not None
        try:
            status = self._process.wait(REACHED)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        # twistd stops in good order and then dies of the signal that it was stopped by.
        if status not in (-signal.SIGKILL, -signal.SIGTERM):
            raise Trouble(f"the daemon ended with {status}; {self._tell()}")
        return status == -signal.SIGKILL

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait(-signal.SIGKILL)

    def stop(self) -> None:
        """In good order, by a TERM."""
        self.send(signal.SIGTERM)
        self.wait(-signal.SIGTERM)

    def wait(self, expected: int) -> None:
        """
        @param expected: the status it ends with.
        @raise Trouble: it does not.
        """
        assert self._process is not None
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Trouble(f"the daemon does not end; {self._tell()}") from None
        if status != expected:
            raise Trouble(f"the daemon ended with {status}; {self._tell()}")

    def close(self) -> None:
        """End whatever there still is of it, and of its workers and their jobs."""
        processes.kill_all(self.mark)
        if self._process is not None:
            self._process.wait()

    def _tell(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-20:]
        return "its log ends with:\n" + "\n".join(lines)
