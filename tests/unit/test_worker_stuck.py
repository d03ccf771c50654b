"""What cannot be killed: it is told, keeps its place, and is reported when it has gone after all."""

from __future__ import annotations

import json
import os
import signal
import socket

from jobd.worker import journal
from tests.unit.worker_link import WorkerTestCase

STUBBORN = "trap '' TERM; echo $$ > sign; while :; do sleep 0.1; done"


class Stuck(WorkerTestCase):
    """A runner whose commands hang."""

    program = "tests.unit.hanging_runner"

    def setUp(self) -> None:
        super().setUp()
        self.sign = self.signal("sign")

    def hang(self) -> int:
        """Job 1 runs, is cancelled and killed, and hangs; its process."""
        self.worker.start(1, shell=STUBBORN, cwd=str(self.folder))
        pid = int(self.sign.wait())
        self.worker.send("C 1 1 0.1")
        self.assertIn("job 1 cannot be killed", self.worker.line())
        self.assertEqual("T 1 1", self.worker.line())
        return pid

    def test_told(self) -> None:
        """It is told once; others go on; when it goes after all its finish is reported."""
        self.hang()
        self.assertEqual("succeeded", self.worker.run(2, argv=["true"]).state)
        self.write("let-go", "")
        done = self.worker.done()
        self.assertEqual((1, "SIGKILL"), (done.job, done.outcome["signal"]))

    def test_stop(self) -> None:
        """A runner that is to stop does not wait for it, and says nothing of how it has ended."""
        pid = self.hang()
        self.worker.send("Q")
        self.assertEqual(0, self.worker.wait())
        assert self.worker.process.stdout is not None
        self.assertEqual(b"", self.worker.process.stdout.read())
        os.kill(pid, signal.SIGKILL)


class StuckAndAdopted(Stuck):
    """The same for a runner that outlives its daemon."""

    def setUp(self) -> None:
        path = self.mktemp()
        os.mkdir(path)
        self.journal = os.path.join(os.path.abspath(path), "command-1-1")
        with open(self.journal, "w"):
            pass
        self.options = ("--journal", self.journal)
        super().setUp()

    def test_told_again(self) -> None:
        """The next daemon is told, too."""
        self.hang()
        self.worker.close_link()
        folder, name = os.path.split(self.journal)
        connection = socket.socket(socket.AF_UNIX)
        self.addCleanup(connection.close)
        with journal.socket_path(folder, name) as address:
            connection.connect(address)
        lines = connection.makefile("rb")
        self.addCleanup(lines.close)
        self.assertEqual(b"H %d\nA 1 1\nE\nT 1 1\n" % self.worker.process.pid, b"".join(next(lines) for _ in range(4)))
        self.write("let-go", "")
        self.assertEqual("SIGKILL", json.loads(next(lines).split(b" ", 5)[5])["signal"])
