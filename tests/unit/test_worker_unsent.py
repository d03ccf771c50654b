"""Reports that wait to be sent: none is lost, none comes twice, whatever becomes of the worker."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from jobd.worker import journal
from jobd.worker.journal import Journal
from jobd.worker.link import Link
from jobd.worker.unsent import ROOM, Shared, Unsent
from tests.unit.worker_link import Worker, WorkerTestCase

SKIP = None if sys.platform == "linux" else "reports wait on Linux only"

PATIENT = "import __main__; __main__._HOLD = __main__._BRIEF = 1e9"
"""What makes reports wait in a worker for as long as they can."""


class Links(SynchronousTestCase):
    """The worker's end of the link."""

    skip = SKIP

    def setUp(self) -> None:
        self.shared = Shared(True)
        self.addCleanup(self.shared.close)
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.addCleanup(os.close, self.reader)
        self.path = os.path.abspath(self.mktemp())
        with open(self.path, "wb"):
            pass
        self.link = Link(os.dup(self.reader), writer, Journal(self.path), Unsent(os.dup(self.shared.descriptor)))

    def sent(self) -> bytes:
        try:
            return os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return b""

    def test_waits(self) -> None:
        """A report waits where the daemon finds it, until it is asked for; then it is not there any more."""
        self.link.hold(b"D 1\n")
        self.link.hold(b"D 2\n")
        self.assertEqual((b"", [b"D 1", b"D 2"]), (self.sent(), self.shared.lines()))
        self.link.flush()
        self.assertEqual((b"D 1\nD 2\n", []), (self.sent(), self.shared.lines()))
        self.link.flush()
        self.assertEqual(b"", self.sent())

    def test_order(self) -> None:
        """Whatever is sent comes behind what waits."""
        self.link.hold(b"D 1\n")
        self.link.send(b"R 2\n")
        self.link.hold(b"D 3\n")
        self.link.report(b"D 4\n")
        self.assertEqual((b"D 1\nR 2\nD 3\nD 4\n", []), (self.sent(), self.shared.lines()))

    def test_no_room(self) -> None:
        """Where there is no room for one more they are sent."""
        line = b"D %b\n" % (b"x" * (ROOM // 4))
        for _ in range(3):
            self.link.hold(line)
        self.assertEqual(b"", self.sent())
        self.link.hold(line)
        self.assertEqual(4 * line, self.sent())
        self.assertEqual([], self.shared.lines())

    def test_the_link_ends(self) -> None:
        """What waits when there is no daemon any more goes into the journal, and so does what ends from then on."""
        self.link.hold(b"D 1 1\n")
        self.link.leave([(b"2", b"1")])
        self.link.hold(b"D 2 1\n")
        with open(self.path, "rb") as file:
            lines = journal.decode(file.read())
        self.assertEqual([b"B 2 1", b"D 1 1", b"E", b"D 2 1"], lines[1:])

    def test_kept(self) -> None:
        """A report that has waited is remembered like any other until it is kept."""
        self.link.hold(b"D 1 1\n")
        self.link.flush()
        self.link.report(b"D 2 1\n")
        self.link.kept(1)
        self.link.leave([])
        with open(self.path, "rb") as file:
            lines = journal.decode(file.read())
        self.assertEqual([b"D 2 1", b"E"], lines[1:])

    def test_copy(self) -> None:
        """A forked copy of the worker leaves alone what waits."""
        self.link.hold(b"D 1\n")
        self.link.abandon()
        self.link.flush()
        self.link.report(b"D 2\n")
        self.assertEqual((b"", [b"D 1"]), (self.sent(), self.shared.lines()))


class Calls(WorkerTestCase):
    """A call worker that lets reports wait for as long as it can."""

    skip = SKIP

    def test_no_such_memory(self) -> None:
        """Where there is no such memory, or it is forbidden, reports do not wait; without room it is tried again."""

        def refuse(number: int) -> Callable[..., int]:
            def create(*name: object) -> int:
                raise OSError(number, os.strerror(number))

            return create

        for number in (errno.ENOSYS, errno.EPERM):
            self.patch(os, "memfd_create", refuse(number))
            shared = Shared(True)
            self.assertEqual((-1, None, []), (shared.descriptor, shared.descriptors, shared.option))
        self.patch(os, "memfd_create", refuse(errno.EMFILE))
        self.assertRaises(OSError, Shared, True)

    def start_worker(self, *options: str) -> Worker:
        self.shared = Shared(True)
        self.addCleanup(self.shared.close)
        inherited = self.shared.descriptor
        env = {"HOME": str(self.folder)}
        worker = Worker("call", self.output, "--unsent", str(inherited), *options, env=env, pass_fds=[inherited])
        self.addCleanup(worker.stop)
        return worker

    def give(self, *codes: str) -> None:
        """Calls from number 1 on, in one piece; after the first reports wait if they can."""
        specs = [json.dumps({"call": "builtins:exec", "args": [code]}) for code in (PATIENT, *codes)]
        self.worker.send("\n".join(f"S {number} 1 {spec}" for number, spec in enumerate(specs, 1)))

    def left(self) -> list[int]:
        """Once it has died: the jobs it has reported, sent or not."""
        self.worker.wait()
        assert self.worker.process.stdout is not None
        sent = self.worker.process.stdout.read() or b""
        lines = [*sent.split(b"\n")[:-1], *self.shared.lines()]
        return [int(line.split(b" ")[1]) for line in lines if line.startswith(b"D ")]

    def test_dies(self) -> None:
        """However a call ends its worker, those before it are reported, and it is not."""
        for code in ("os._exit(3)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 11)"):
            self.worker = self.start_worker()
            self.give("pass", "pass", f"import os; {code}", "pass")
            self.assertEqual([1, 2, 3], self.left())

    def test_long(self) -> None:
        """A report does not wait for the end of a call that proves to be long."""
        signal = self.signal("go")
        self.give("pass", f"open({str(self.folder / 'go')!r}).readline()")
        self.assertEqual([1, 2], [self.worker.done().job for _ in range(2)])
        signal.give()
        self.assertEqual(3, self.worker.done().job)

    def test_unknown(self) -> None:
        """Nor for one of which nothing is known, even if it keeps the interpreter."""
        self.worker.start(1, call="builtins:exec", args=[PATIENT])
        self.worker.done()
        line = json.dumps({"call": "builtins:exec", "args": ["pass"]})
        other = json.dumps({"call": "os:_exit", "args": [3]})
        self.worker.send(f"S 2 1 {line}\nS 3 1 {line}\nS 4 1 {other}")
        self.assertEqual([2, 3], [self.worker.done().job for _ in range(2)])
        self.worker.wait()
        self.assertEqual([], self.shared.lines())

    def test_fork(self) -> None:
        """A call that forks, and of which both copies come back, has each report come once."""
        self.give("pass", "import os; os.fork() and os.wait()", "pass")
        self.assertEqual([1, 2, 3, 4], [self.worker.done().job for _ in range(4)])
        self.assertEqual(0, self.worker.close())
        self.assertEqual([], self.left())

    def test_cancel(self) -> None:
        """What waits is sent before the worker ends itself with a call."""
        signal = self.signal("begun")
        sleep = f"import time; open({str(self.folder / 'begun')!r}, 'w').write('yes'); time.sleep(1000)"
        self.give("pass", sleep, "pass")
        signal.wait()
        self.worker.send("C 3 1 5")
        words = [self.worker.line().split()[:2] for _ in range(4)]
        self.assertEqual([["D", "1"], ["D", "2"], ["R", "4"], ["U", "3"]], words)

    def test_the_end(self) -> None:
        """Where the link ends, what waits is sent first."""
        self.give("pass", "pass")
        self.worker.close_link()
        self.assertEqual(([1, 2, 3], []), (self.left(), self.shared.lines()))
