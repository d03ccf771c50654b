"""Claims of the states, the plans and the pauses between attempts."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from jobd import job
from jobd.job import BACKOFF_CAP, BY_WORD, FINAL, SATISFIED_BY, TRANSITIONS, WORDS, Lane, State, backoff_before, plan_of
from jobd.spec import parse_job
from jobd.wire import to_json

from .simulation import bounded


def plan(**fields: object) -> job.Plan:
    return plan_of(parse_job(to_json(fields)).spec)


class StateTests(TestCase):
    """The states and their words."""

    def test_numbers(self) -> None:
        """The numbers are what stores hold, and are as they were in the first version."""
        numbers = {
            "waiting": 1,
            "queued": 2,
            "running": 3,
            "succeeded": 4,
            "failed": 5,
            "cancelled": 6,
            "timed_out": 7,
            "lost": 8,
            "skipped": 9,
        }
        self.assertEqual(numbers, {state.word: int(state) for state in State})

    def test_words(self) -> None:
        """A word is found by its state's number, and a state by its word."""
        for state in State:
            self.assertEqual((state.word, state), (WORDS[state], BY_WORD[state.word]))

    def test_final(self) -> None:
        """Six states are final."""
        words = {"succeeded", "failed", "cancelled", "timed_out", "lost", "skipped"}
        self.assertEqual(words, {state.word for state in FINAL})

    def test_transitions(self) -> None:
        """A final state is never left, every other can be, and every state can be reached."""
        self.assertEqual(set(State) - FINAL, set(TRANSITIONS) - {None})
        reached: set[State] = set()
        ahead = set(TRANSITIONS[None])
        while ahead - reached:
            reached |= ahead
            ahead = {new for old in reached for new in TRANSITIONS.get(old, ())}
        self.assertEqual(set(State), reached)

    def test_policies(self) -> None:
        """Every final state but those by hand or because of others satisfies exactly one of ok and failed."""
        self.assertEqual(FINAL, SATISFIED_BY["any"])
        self.assertEqual(frozenset(), SATISFIED_BY["ok"] & SATISFIED_BY["failed"])
        neither = FINAL - SATISFIED_BY["ok"] - SATISFIED_BY["failed"]
        self.assertEqual({State.CANCELLED, State.SKIPPED}, neither)


class PlanTests(TestCase):
    """How a job is to be scheduled."""

    def test_lanes(self) -> None:
        """Commands, calls and pickles have their lane; only calls of lane io take no place by default."""
        self.assertEqual((Lane.COMMAND, 1), (plan(argv=["a"]).lane, plan(argv=["a"]).cpus))
        self.assertEqual((Lane.COMMAND, 1), (plan(shell="a").lane, plan(shell="a").cpus))
        self.assertEqual((Lane.CPU, 1), (plan(call="m:f").lane, plan(call="m:f").cpus))
        self.assertEqual((Lane.CPU, 1), (plan(pickle="gA==").lane, plan(pickle="gA==").cpus))
        self.assertEqual((Lane.IO, 0), (plan(call="m:f", lane="io").lane, plan(call="m:f", lane="io").cpus))
        self.assertEqual(3, plan(call="m:f", lane="io", cpus=3).cpus)
        self.assertEqual(0, plan(argv=["a"], cpus=0).cpus)

    def test_fields(self) -> None:
        """The other fields are the job's."""
        fields = {"queue": "q", "priority": 5, "timeout": 3, "grace": 1, "attempts": 4, "backoff": 7}
        expected = job.Plan(Lane.COMMAND, "q", 5, 1, 3.0, 1.0, 4, 7.0)
        self.assertEqual(expected, plan(argv=["a"], **fields))

    def test_shared(self) -> None:
        """Jobs alike have one plan between them."""
        self.assertIs(plan(argv=["a"], priority=7), plan(shell="b", priority=7, label="x"))

    def test_bounded(self) -> None:
        """However many kinds of jobs come, no more than ten thousand plans are remembered."""
        with mock.patch.dict(job._plans, clear=True):
            for priority in range(-1000, 1001):
                for attempts in range(1, 7):
                    plan(argv=["a"], priority=priority, attempts=attempts)
                self.assertLessEqual(len(job._plans), 10_000)


class BackoffTests(TestCase):
    """The pause between attempts."""

    def test_doubles(self) -> None:
        """It doubles with each attempt and ends at an hour."""
        pauses = [backoff_before(plan(argv=["a"], backoff=1.5), attempt) for attempt in (2, 3, 4, 13, 14, 1000)]
        self.assertEqual([1.5, 3.0, 6.0, 3072.0, 3600.0, 3600.0], pauses)

    @bounded(200)
    @given(st.floats(0, 86_400), st.integers(2, 999))
    def test_grows(self, backoff: float, attempt: int) -> None:
        """It never shrinks, and is never beyond its cap."""
        one = plan(argv=["a"], backoff=backoff)
        now, then = backoff_before(one, attempt), backoff_before(one, attempt + 1)
        self.assertTrue(0 <= now <= then <= BACKOFF_CAP, (now, then))
