"""Claims of the scheduler about attempts, how they end, and being ended."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from jobd import events
from jobd.actions import Announce, Kill, Note, Refuse, Start, Update
from jobd.errors import Finished
from jobd.job import FINAL, State

from .simulation import Bench, call, job, of, reply, told


class EndTests(TestCase):
    """An attempt ends."""

    def test_every_end(self) -> None:
        """Each end of the last attempt is the job's, and is kept before it is told, with the outcome as it came."""
        for state in FINAL - {State.SKIPPED}:
            bench = Bench()
            bench.one(conn=3)
            out = bench.finish(1, state, b'{"exit_code":3}')
            self.assertEqual([Update, Announce], [type(action) for action in out])
            self.assertEqual([(1, state.word, [3])], told(out))
            self.assertEqual((1, b'{"exit_code":3}'), (of(Announce, out)[0].cursor, of(Announce, out)[0].outcome))
            kept = of(Update, out)[0].job
            self.assertEqual(
                (state, 1, b'{"exit_code":3}', bench.wall), (kept.state, kept.cursor, kept.outcome, kept.ended)
            )

    def test_cursors(self) -> None:
        """Cursors grow by one in the order of the ends."""
        bench = Bench(cpus=3)
        bench.submit(job(), job(), job())
        for number in (2, 3, 1):
            bench.finish(number)
        self.assertEqual([(1, 2), (2, 3), (3, 1)], [(one.cursor, one.job_id) for one in of(Announce, bench.story)])

    def test_totals(self) -> None:
        """Ends are counted by state."""
        bench = Bench(cpus=4)
        bench.submit(job(), job(), job())
        bench.finish(1)
        bench.finish(2)
        bench.finish(3, State.LOST)
        counts = {word: count for word, count in bench.scheduler.totals.items() if count}
        self.assertEqual({"succeeded": 2, "lost": 1}, counts)

    def test_stale(self) -> None:
        """A report for a job that has ended, that never was or does not run is dropped, with a line for the log."""
        bench = Bench(cpus=1)
        bench.submit(job(), job())
        bench.finish(1)
        bench.one()
        for number in (1, 3, 99):
            for event in (
                events.Finished(number, 1, State.FAILED, b"{}"),
                events.Returned(number, 1),
                events.Long(number, 1),
            ):
                (note,) = bench.handle(event)
                assert isinstance(note, Note)
                self.assertEqual(
                    f"dropped a report for job {number}, attempt 1, which is not the current one", note.text
                )
        self.assertEqual(["succeeded", "running", "queued"], bench.states(1, 2, 3))

    def test_stale_attempt(self) -> None:
        """So is a report for an attempt before the current one."""
        bench = Bench()
        bench.one(attempts=3, backoff=0)
        bench.finish(1, State.FAILED)
        bench.advance(0)
        out = bench.handle(events.Finished(1, 1, State.SUCCEEDED, b"{}"))
        self.assertEqual([Note], [type(action) for action in out])
        self.assertEqual((State.RUNNING, 2), (bench.scheduler.jobs[1].state, bench.scheduler.jobs[1].attempt))


class AttemptTests(TestCase):
    """A job is tried more than once."""

    def test_again(self) -> None:
        """A failed, timed out or lost attempt is followed by another one; the last one's end is the job's."""
        for state in (State.FAILED, State.TIMED_OUT, State.LOST):
            bench = Bench()
            bench.one(attempts=2)
            out = bench.finish(1, state)
            self.assertEqual([Update], [type(action) for action in out])
            self.assertEqual("waiting", bench.states(1)[0])
            (start,) = of(Start, bench.advance(1))
            self.assertEqual(2, start.attempt)
            bench.finish(1, state)
            self.assertEqual(state.word, bench.states(1)[0])

    def test_enough(self) -> None:
        """One that succeeded, or was cancelled, is not."""
        for state in (State.SUCCEEDED, State.CANCELLED):
            bench = Bench()
            bench.one(attempts=5)
            bench.finish(1, state)
            self.assertEqual(state.word, bench.states(1)[0])

    def test_backoff(self) -> None:
        """The pause doubles with each attempt, up to an hour."""
        bench = Bench()
        bench.one(attempts=15, backoff=2)
        pauses = []
        for _ in range(14):
            bench.finish(1, State.FAILED)
            due = bench.scheduler.next_deadline()
            assert due is not None
            pauses.append(due - bench.steady)
            bench.advance(due - bench.steady)
        self.assertEqual([2.0, 4.0, 8.0, 16.0], [round(pause, 3) for pause in pauses[:4]])
        self.assertEqual([3600.0, 3600.0, 3600.0], [round(pause, 3) for pause in pauses[-3:]])

    def test_no_pause(self) -> None:
        """With a backoff of 0 the next attempt comes with the next tick."""
        bench = Bench()
        bench.one(attempts=2, backoff=0)
        bench.finish(1, State.FAILED)
        self.assertEqual(bench.steady, bench.scheduler.next_deadline())
        self.assertEqual(1, len(of(Start, bench.advance(0))))

    def test_outcome(self) -> None:
        """Between attempts a job has the outcome of the last one, and so it has if it is cancelled then."""
        bench = Bench()
        bench.one(attempts=2)
        bench.finish(1, State.FAILED, b'{"exit_code":7}')
        self.assertEqual(b'{"exit_code":7}', bench.scheduler.jobs[1].outcome)
        (announced,) = of(Announce, bench.cancel(1))
        self.assertEqual((State.CANCELLED, b'{"exit_code":7}'), (announced.state, announced.outcome))


