"""What the pool makes of workers that misbehave: programs in a script, no processes, a clock that the test moves."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from typing import Any
from unittest import skipIf

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from jobd.actions import Kill, Start
from jobd.events import Capacity, Finished, Long, Returned, Stuck
from jobd.job import Lane
from jobd.pool import Report, processes
from jobd.pool.journals import Journals
from jobd.pool.processes import OVERDUE, PAUSE, STOP, STUCK, ProcessPool
from jobd.pool.shortage import SOON
from jobd.pool.worker import DRAIN, LONGEST, SpawnedWorker
from jobd.prompt import PIECE
from jobd.worker.unsent import Unsent


class Program:
    """A worker's process, as its transport shows it: it does what the test says."""

    pid = None
    unsent: Unsent

    def __init__(self, worker: SpawnedWorker, arguments: list[str]) -> None:
        self.worker = worker
        self.lane = worker.lane
        self.pipes: dict[int, Any] = {}
        self.arguments = arguments
        self.read = b""
        self.input_closed = False
        self.signals: list[str] = []
        self.pipes_closed = False

    def write(self, data: bytes) -> None:
        self.read += data

    def closeStdin(self) -> None:
        self.input_closed = True

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def loseConnection(self) -> None:
        self.pipes_closed = True

    def say(self, text: str) -> None:
        self.worker.outReceived(text.encode())

    def exit(self, code: int = 0, number: int | None = None, pipes: bool = True) -> None:
        """The process ends; its pipes too, unless something that it has left holds them."""
        problem = ProcessTerminated(code, number, None) if code or number else ProcessDone(None)
        reason = Failure(problem)
        self.worker.processExited(reason)
        if pipes:
            self.worker.processEnded(reason)


class Pipe(FileDescriptor):
    """What a worker writes into."""

    def __init__(self) -> None:
        super().__init__(object())  # type: ignore[arg-type]
        self.told: list[str] = []
        self.reading: Callable[[], object] = lambda: None

    def stopReading(self) -> None:
        self.told.append("stop")

    def startReading(self) -> None:
        self.told.append("start")

    def doRead(self) -> None:
        self.told.append("read")
        self.reading()


