"""A worker that another version of jobd has started, seen from the daemon that takes it over."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from jobd.actions import Start
from jobd.events import Finished
from jobd.job import Lane
from jobd.pool.adopted import AdoptedWorker
from jobd.pool.estate import Estate
from jobd.pool.journals import Found, Journals
from jobd.pool.worker import Attempt, Worker


class Socket(StringTransport):
    """One that can be closed in one direction."""

    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True


class Heard:
    """What a pool hears of it."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.reports: list[int] = []

    def at_once(self, happen: Callable[[bytes], object], data: bytes) -> None:
        happen(data)

    def ended(self, worker: Worker, ends: list[Finished], seconds: list[float]) -> None:
        assert len(ends) == len(seconds)
        self.told += [("ended", end.job_id, end.state.word, end.outcome) for end in ends]

    def returned(self, worker: Worker, start: Start) -> None:
        self.told.append(("returned", start.job_id))

    def stuck(self, worker: Worker, attempt: Attempt) -> None:
        self.told.append(("stuck", *attempt))

    def crowded_out(self, worker: Worker, start: Start, reason: str) -> None:
        self.told.append(("crowded out", start.job_id))

    def progressed(self, job_id: int, attempt: int, json: bytes) -> None:
        self.told.append(("progressed", job_id))

    def reported(self, worker: Worker) -> None:
        self.reports.append(worker.reports)

    def gone(self, worker: Worker) -> None:
        self.told.append(("gone",))


class OtherVersions(SynchronousTestCase):
    """The lines H, A, E, D, K, C and Q mean the same in every version; what is new to one it does not need."""

    def setUp(self) -> None:
        self.heard = Heard()
        found = Found("command-1-1", Lane.COMMAND, True, pid=7)
        self.estate = Estate([Start(number, 1, Lane.COMMAND, b"{}") for number in (1, 2)], [found])
        self.answers: list[AdoptedWorker] = []
        self.worker = AdoptedWorker(found, Clock(), self.heard, self.estate, self.answers.append, Journals(""))
        self.transport = Socket()
        self.worker.makeConnection(self.transport)

    def test_unknown_lines(self) -> None:
        """A line that this version does not know, or that is not whole, is logged, and all others count."""
        self.worker.dataReceived(b"H 7 of version 9\nX 1 2 3\nA 1 1\nA 2 1 more words\nD 2 1\nAA\n\n\xff\nE\n")
        self.assertEqual([self.worker], self.answers)
        self.assertEqual({(1, 1)}, set(self.worker.inflight))
        self.worker.dataReceived(b'W 1 1 {}\nD 1 1 succeeded 0.5 {"exit_code": 0, "new": 1}\nD 2 1 failed 0.5 {}\n')
        expected = [("ended", 1, "succeeded", b'{"exit_code": 0, "new": 1}'), ("ended", 2, "failed", b"{}")]
        self.assertEqual(expected, self.heard.told)

    def test_unwanted(self) -> None:
        """An outcome that nobody wants to know is no end, but counts: it has to be told that it is kept."""
        self.worker.dataReceived(b"H 7\nA 9 1\nA 1 1\nE\nD 9 1 failed 0.5 {}\n")
        self.assertEqual(([], [1]), (self.heard.told, self.heard.reports))
        self.worker.dataReceived(b"D 1 1 succeeded 0.5 {}\nP 1 1 {}\nD 2 1 failed 0.5 {}\n")
        self.assertEqual([2, 3], self.heard.reports[1:])
        self.assertEqual(["ended", "progressed", "ended"], [what for what, *_ in self.heard.told])

    def test_stuck(self) -> None:
        """That something it runs is stuck is heard from it as from any other."""
        self.worker.dataReceived(b"H 7\nA 1 1\nE\nT 1 1\nT 5 1\n")
        self.assertEqual([("stuck", 1, 1)], self.heard.told)

    def test_what_it_is_told(self) -> None:
        """It is told what any version understands: to end an attempt, what is kept, and to end."""
        self.worker.dataReceived(b"H 7\nA 1 1\nE\n")
        self.worker.ask_to_end(1, 1, 5.0)
        self.worker.kept(1)
        self.worker.finish()
        self.assertEqual((b"C 1 1 5.000000\nK 1\nQ\n", True), (self.transport.value(), self.transport.half_closed))
