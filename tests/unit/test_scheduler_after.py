"""Claims of the scheduler about jobs that come after others."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from jobd import events
from jobd.actions import Insert, Reply, Update
from jobd.job import FINAL, SATISFIED_BY, State

from .simulation import Bench, job, of, outcome_of, submissions, told


def ended(bench: Bench, state: State) -> int:
    """The id of a job that has ended so."""
    if state is State.SKIPPED:
        bad = ended(bench, State.FAILED)
        return bench.one(after=[bad])
    number = bench.one()
    if state is State.CANCELLED:
        bench.cancel(number)
    bench.finish(number, state)
    return number


class AfterTests(TestCase):
    """A job waits for others."""

    def test_waits(self) -> None:
        """A job starts only once all that it comes after have ended."""
        bench = Bench(cpus=4)
        bench.submit(job(), job(), job(after=[-1, -2]))
        self.assertEqual("waiting", bench.states(3)[0])
        bench.finish(2)
        self.assertEqual("waiting", bench.states(3)[0])
        bench.finish(1)
        self.assertEqual("running", bench.states(3)[0])

    def test_ready_is_kept(self) -> None:
        """That a job is no longer waiting is kept after the end that it waited for."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(after=[-1]))
        updated = [update.job.id for update in of(Update, bench.finish(1))]
        self.assertEqual([1, 2, 2], updated)

    def test_every_policy_and_end(self) -> None:
        """Each policy lets a job run, or skips it, after each final state as documented, be that earlier or later."""
        runs = {"ok": {State.SUCCEEDED}, "failed": {State.FAILED, State.TIMED_OUT, State.LOST}, "any": set(FINAL)}
        self.assertEqual(runs, {policy: set(states) for policy, states in SATISFIED_BY.items()})
        for policy, states in runs.items():
            for state in FINAL:
                expected = "running" if state in states else "skipped"
                bench = Bench(cpus=4)
                number = ended(bench, state)
                late = bench.one(after={str(number): policy})
                self.assertEqual([state.word, expected], bench.states(number, late), policy)
                if state is not State.SKIPPED:
                    self.assertEqual(expected, bench.states(self.early(bench, state, policy))[0], policy)

    def early(self, bench: Bench, state: State, policy: str) -> int:
        """A job that was submitted before the one that it comes after ended so."""
        first, second = bench.submit(job(), job(after={"-1": policy}))
        self.assertEqual("waiting", bench.states(second)[0])
        if state is State.CANCELLED:
            bench.cancel(first)
        bench.finish(first, state)
        return second

    def test_already_failed(self) -> None:
        """A job that comes after one that has failed is accepted, and skipped at once because of it."""
        bench = Bench()
        first = ended(bench, State.FAILED)
        out = bench.handle(events.Submit(1, b"", submissions(job(after=[first]))))
        self.assertEqual(["Reply", "Insert", "Update", "Announce"], [type(action).__name__ for action in out])
        self.assertEqual([(2, "skipped", [1])], told(out))
        self.assertEqual({"because": first}, outcome_of(out, 2))
        self.assertEqual(State.SKIPPED, of(Insert, out)[0].job.state)
        self.assertEqual(b"2", of(Reply, out)[0].text)

    def test_chain(self) -> None:
        """Skipping goes on along the chain, each job because of the one just before it."""
        bench = Bench()
        bench.submit(job(), job(after=[-1]), job(after=[-1]), job(after=[-1]))
        out = bench.finish(1, State.FAILED)
        self.assertEqual(["failed", "skipped", "skipped", "skipped"], bench.states(1, 2, 3, 4))
        self.assertEqual([1, 2, 3], [outcome_of(out, number)["because"] for number in (2, 3, 4)])

    def test_long_chain(self) -> None:
        """A chain of ten thousand jobs is skipped without running out of stack."""
        bench = Bench()
        jobs = [job(), *[job(after=[-1]) for _ in range(9_999)]]
        bench.handle(events.Submit(0, b"", submissions(*jobs)))
        bench.finish(1, State.FAILED)
        self.assertEqual((0, 9_999), (len(bench.scheduler.jobs), bench.scheduler.totals["skipped"]))

    def test_chain_in_one_submission(self) -> None:
        """A whole list that hangs on a failed job is skipped as it comes in."""
        bench = Bench()
        first = ended(bench, State.FAILED)
        bench.submit(job(after=[first]), job(after=[-1]), job(after={"-1": "any"}))
        self.assertEqual(["skipped", "skipped", "running"], bench.states(2, 3, 4))

    def test_diamond(self) -> None:
        """A job that two branches lead to is skipped once, because of the first that ended otherwise."""
        bench = Bench()
        bench.submit(job(), job(after=[1 - 2]), job(after=[-2]), job(after=[-1, -2]))
        out = bench.finish(1, State.FAILED)
        self.assertEqual([1, 2, 3, 4], sorted(number for number, _, _ in told(out)))
        self.assertIn(outcome_of(out, 4)["because"], (2, 3))

    def test_cleaning_up(self) -> None:
        """A job that comes after a failed one with any, or failed, runs also when the rest of the chain is skipped."""
        bench = Bench()
        bench.submit(job(), job(after=[-1]), job(after={"-1": "any"}), job(after={"-3": "failed"}))
        bench.finish(1, State.TIMED_OUT)
        self.assertEqual(["timed_out", "skipped", "running", "running"], bench.states(1, 2, 3, 4))

    def test_mixed(self) -> None:
        """With several edges the first that cannot be satisfied skips the job, the others notwithstanding."""
        bench = Bench(cpus=4)
        bench.submit(job(), job(), job(after={"-1": "failed", "-2": "ok"}))
        out = bench.finish(2)
        self.assertEqual([(2, "succeeded", []), (3, "skipped", [])], told(out))
        bench.finish(1)
        self.assertEqual(["succeeded", "succeeded", "skipped"], bench.states(1, 2, 3))

    def test_attempts(self) -> None:
        """What waits for a job waits through all its attempts."""
        bench = Bench()
        bench.submit(job(attempts=2), job(after=[-1]))
        bench.finish(1, State.FAILED)
        self.assertEqual(["waiting", "waiting"], bench.states(1, 2))
        bench.advance(1)
        bench.finish(1)
        self.assertEqual(["succeeded", "running"], bench.states(1, 2))

    def test_cancelled_while_waiting(self) -> None:
        """A waiting job that is cancelled stays so, whatever becomes of what it waited for."""
        for state in (State.SUCCEEDED, State.FAILED):
            bench = Bench()
            bench.submit(job(), job(after=[-1]))
            bench.cancel(2)
            bench.finish(1, state)
            self.assertEqual("cancelled", bench.states(2)[0])

    def test_cancel_skips(self) -> None:
        """What waits for a cancelled job with ok is skipped."""
        bench = Bench()
        bench.submit(job(delay=9), job(after=[-1]), job(after={"-2": "any"}))
        bench.cancel(1)
        self.assertEqual(["cancelled", "skipped", "running"], bench.states(1, 2, 3))

    def test_same_twice(self) -> None:
        """Naming a job twice, by its id and by counting back, is naming it once."""
        bench = Bench()
        bench.submit(job(), job(after=[-1, 1 - 2]))
        bench.finish(1)
        self.assertEqual("running", bench.states(2)[0])