class StuckTests(TestCase):
    """An attempt that was killed and does not go away."""

    def test_stuck(self) -> None:
        """That is noted once; it keeps its place until its end is reported after all."""
        bench = Bench(cpus=1)
        first, second = bench.one(), bench.one()
        (note,) = bench.handle(events.Stuck(first, 1))
        assert isinstance(note, Note)
        self.assertIn("is stuck", note.text)
        self.assertEqual([], bench.handle(events.Stuck(first, 1)))
        self.assertEqual((["running", "queued"], {first}), (bench.states(first, second), bench.scheduler.stuck))
        bench.finish(first, State.FAILED)
        self.assertEqual((["running"], set()), (bench.states(second), bench.scheduler.stuck))

    def test_another_attempt(self) -> None:
        """What is said of an attempt that is not the current one changes nothing."""
        bench = Bench(cpus=1)
        bench.handle(events.Stuck(bench.one(), 9))
        self.assertEqual(set(), bench.scheduler.stuck)


class ReturnedTests(TestCase):
    """The pool gives attempts back that it has not begun."""

    def test_keeps_attempt(self) -> None:
        """What was not begun was no attempt: its number is used again, and its turn comes before the others'."""
        bench = Bench(cpus=1)
        bench.submit(call(attempts=2), call())
        starts = of(Start, bench.give_back(1))
        self.assertEqual([(1, 1)], [(start.job_id, start.attempt) for start in starts])
        bench.finish(1, State.FAILED)
        bench.advance(1)
        bench.finish(2)
        self.assertEqual([1, 1, 2, 1], bench.started())
        self.assertEqual(2, of(Start, bench.story)[-1].attempt)

    def test_cancelled(self) -> None:
        """One that was to be cancelled is cancelled by that."""
        bench = Bench()
        bench.one()
        bench.cancel(1)
        self.assertEqual([(1, "cancelled", [])], told(bench.give_back(1)))

    def test_timed_out(self) -> None:
        """One whose timeout had passed has its full time again."""
        bench = Bench()
        bench.one(timeout=5)
        bench.advance(5)
        bench.give_back(1)
        self.assertIsNone(bench.scheduler.jobs[1].ending)
        bench.finish(1)
        self.assertEqual("succeeded", bench.states(1)[0])

    def test_deadline(self) -> None:
        """The timeout of an attempt that was given back does not cut the one that takes its number."""
        bench = Bench()
        bench.one(timeout=10)
        bench.advance(6)
        bench.give_back(1)
        self.assertEqual([], bench.advance(9))
        self.assertEqual(1, len(of(Kill, bench.advance(1))))

    def test_same_moment(self) -> None:
        """Given back and started again at the same moment, it still has one timeout."""
        bench = Bench()
        bench.one(timeout=10)
        bench.give_back(1)
        self.assertEqual(1, len(of(Kill, bench.advance(10))))
        self.assertEqual([], bench.advance(1))

    def test_paused(self) -> None:
        """It waits in its queue if that was paused meanwhile, and no timeout runs there."""
        bench = Bench()
        bench.one(timeout=10)
        bench.pause("default")
        bench.give_back(1)
        self.assertEqual((["queued"], 0), (bench.states(1), bench.scheduler.places.used))
        self.assertEqual([], bench.advance(10))


