"""
A side in a Python process of its own: what it imports, the threads and the
processes it starts burden nobody else's measurement, and all of it can be
ended however it behaves.

The process is told numbers of jobs, a line each, and answers with its figures
as JSON, a line each. Its first line says that it is ready, or why it is not.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from benchmarks.contender import Measure, Trouble, Unavailable

_ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 30.0
"""Seconds that it has to end once it is no longer needed."""

_KEPT_LINES = 8
"""How much of what it has printed stands in the message when it fails."""


def aside(name: str, *arguments: str) -> Callable[[], AbstractContextManager[Measure]]:
    """
    @param name: C{module:function} of the context manager that makes it ready.
    @param arguments: for that function.
    """
    return partial(_beside, name, *arguments)


@contextmanager
def _beside(name: str, *arguments: str) -> Iterator[Measure]:
    with (
        tempfile.TemporaryFile() as printed,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.aside", name, *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            side = _Side(process, printed)
            side.answer()
            yield side.measure
        finally:
            _end(process)


class _Side:
    """The process, from outside."""

    def __init__(self, process: subprocess.Popen[str], printed: IO[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._printed = process, printed
        self._in, self._out = process.stdin, process.stdout

    def measure(self, jobs: int) -> Sequence[float | None]:
        with suppress(BrokenPipeError):
            print(jobs, file=self._in, flush=True)
        found: Sequence[float | None] = self.answer()["figures"]
        return found

    def answer(self) -> dict[str, Any]:
        """
        @raise Unavailable: it cannot be had.
        @raise Trouble: it did not do its work, or has ended.
        """
        line = self._out.readline()
        answer = json.loads(line) if line else {"trouble": f"it ended and left these words: {self._last_words()}"}
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "trouble" in answer:
            raise Trouble(answer["trouble"])
        found: dict[str, Any] = answer
        return found

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").splitlines()
        return " / ".join(lines[-_KEPT_LINES:])


def _end(process: subprocess.Popen[str]) -> None:
    """It ends by itself when its input does; otherwise it and all of its session are killed."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _serve(name: str, arguments: Sequence[str]) -> None:
    """Inside the process."""
    # What libraries print belongs into the log, not between the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def say(**answer: object) -> None:
            print(json.dumps(answer), file=answers, flush=True)

        module, _, function = name.partition(":")
        try:
            with getattr(importlib.import_module(module), function)(*arguments) as measure:
                say(ready=True)
                for line in sys.stdin:
                    say(figures=measure(int(line)))
        except Unavailable as reason:
            say(unavailable=str(reason))
        except Trouble as problem:
            say(trouble=str(problem))


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
