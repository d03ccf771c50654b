"""Output is kept up to a limit, and the job goes on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobd.worker.output import output_path
from tests.unit.worker_link import PATIENCE, WorkerTestCase

LIMIT = 1000

if TYPE_CHECKING:
    _Base = WorkerTestCase
else:
    _Base = object


class Limits(_Base):
    """What holds for commands and calls."""

    def code(self, text: str) -> dict[str, Any]:
        """The fields of a job that executes this."""
        return {"call": "builtins:exec", "args": [text]}

    def test_short(self) -> None:
        """What a short job has written too much is cut off at its end, of each stream for itself."""
        text = "import sys; print('a' * 5000, flush=True); print('b' * 999, file=sys.stderr, flush=True)"
        outcome = self.worker.run(1, **self.code(text)).outcome
        self.assertEqual((0, True), (outcome["exit_code"], outcome["cut"]))
        self.assertEqual((b"a" * LIMIT, b"b" * 999 + b"\n"), (self.worker.printed(), self.worker.printed(1, "err")))

    def test_just_so(self) -> None:
        """What is not over the limit is kept, and nothing is said; the job before does not count."""
        self.worker.run(1, **self.code("print('a' * 5000)"))
        outcome = self.worker.run(2, **self.code(f"print('b' * {LIMIT - 1})")).outcome
        self.assertNotIn("cut", outcome)
        self.assertEqual(b"b" * (LIMIT - 1) + b"\n", self.worker.printed(2))

    def test_long(self) -> None:
        """A job that goes on and on is cut while it runs, and ends as it would have."""
        sign = self.signal("sign")
        go = self.signal("go")
        text = (
            "import os, sys\n"
            "for part in 'abc':\n"
            "    for _ in range(100): print(part * 99, flush=True)\n"
            f"    os.write(os.open({str(self.folder / 'sign')!r}, 1), b'x\\n')\n"
            f"    os.read(os.open({str(self.folder / 'go')!r}, 0), 3)\n"
        )
        self.worker.start(1, **self.code(text))
        path = Path(output_path(str(self.worker.output), 1, 1, "out"))
        for _ in range(3):
            sign.wait()
            self.check_size(path)
            go.give()
        outcome = self.worker.done().outcome
        self.assertEqual((0, True), (outcome["exit_code"], outcome["cut"]))
        self.assertEqual((b"a" * 99 + b"\n") * 10, self.worker.printed())

    def check_size(self, path: Path) -> None:
        """The file is cut soon."""
        end = time.monotonic() + PATIENCE
        while not path.exists() or path.stat().st_size > LIMIT:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)


class Commands(Limits, WorkerTestCase):
    """The runner; only what it keeps itself is limited."""

    program = "runner"
    options = ("--output-limit", str(LIMIT))

    def code(self, text: str) -> dict[str, Any]:
        return {"argv": [sys.executable, "-c", text]}

    def test_named_file(self) -> None:
        """A file that the job names is its own affair."""
        self.worker.run(1, cwd=str(self.folder), stdout="mine", **self.code("print('a' * 5000)"))
        self.assertEqual(5001, (self.folder / "mine").stat().st_size)

    def test_many(self) -> None:
        """More jobs than there are files kept open are cut as well."""
        sign, go = self.signal("sign"), self.signal("go")
        count = 150
        for job in range(count):
            line = "printf '%02000d' 0; echo x > sign; read x < go"
            self.worker.start(job, shell=line, cwd=str(self.folder))
        told = 0
        while told < count:
            told += sign.wait().count("x")
        for _ in range(count):
            go.give()
        for job, done in self.worker.all_done(count).items():
            self.assertTrue(done.outcome["cut"])
            self.assertEqual(LIMIT, len(self.worker.printed(job) or b""))


class CommandsInThreads(Limits, WorkerTestCase):
    """The portable runner."""

    program = "runner"
    options = ("--portable", "--output-limit", str(LIMIT))
    code = Commands.code

    def check_size(self, path: Path) -> None:
        """It is cut at the end."""


class Calls(Limits, WorkerTestCase):
    """The call worker."""

    program = "call"
    options = ("--output-limit", str(LIMIT))


class IoCalls(Limits, WorkerTestCase):
    """The io worker."""

    program = "io"
    options = ("--output-limit", str(LIMIT))

    def check_size(self, path: Path) -> None:
        # It looks every so many lines, so as not to need a thread for it.
        self.assertLess(path.stat().st_size, 2 * 64 * 100 + LIMIT)
