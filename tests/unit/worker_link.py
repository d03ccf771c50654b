"""A worker process under test: the daemon's end of the link, and what a job left on disk."""

from __future__ import annotations

import base64
import json
import os
import pickle
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from twisted.trial.unittest import TestCase

import jobd
from jobd.worker.output import Stream, output_path

PATIENCE = 120.0
"""Seconds after which a worker that says nothing has failed the test."""


class Done(NamedTuple):
    """A C{D} line."""

    job: int
    attempt: int
    state: str
    wall: float
    outcome: dict[str, Any]


class Worker:
    """One of the programs, started as the pool starts it."""

    def __init__(
        self, program: str, output: Path, *options: str, env: dict[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> None:
        self.output = output
        module = program if "." in program else f"jobd.worker.{program}"
        root = str(Path(jobd.__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--output", str(output), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONPATH": root, **(env or {})},
        )
        self._rest = b""
        self._lines: list[str] = []
        hello = self.line().split()
        assert hello == ["H", str(self.process.pid)], hello

    def send(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())

    def start(self, job: int, attempt: int = 1, **fields: Any) -> None:
        self.send(f"S {job} {attempt} {json.dumps(fields)}")

    def line(self) -> str:
        """The next line; fails when none comes."""
        assert self.process.stdout is not None
        poll = select.poll()
        poll.register(self.process.stdout, select.POLLIN)
        end = time.monotonic() + PATIENCE
        while not self._lines:
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise AssertionError("the worker says nothing")
            data = self.process.stdout.read(65536)
            if not data:
                raise AssertionError("the worker has closed the link")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines += [line.decode() for line in lines]
        return self._lines.pop(0)

    def done(self) -> Done:
        """The next line, which must be a C{D}."""
        line = self.line()
        kind, job, attempt, state, wall, outcome = line.split(" ", 5)
        assert kind == "D", line
        return Done(int(job), int(attempt), state, float(wall), json.loads(outcome))

    def all_done(self, count: int) -> dict[int, Done]:
        """The next so many, by job."""
        return {done.job: done for done in (self.done() for _ in range(count))}

    def run(self, job: int = 1, attempt: int = 1, **fields: Any) -> Done:
        """Start one job and wait for its end."""
        self.start(job, attempt, **fields)
        return self.done()

    def printed(self, job: int = 1, stream: Stream = "out", attempt: int = 1) -> bytes | None:
        """The job's output; C{None} if there is no file."""
        path = Path(output_path(str(self.output), job, attempt, stream))
        return path.read_bytes() if path.exists() else None

    def wait(self) -> int:
        """The worker's exit code, once it has ended by itself."""
        return self.process.wait(PATIENCE)

    def close_link(self) -> None:
        """Let the worker find the end of the link."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> int:
        """Close the link, and wait for the worker's end."""
        self.close_link()
        return self.wait()

    def stop(self) -> None:
        """Leave nothing behind, whatever the test has come to."""
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class WorkerTestCase(TestCase):
    """
    @cvar program: the worker's module.
    @ivar folder: for what the jobs need; it is their home too.
    """

    program = "call"
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        base = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(base.cleanup)
        self.folder = Path(base.name).resolve() / "home"
        self.folder.mkdir()
        self.output = self.folder.parent / "output"
        self.worker = self.start_worker()

    def start_worker(self, *options: str) -> Worker:
        worker = Worker(
            self.program, self.output, *self.options, *options, env={"HOME": str(self.folder), "LEFT_OVER": "yes"}
        )
        self.addCleanup(worker.stop)
        return worker

    def signal(self, name: str) -> Signal:
        """A L{Signal} in the jobs' folder."""
        signal = Signal(self.folder / name)
        self.addCleanup(signal.close)
        return signal

    def write(self, name: str, text: str, folder: Path | None = None) -> Path:
        """A file in the jobs' folder."""
        path = (folder or self.folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class Signal:
    """
    A named pipe by which a job tells the test that it has come so far: C{echo > NAME}.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self) -> str:
        """What the job has written, once it has."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(PATIENCE * 1000):
            raise AssertionError("the job gives no sign")
        return os.read(self._descriptor, 4096).decode().strip()

    def give(self) -> None:
        """Let a job go on that waits for a line: C{read x < NAME}."""
        os.write(self._descriptor, b"go\n")

    def close(self) -> None:
        os.close(self._descriptor)


def pickled(function: Any, *args: Any, **kwargs: Any) -> str:
    """The C{pickle} field for this call."""
    return base64.b64encode(pickle.dumps((function, args, kwargs))).decode()


def unpickled(outcome: dict[str, Any]) -> Any:
    """What stands in an outcome's C{pickle}."""
    return pickle.loads(base64.b64decode(outcome["pickle"]))


def alive(pid: int) -> bool:
    """Whether a process runs: an ended one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