class TimeoutTests(TestCase):
    """An attempt takes too long."""

    def test_timeout(self) -> None:
        """That it is being ended is kept before it is killed with its grace; then it is timed_out, however it ends."""
        for end in (State.FAILED, State.SUCCEEDED, State.CANCELLED):
            bench = Bench()
            bench.one(timeout=5, grace=2)
            self.assertEqual([], bench.advance(4.9))
            update, kill = bench.advance(0.1)
            assert isinstance(update, Update) and isinstance(kill, Kill)
            self.assertEqual((1, 1, 2.0), (kill.job_id, kill.attempt, kill.grace))
            self.assertEqual([(1, "timed_out", [])], told(bench.finish(1, end)))

    def test_each_attempt(self) -> None:
        """Each attempt has its own time."""
        bench = Bench()
        bench.one(timeout=5, attempts=2)
        bench.advance(5)
        bench.finish(1, State.FAILED)
        bench.advance(1)
        self.assertEqual([], bench.advance(4.5))
        (kill,) = of(Kill, bench.advance(0.5))
        self.assertEqual(2, kill.attempt)

    def test_queued(self) -> None:
        """The time in the queue does not count."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(timeout=5))
        bench.advance(100)
        bench.finish(1)
        self.assertEqual([], bench.advance(4))

    def test_clock_step(self) -> None:
        """A step of the clock on the wall neither ends nor saves anything."""
        bench = Bench()
        bench.submit(job(timeout=5), job(delay=5))
        bench.wall += 86_400
        self.assertEqual([], bench.advance(4))
        bench.wall -= 2 * 86_400
        bench.advance(1)
        self.assertEqual((State.TIMED_OUT, "running"), (bench.scheduler.jobs[1].ending, bench.states(2)[0]))

    def test_ended_in_time(self) -> None:
        """An attempt that has ended has no timeout any more."""
        bench = Bench()
        bench.one(timeout=5)
        bench.finish(1)
        self.assertEqual((None, []), (bench.scheduler.next_deadline(), bench.advance(5)))

    def test_many(self) -> None:
        """Short jobs with long timeouts leave nothing behind that lasts as long as those."""
        bench = Bench()
        bench.one(timeout=60)
        for number in range(2, 1500):
            bench.one(timeout=86_400)
            bench.finish(number)
        bench.one(timeout=5)
        self.assertLess(len(bench.scheduler._deadlines._heap), 1100)
        self.assertEqual(1, len(of(Kill, bench.advance(5))))


class CancelTests(TestCase):
    """Jobs are cancelled."""

    def test_queued(self) -> None:
        """A queued job is cancelled at once; its turn is passed over; that is kept before the reply is let go."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(), job())
        out = bench.cancel(2)
        self.assertEqual((b"1", [(2, "cancelled", [])]), (reply(out), told(out)))
        bench.finish(1)
        self.assertEqual(["cancelled", "running"], bench.states(2, 3))

    def test_waiting(self) -> None:
        """A job that waits for its time, another job or its next attempt is cancelled at once."""
        bench = Bench(cpus=4)
        bench.submit(job(delay=9), job(), job(after=[-1]), job(attempts=2))
        bench.finish(4, State.FAILED)
        for number in (1, 3, 4):
            self.assertEqual(b"1", reply(bench.cancel(number)))
        self.assertEqual(["cancelled", "running", "cancelled", "cancelled"], bench.states(1, 2, 3, 4))

    def test_running(self) -> None:
        """A running job is asked to end, with its grace, and is cancelled once it has, however it ended."""
        for end in (State.FAILED, State.SUCCEEDED, State.LOST, State.TIMED_OUT):
            bench = Bench()
            bench.one(grace=3, attempts=5)
            out = bench.cancel(1)
            self.assertEqual(["Reply", "Update", "Kill"], [type(action).__name__ for action in out])
            self.assertEqual((b"1", 3.0), (reply(out), of(Kill, out)[0].grace))
            self.assertEqual("running", bench.states(1)[0])
            self.assertEqual([(1, "cancelled", [])], told(bench.finish(1, end)))

    def test_running_twice(self) -> None:
        """Cancelling it again says the same and kills nothing twice."""
        bench = Bench()
        bench.one()
        bench.cancel(1)
        out = bench.cancel(1)
        self.assertEqual((b"1", 1), (reply(out), len(out)))

    def test_timing_out(self) -> None:
        """One that is being ended because of its timeout becomes cancelled, without a second kill."""
        bench = Bench()
        bench.one(timeout=1, attempts=9)
        bench.advance(1)
        out = bench.cancel(1)
        self.assertEqual(["Reply", "Update"], [type(action).__name__ for action in out])
        bench.finish(1, State.FAILED)
        self.assertEqual("cancelled", bench.states(1)[0])

    def test_then_timeout(self) -> None:
        """A timeout that passes while a job is being cancelled changes nothing."""
        bench = Bench()
        bench.one(timeout=1)
        bench.cancel(1)
        self.assertEqual([], bench.advance(1))
        bench.finish(1)
        self.assertEqual("cancelled", bench.states(1)[0])

    def test_ended(self) -> None:
        """A single job that has ended already is an error that says how; it stays as it is."""
        for state in FINAL - {State.SKIPPED}:
            bench = Bench()
            bench.one()
            bench.finish(1, state)
            (refusal,) = bench.cancel(1)
            assert isinstance(refusal, Refuse) and isinstance(refusal.error, Finished)
            self.assertEqual(f"job 1 has ended already: {state.word}", str(refusal.error))
            self.assertEqual(state, bench.state(1))

    def test_several(self) -> None:
        """Of several those that have ended are left out of the count."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(), job())
        bench.finish(1)
        self.assertEqual(b"2", reply(bench.cancel(1, 2, 3)))
        self.assertEqual(["succeeded", "running", "cancelled"], bench.states(1, 2, 3))

    def test_none(self) -> None:
        """A filter that matches nothing cancels nothing."""
        self.assertEqual(b"0", reply(Bench().handle(events.Cancel(1, b"", [], alone=False))))

    def test_whole_chain(self) -> None:
        """Where a job and what waits for it are named together, each ends once."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(), job(after=[-1]))
        out = bench.cancel(2, 3)
        self.assertEqual([(2, "cancelled", []), (3, "skipped", [])], told(out))