class DelayTests(TestCase):
    """A job waits for its time."""

    def test_delay(self) -> None:
        """A delayed job is queued when its time has come, not before."""
        bench = Bench()
        bench.one(delay=10)
        self.assertEqual(10.0, bench.scheduler.next_deadline())
        bench.advance(9.5)
        self.assertEqual("waiting", bench.states(1)[0])
        bench.advance(0.5)
        self.assertEqual("running", bench.states(1)[0])
        self.assertIsNone(bench.scheduler.next_deadline())

    def test_order(self) -> None:
        """Of several the one that is due first comes first."""
        bench = Bench(cpus=1)
        bench.submit(job(delay=3), job(delay=1), job(delay=2))
        bench.advance(60)
        self.assertEqual([2], bench.started())
        bench.finish(2)
        self.assertEqual([2, 3], bench.started())

    def test_delay_and_after(self) -> None:
        """With after too, the delay runs from the submission: the later of both counts."""
        for first, then, state in ((1, 9, "running"), (1, 5, "waiting"), (12, 0, "running")):
            bench = Bench()
            bench.submit(job(), job(after=[-1], delay=10))
            bench.advance(first)
            self.assertEqual("waiting", bench.states(2)[0])
            bench.finish(1)
            bench.advance(then)
            self.assertEqual(state, bench.states(2)[0])

    def test_delay_and_after_while_the_clock_is_set(self) -> None:
        """Whoever sets the clock on the wall meanwhile changes nothing of that."""
        for step in (-86_400.0, 86_400.0):
            bench = Bench()
            bench.submit(job(), job(after=[-1], delay=10))
            bench.advance(4)
            bench.wall += step
            bench.finish(1)
            bench.advance(5)
            self.assertEqual(["waiting"], bench.states(2))
            bench.advance(1)
            self.assertEqual(["running"], bench.states(2))

    def test_after_ended_and_delay(self) -> None:
        """A job that comes after one that has succeeded, with a delay, waits for its time only."""
        bench = Bench()
        bench.one()
        bench.finish(1)
        bench.one(after=[1], delay=10)
        self.assertEqual((["waiting"], {}), (bench.states(2), bench.scheduler.blocked))
        bench.advance(10)
        self.assertEqual("running", bench.states(2)[0])

    def test_tick_early(self) -> None:
        """A tick that comes too early changes nothing."""
        bench = Bench()
        bench.one(delay=10)
        self.assertEqual([], bench.advance(1))

    def test_cancelled(self) -> None:
        """The time of a cancelled job means nothing any more."""
        bench = Bench()
        bench.one(delay=10)
        (kept,) = of(Update, bench.cancel(1))
        self.assertIsNone(kept.job.due)
        self.assertIsNone(bench.scheduler.next_deadline())
        self.assertEqual([], bench.advance(10))