class Descriptor:
    """What is read of a worker."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number


class Programs:
    """The part of a reactor that starts processes."""

    def __init__(self) -> None:
        self.all: list[Program] = []
        self.room = True

    def spawnProcess(
        self, worker: ProcessProtocol, program: str, arguments: list[str], env: object, childFDs: object = None
    ) -> None:
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if not isinstance(worker, SpawnedWorker):
            # What looks for what a worker may have left: there is nothing.
            worker.processEnded(Failure(ProcessDone(None)))
            return
        started = Program(worker, arguments)
        if isinstance(childFDs, dict):
            started.unsent = Unsent(os.dup(childFDs[3]))
        self.all.append(started)
        worker.makeConnection(started)

    def of(self, lane: Lane) -> list[Program]:
        return [program for program in self.all if program.lane is lane]


def keep(pool: ProcessPool) -> None:
    """All that it has reported is kept. Once it has said so there is nothing more to be kept of that."""
    heard = pool.heard()
    assert heard is not None
    assert pool.heard() is None
    pool.kept(heard)


class Misbehaviour(SynchronousTestCase):
    """A pool with one place."""

    def setUp(self) -> None:
        self.programs = Programs()
        self.clock = Clock()
        self.reports: list[Report] = []
        self.told: list[tuple[int, int, bytes]] = []
        self.pool = ProcessPool(self.programs, self.clock, 1, self.mktemp(), {"A": "b"})  # type: ignore[arg-type]
        self.pool.open(lambda *reports: self.reports.extend(reports), lambda *said: self.told.append(said), [])
        self.reports.clear()

    def start(self, job_id: int, lane: Lane = Lane.CPU) -> None:
        self.pool.start(Start(job_id, 1, lane, b"{}"))
        self.pool.flush()

    def newest(self, lane: Lane = Lane.CPU) -> Program:
        return self.programs.of(lane)[-1]

    def ends(self) -> list[tuple[int, str]]:
        """Reports in short, those of capacity left out."""
        found = []
        for report in self.reports:
            if isinstance(report, Finished):
                found.append((report.job_id, report.state.word))
            elif isinstance(report, Returned):
                found.append((report.job_id, "returned"))
        return found

    def outcome(self) -> dict[str, Any]:
        (report,) = [report for report in self.reports if isinstance(report, Finished)]
        outcome: dict[str, Any] = json.loads(report.outcome)
        return outcome

    def test_lines_in_any_pieces(self) -> None:
        """A worker's lines are read however they are cut."""
        self.start(7)
        for character in 'H 1\nD 7 1 succeeded 0.5 {"exit_code": 0}\n':
            self.newest().say(character)
        self.assertEqual([(7, "succeeded")], self.ends())
        self.assertEqual(b"S 7 1 {}\n", self.newest().read)

    @skipIf(sys.platform == "win32", "nothing is read on from a pipe there")
    def test_read_on(self) -> None:
        """Where the reactor has read a whole piece, what else is in the pipe is taken with it."""
        worker = self.newest()
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        os.set_blocking(reader, False)
        worker.pipes[1] = Descriptor(reader)
        for job_id in (7, 8):
            self.start(job_id)
        first = b"D 7 1 succeeded 0.5 {}\nD 8 1 succeeded 0.5 "
        os.write(writer, b"{}\n")
        worker.worker.outReceived(b"H 1\nL " + b"x" * (PIECE - len(first) - 7) + b"\n" + first)
        self.assertEqual([(7, "succeeded"), (8, "succeeded")], self.ends())

    def test_nonsense(self) -> None:
        """A line that a worker should not have said is logged, and the others count."""
        self.start(7)
        self.newest().say("H 1\nX\nD 7\nD 99 1 succeeded 0.1 {}\nD 7 1 maybe 0.1 {}\nR x y\n\nP 7 1 {}\nL a line\n")
        self.assertEqual(([], [(7, 1, b"{}")]), (self.ends(), self.told))

    def test_no_end(self) -> None:
        """A worker that says a line without an end does not fill the memory: it is killed; the attempt is lost."""
        self.start(7)
        self.newest().say("H 1\n")
        for _ in range(LONGEST // (1 << 20) + 1):
            self.newest().say("x" * (1 << 20))
        self.assertEqual(["KILL"], self.newest().signals)
        self.newest().exit(0, 9)
        self.assertEqual([(7, "lost")], self.ends())

    def test_no_end_state(self) -> None:
        """An attempt cannot end in a state that is no end."""
        self.start(7)
        self.newest().say("H 1\nD 7 1 running 0.1 {}\nD 7 1 waiting 0.1 {}\n")
        self.assertEqual([], self.ends())

    def test_dies_before_it_is_ready(self) -> None:
        """A worker that dies before it was ready costs no attempt; another is started, after a pause."""
        self.start(7)
        self.newest().exit(1)
        self.assertEqual(([(7, "returned")], 1), (self.ends(), len(self.programs.of(Lane.CPU))))
        self.start(8)
        self.clock.advance(PAUSE - 0.1)
        self.assertEqual(1, len(self.programs.of(Lane.CPU)))
        self.clock.advance(0.1)
        self.assertEqual((2, b"S 8 1 {}\n"), (len(self.programs.of(Lane.CPU)), self.newest().read))

    def test_no_room_for_a_worker(self) -> None:
        """
        One that cannot be started as the system has no room is tried again after a pause, longer each time;
        what is started meanwhile waits for it, and no attempt is used up.
        """
        self.newest().say("H 1\n")
        self.programs.room = False
        self.newest().exit(0, 9)
        self.start(7)
        for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE):
            self.clock.advance(pause)
        self.assertEqual(([], 1), (self.ends(), len(self.programs.of(Lane.CPU))))
        self.programs.room = True
        self.clock.advance(8 * PAUSE)
        self.assertEqual((2, b"S 7 1 {}\n"), (len(self.programs.of(Lane.CPU)), self.newest().read))

    def test_no_room_for_a_command(self) -> None:
        """
        A command for which the system has no room keeps its place and is tried again, less and less often; nothing
        else is tried meanwhile, and as soon as one has run the pauses are short again.
        """
        runner = self.newest(Lane.COMMAND)
        runner.read = b""
        self.start(7, Lane.COMMAND)
        tries = []
        for _ in range(10):
            self.assertEqual(b"S 7 1 {}\n", runner.read)
            runner.read = b""
            runner.say("F 7 1 cannot start a process\n")
            (due,) = self.clock.getDelayedCalls()
            tries.append(round(due.getTime() - self.clock.seconds(), 3))
            self.clock.advance(tries[-1] + 0.001)
        self.assertEqual([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0], tries)
        self.assertEqual(([], 0), (self.ends(), self.pool.stats()["waiting"]))
        runner.read = b""
        runner.say('D 7 1 succeeded 0.1 {"exit_code": 0}\n')
        self.start(8, Lane.COMMAND)
        runner.say("F 8 1 cannot start a process\n")
        runner.read = b""
        self.clock.advance(SOON)
        self.assertEqual(b"S 8 1 {}\n", runner.read)

    def test_what_waits_for_room(self) -> None:
        """Commands that are started meanwhile wait, too; one that is killed is handed back, and its place is free."""
        runner = self.newest(Lane.COMMAND)
        self.start(7, Lane.COMMAND)
        runner.say("F 7 1 cannot start a process\n")
        runner.read = b""
        self.pool.start(Start(9, 1, Lane.COMMAND, b"{}", cpus=0))
        self.pool.start(Start(8, 1, Lane.COMMAND, b"{}"))
        self.pool.flush()
        self.assertEqual((b"", 3), (runner.read, self.pool.stats()["waiting"]))
        self.pool.kill(Kill(7, 1, Lane.COMMAND, 5.0))
        self.assertEqual([(7, "returned")], self.ends())
        self.clock.advance(SOON)
        self.assertEqual(b"S 9 1 {}\nS 8 1 {}\n", runner.read)

    def test_closed_while_there_is_no_room(self) -> None:
        """When the daemon stops, what waits for room is handed back."""
        self.start(7, Lane.COMMAND)
        self.newest(Lane.COMMAND).say("F 7 1 cannot start a process\n")
        self.pool.close()
        self.assertEqual([(7, "returned")], self.ends())

    def test_killed_while_it_waits_for_a_worker(self) -> None:
        """What waits for a worker and is killed is handed back."""
        self.newest().exit(1)
        self.start(7)
        self.pool.kill(Kill(7, 1, Lane.CPU, 5.0))
        self.assertEqual([(7, "returned")], self.ends())
        self.clock.advance(PAUSE)
        self.assertEqual(b"", self.newest().read)

    def test_dies_at_work(self) -> None:
        """Of calls given to a worker that dies the first is lost, the others come back; another takes its place."""
        for job_id in (7, 8, 9):
            self.start(job_id)
        self.newest().say('H 1\nD 7 1 succeeded 0.1 {"exit_code": 0}\n')
        self.reports.clear()
        self.newest().exit(0, 9)
        self.assertEqual([(9, "returned"), (8, "lost")], self.ends())
        self.assertEqual("its worker was killed by SIGKILL", self.outcome()["error"])
        self.assertEqual(2, len(self.programs.of(Lane.CPU)))

    def test_dies_before_it_has_sent_all(self) -> None:
        """What a dead worker had reported and not sent counts, once, whatever of it was sent after all."""
        for job_id in (6, 7, 8, 9):
            self.start(job_id)
        program = self.newest()
        for job_id in (6, 7):
            program.unsent.add(b'D %d 1 succeeded 0.1 {"exit_code": 0}\n' % job_id)
        program.say('H 1\nD 6 1 succeeded 0.1 {"exit_code": 0}\nD 7 1 succ')
        program.exit(0, 9)
        self.assertEqual([(6, "succeeded"), (7, "succeeded"), (9, "returned"), (8, "lost")], self.ends())

    def test_overdue_behind_what_is_not_sent(self) -> None:
        """A call that keeps the interpreter is ended with its worker, though the report of the one before waits."""
        for job_id in (7, 8):
            self.start(job_id)
        self.newest().say("H 1\n")
        self.newest().unsent.add(b'D 7 1 succeeded 0.1 {"exit_code": 0}\n')
        self.pool.kill(Kill(8, 1, Lane.CPU, 5.0))
        self.clock.advance(5.0 + OVERDUE)
        self.assertEqual(["KILL"], self.newest().signals)

    if sys.platform != "linux":
        for test in (test_dies_before_it_has_sent_all, test_overdue_behind_what_is_not_sent):
            test.skip = "reports wait on Linux only"  # type: ignore[attr-defined]

    def with_two_places(self) -> ProcessPool:
        """Its runner is the newest program of its lane."""
        pool = ProcessPool(self.programs, self.clock, 2, self.mktemp(), {})  # type: ignore[arg-type]
        pool.open(lambda *reports: self.reports.extend(reports), lambda *said: None, [])
        self.newest(Lane.COMMAND).say("H 1\n")
        return pool

    def test_the_runner_dies(self) -> None:
        """
        Of commands all that may have begun are lost: those that need no place, and as many of the others as there are
        places. Those that waited come back, in their order.
        """
        pool = self.with_two_places()
        for job_id, cpus in ((6, 1), (7, 1), (8, 0), (9, 1), (10, 1), (11, 1), (12, 0)):
            pool.start(Start(job_id, 1, Lane.COMMAND, b"{}", cpus))
        pool.flush()
        self.newest(Lane.COMMAND).say('D 6 1 succeeded 0.1 {"exit_code": 0}\n')
        self.newest(Lane.COMMAND).exit(3)
        ends = [(6, "succeeded"), (11, "returned"), (10, "returned"), *((one, "lost") for one in (7, 8, 9, 12))]
        self.assertEqual(ends, self.ends())

    def test_a_runner_that_never_came_up(self) -> None:
        """What was given to a runner that dies before it is ready comes back."""
        self.start(7, Lane.COMMAND)
        self.newest(Lane.COMMAND).exit(3)
        self.assertEqual([(7, "returned")], self.ends())

    def test_the_runner_is_told_its_places(self) -> None:
        """Each runner is told first how many places there are."""
        self.with_two_places()
        self.assertEqual(b"N 2 0\n", self.newest(Lane.COMMAND).read)
        self.newest(Lane.COMMAND).exit(3)
        self.assertEqual(b"N 2 0\n", self.newest(Lane.COMMAND).read)

    def test_rest(self) -> None:
        """
        While the daemon rests a runner that has something more to begin is not listened to; after that, what it has
        said is read at once.
        """
        runner = self.newest(Lane.COMMAND)
        pipe = Pipe()
        runner.pipes = {1: pipe}
        self.start(7, Lane.COMMAND)
        self.pool.rest()
        self.pool.listen()
        self.assertEqual([], pipe.told)
        self.start(8, Lane.COMMAND)
        self.pool.rest()
        self.assertEqual(["stop"], pipe.told)
        self.pool.listen()
        self.pool.listen()
        self.assertEqual(["stop", "start", "read"], pipe.told)

    def test_rest_at_the_end(self) -> None:
        """A runner whose pipe is closed while the daemon rests is not read from."""
        runner = self.newest(Lane.COMMAND)
        runner.pipes = {1: Pipe()}
        for job_id in (7, 8):
            self.start(job_id, Lane.COMMAND)
        self.pool.rest()
        pipe = runner.pipes.pop(1)
        self.pool.listen()
        self.assertEqual(["stop"], pipe.told)

    def test_the_runner_ends_while_the_daemon_rests(self) -> None:
        """What a runner has said before its end is read, however long the daemon rests: it is no more to be lost."""
        runner = self.newest(Lane.COMMAND)
        pipe = Pipe()
        pipe.reading = lambda: runner.say('D 7 1 succeeded 0.1 {"exit_code": 0}\n')
        runner.pipes = {1: pipe}
        runner.say("H 1\n")
        for job_id in (7, 8):
            self.start(job_id, Lane.COMMAND)
        self.pool.rest()
        runner.exit(0, 9, pipes=False)
        self.assertEqual([(7, "succeeded")], self.ends())
        self.pool.rest()
        self.assertEqual(["stop", "start", "read"], pipe.told)
        self.clock.advance(DRAIN)
        self.assertEqual([(7, "succeeded"), (8, "lost")], self.ends())

    def test_no_journal_can_be_made(self) -> None:
        """A worker that cannot have a journal is tried again, and no memory is made for it that nobody lets go of."""

        def refuse(journals: Journals, lane: Lane) -> str:
            raise OSError(errno.ENOSPC, "No space left on device")

        made: list[bool] = []
        self.patch(Journals, "new", refuse)
        self.patch(processes, "Shared", made.append)
        pool = ProcessPool(self.programs, self.clock, 1, self.mktemp(), {}, self.mktemp())  # type: ignore[arg-type]
        begun = len(self.programs.all)
        pool.open(lambda *reports: None, lambda *said: None, [])
        self.clock.advance(60.0)
        self.assertEqual(([], begun), (made, len(self.programs.all)))

    def test_leaving(self) -> None:
        """Once what runs is left to the next daemon nothing more is told to be kept: what ends now is for that one."""
        pool = ProcessPool(self.programs, self.clock, 1, self.mktemp(), {}, self.mktemp())  # type: ignore[arg-type]
        pool.open(lambda *reports: self.reports.extend(reports), lambda *said: None, [])
        runner = self.newest(Lane.COMMAND)
        pool.start(Start(7, 1, Lane.COMMAND, b"{}"))
        pool.flush()
        pool.close(keep=True)
        runner.read = b""
        runner.say('H 1\nD 7 1 succeeded 0.1 {"exit_code": 0}\n')
        keep(pool)
        pool.flush()
        self.assertEqual((b"", []), (runner.read, self.ends()))

    def test_what_is_kept_is_no_reason_to_wake_the_runner(self) -> None:
        """It is told what is kept together with the next command, or when no more wait in it."""
        pool = ProcessPool(self.programs, self.clock, 1, self.mktemp(), {}, self.mktemp())  # type: ignore[arg-type]
        pool.open(lambda *reports: self.reports.extend(reports), lambda *said: None, [])
        runner = self.newest(Lane.COMMAND)
        pool.flush()
        runner.read = b""
        for job_id in range(1, 5):
            pool.start(Start(job_id, 1, Lane.COMMAND, b"{}"))
        pool.flush()
        seen = []
        for job_id in range(1, 5):
            runner.read = b""
            runner.say(f'D {job_id} 1 succeeded 0.1 {{"exit_code": 0}}\n')
            keep(pool)
            if job_id == 1:
                pool.start(Start(5, 1, Lane.COMMAND, b"{}"))
            pool.flush()
            seen.append(runner.read)
        self.assertEqual([b"K 1\nS 5 1 {}\n", b"", b"", b"K 2\nK 3\nK 4\n"], seen)

    def test_commands_that_are_long(self) -> None:
        """
        When a runner hands back what waits in it, those that run are told to be long before that, and no more is
        begun ahead for a while.
        """
        pool = self.with_two_places()
        runner = self.newest(Lane.COMMAND)
        for job_id in range(1, 61):
            pool.start(Start(job_id, 1, Lane.COMMAND, b"{}"))
        pool.flush()
        for job_id in range(1, 51):
            runner.say(f'D {job_id} 1 succeeded 0.000001 {{"exit_code": 0}}\n')
        self.assertEqual(16, pool.stats()["ahead"])
        self.reports.clear()
        runner.say("".join(f"R {job_id} 1\n" for job_id in range(60, 52, -1)))
        first = [Capacity(2, pool.stats()["depth"], 1), Long(51, 1), Long(52, 1), Returned(60, 1)]
        self.assertEqual(list(map(repr, first)), list(map(repr, self.reports[:4])))
        self.assertEqual([(job_id, "returned") for job_id in range(60, 52, -1)], self.ends())

    def test_something_holds_its_pipes(self) -> None:
        """A worker that has exited is given up soon, though something it left holds its pipes open."""
        self.start(7)
        self.newest().say("H 1\n")
        program = self.newest()
        program.exit(1, pipes=False)
        self.assertEqual([], self.ends())
        self.clock.advance(DRAIN)
        self.assertEqual(([(7, "lost")], True), (self.ends(), program.pipes_closed))

    def test_overdue(self) -> None:
        """A call that does not end within its grace is ended with its worker, unless another one runs there by then."""
        for job_id in (7, 8):
            self.start(job_id)
        self.newest().say("H 1\n")
        self.pool.kill(Kill(8, 1, Lane.CPU, 5.0))
        self.pool.kill(Kill(7, 1, Lane.CPU, 5.0))
        self.pool.flush()
        self.assertTrue(self.newest().read.endswith(b"C 8 1 5.000000\nC 7 1 5.000000\n"))
        self.newest().say('D 7 1 failed 0.1 {"exit_code": 1}\nR 8 1\n')
        self.clock.advance(5.0 + OVERDUE)
        self.assertEqual([], self.newest().signals)
        self.start(9)
        self.pool.kill(Kill(9, 1, Lane.CPU, 5.0))
        self.clock.advance(5.0 + OVERDUE)
        self.assertEqual(["KILL"], self.newest().signals)

    def test_stuck_command(self) -> None:
        """That a command is stuck is passed on; it has not ended, and its end is reported when it comes."""
        self.start(7, Lane.COMMAND)
        self.newest(Lane.COMMAND).say("H 1\nT 7 1\nT 8 1\n")
        (stuck,) = [report for report in self.reports if isinstance(report, Stuck)]
        self.assertEqual(((7, 1), []), ((stuck.job_id, stuck.attempt), self.ends()))
        self.newest(Lane.COMMAND).say('D 7 1 failed 0.1 {"exit_code": 137}\n')
        self.assertEqual([(7, "failed")], self.ends())

    def test_stuck_call(self) -> None:
        """A call whose worker was killed and does not go is stuck."""
        self.start(7)
        self.newest().say("H 1\n")
        self.pool.kill(Kill(7, 1, Lane.CPU, 5.0))
        self.clock.advance(5.0 + OVERDUE)
        self.assertEqual(["KILL"], self.newest().signals)
        self.assertEqual([], [report for report in self.reports if isinstance(report, Stuck)])
        self.clock.advance(STUCK)
        (stuck,) = [report for report in self.reports if isinstance(report, Stuck)]
        self.assertEqual((7, 1), (stuck.job_id, stuck.attempt))
        self.newest().exit(0, 9)
        self.assertEqual([(7, "lost")], self.ends())

    def test_stuck_while_closing(self) -> None:
        """What is stuck when the pool is closed is not handed back, as it may still be there: it is lost."""
        for job_id in (7, 8):
            self.pool.start(Start(job_id, 1, Lane.COMMAND, b"{}", 0))
        self.pool.flush()
        self.newest(Lane.COMMAND).say("H 1\nT 7 1\n")
        self.pool.close()
        for lane in Lane:
            self.newest(lane).exit()
        self.assertEqual([(7, "lost"), (8, "returned")], sorted(self.ends()))

    def test_closing(self) -> None:
        """
        When the pool is closed, workers get the end of their input, and one whose call runs on is soon killed; what
        does not end is killed in the end.
        """
        self.start(7)
        self.start(8, Lane.IO)
        self.newest().say("H 1\n")
        closed = self.pool.close()
        assert isinstance(closed, Deferred)
        self.assertEqual([True] * 3, [program.input_closed for program in self.programs.all])
        self.assertEqual(([], []), (self.newest(Lane.IO).signals, self.newest().signals))
        self.clock.advance(OVERDUE)
        self.assertEqual(([], ["KILL"]), (self.newest(Lane.IO).signals, self.newest().signals))
        self.newest().exit(0, 9)
        self.newest(Lane.COMMAND).exit()
        self.assertNoResult(closed)
        self.clock.advance(STOP)
        self.assertEqual(["KILL"], self.newest(Lane.IO).signals)
        self.newest(Lane.IO).exit(0, 9)
        self.successResultOf(closed)
        self.assertEqual([(7, "returned"), (8, "returned")], self.ends())
        self.assertEqual(([], 3), (self.clock.getDelayedCalls(), len(self.programs.all)))

    def test_what_ends_while_closing(self) -> None:
        """What succeeds while the pool is being closed has succeeded; what does not is handed back."""
        for job_id in (7, 8):
            self.start(job_id, Lane.IO)
        self.pool.close()
        self.newest(Lane.IO).say('D 7 1 succeeded 0.1 {"exit_code": 0}\nD 8 1 failed 0.1 {"exit_code": 1}\n')
        self.assertEqual([(7, "succeeded"), (8, "returned")], self.ends())

    def test_programs(self) -> None:
        """Each worker is told where the output goes."""
        for program in self.programs.all:
            self.assertEqual("--output", program.arguments[-2])
        self.assertEqual([], [report for report in self.reports if not isinstance(report, Capacity)])
