"""Claims of the one line that tells what a job waits for."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from jobd import events
from jobd.job import State
from jobd.why import duration, why, why_ended

from .simulation import Bench, call, job


class WhyTests(TestCase):
    """A job that has not ended."""

    def says(self, text: str, bench: Bench, number: int) -> None:
        self.assertEqual(f"job {number} is {text}", why(bench.scheduler, bench.scheduler.jobs[number], bench.now))

    def test_running(self) -> None:
        """One that runs: for how long, which attempt if there may be several, and whether it is being ended."""
        bench = Bench(cpus=4)
        bench.submit(job(), job(attempts=3, backoff=0), job(timeout=60), job())
        bench.finish(2, State.FAILED)
        bench.advance(0)
        bench.advance(65)
        bench.cancel(4)
        self.says("running for 1 min 5 s", bench, 1)
        self.says("running (attempt 2 of 3) for 1 min 5 s", bench, 2)
        self.says("running for 1 min 5 s, and is being ended: its timeout has passed", bench, 3)
        self.says("running for 1 min 5 s, and is being ended: cancelled", bench, 4)

    def test_stuck(self) -> None:
        """One that was killed and does not go away is said to be stuck, as long as it is."""
        bench = Bench()
        bench.submit(job(attempts=2, backoff=0))
        bench.handle(events.Stuck(1, 1))
        stuck = "running (attempt 1 of 2) for 0 s; it was killed and does not go away: it is stuck"
        self.says(stuck, bench, 1)
        bench.finish(1, State.FAILED)
        bench.advance(0)
        self.says("running (attempt 2 of 2) for 0 s", bench, 1)

    def test_after(self) -> None:
        """One that comes after others: the oldest of them, and how many there are besides."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(), job(), job(after=[-3]), job(after=[-2, -3, -4]))
        self.says("waiting for job 1, which is running", bench, 4)
        self.says("waiting for job 1, which is running, and 2 more", bench, 5)
        bench.finish(1)
        self.says("waiting for job 2, which is running, and 1 more", bench, 5)

    def test_time(self) -> None:
        """One that waits for its time, or for its next attempt: how long still."""
        bench = Bench()
        bench.submit(job(delay=3600), job(attempts=3, backoff=100))
        bench.finish(2, State.FAILED)
        bench.advance(10)
        self.says("waiting for its time, in 59 min 50 s", bench, 1)
        self.says("waiting for attempt 2 of 3, in 1 min 30 s", bench, 2)

    def test_stopped(self) -> None:
        """One that could run, if it were not for somebody who has stopped it: what lets it go on."""
        bench = Bench(cpus=1)
        bench.submit(job(), job())
        bench.pause("default")
        self.says("queued: queue 'default' is paused; 'resume default' lets it go on", bench, 2)
        bench.pause(None)
        self.says("queued: the daemon is paused; 'resume' lets it go on", bench, 2)
        bench.handle(events.Drain(1, b""))
        self.says("queued: the daemon is draining and starts nothing more", bench, 2)

    def test_limit(self) -> None:
        """One whose queue is at its limit."""
        bench = Bench(cpus=4)
        bench.limit("default", 1)
        bench.submit(job(), job())
        self.says("queued: queue 'default' runs 1 of at most 1 jobs", bench, 2)

    def test_room(self) -> None:
        """One for which there is no room: how many come before it, and what it needs."""
        bench = Bench(cpus=4)
        bench.submit(job(cpus=2), job(cpus=3), job(), job(cpus=9))
        self.says("queued: 0 jobs are before it; it needs 3 of 4 places, 2 free", bench, 2)
        self.says("queued: 1 job is before it; it needs 1 of 4 places, 2 free", bench, 3)
        self.says("queued: 2 jobs are before it; it needs 4 of 4 places, 2 free", bench, 4)

    def test_less_than_none(self) -> None:
        """Where more is in use than there is, none is free, and the line is still the right one."""
        bench = Bench(cpus=2)
        bench.submit(call(), call(), job(), job())
        bench.capacity(1)
        self.says("queued: 1 job is before it; it needs 1 of 1 places, 0 free", bench, 4)
        bench.capacity(0)
        self.says("queued: 1 job is before it; it needs 1 of 0 places, 0 free", bench, 4)


class EndedTests(TestCase):
    """A job that has ended."""

    def test_how(self) -> None:
        """How it ended, in which attempt, and why."""
        for state, attempt, outcome, text in (
            (State.SUCCEEDED, 1, {"exit_code": 0}, "succeeded: attempt 1, exit code 0"),
            (State.FAILED, 2, {"exit_code": 137, "signal": "SIGKILL"}, "failed: attempt 2, signal SIGKILL"),
            (State.FAILED, 1, {"exit_code": 1, "error": "no\n such"}, "failed: attempt 1, exit code 1, no such"),
            (State.TIMED_OUT, 1, {"signal": "SIGTERM"}, "timed out: attempt 1, signal SIGTERM"),
            (State.LOST, 3, {"error": "the worker died"}, "lost: attempt 3, the worker died"),
            (State.CANCELLED, 1, {"signal": "SIGTERM"}, "cancelled: attempt 1, signal SIGTERM"),
            (State.SUCCEEDED, 1, {}, "succeeded: attempt 1"),
        ):
            found: dict[str, Any] = dict(outcome)
            self.assertEqual(f"job 7 {text}", why_ended(7, state, attempt, found))

    def test_never_begun(self) -> None:
        """One that never began: because of what."""
        text = "job 7 was skipped because of job 3, which ended otherwise than it was to"
        self.assertEqual(text, why_ended(7, State.SKIPPED, 0, {"because": 3}))
        self.assertEqual("job 7 was cancelled before it started", why_ended(7, State.CANCELLED, 0, {}))


class DurationTests(TestCase):
    """A time in words."""

    def test_units(self) -> None:
        """Two units at most, and never less than nothing."""
        for seconds, text in (
            (-5, "0 s"),
            (0.4, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 min 0 s"),
            (125, "2 min 5 s"),
            (3600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d 0 h"),
            (315_360_000, "3650 d 0 h"),
        ):
            self.assertEqual(text, duration(seconds))
