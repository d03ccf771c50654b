"""Claims of the queues."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from jobd.job import Job, Lane, Plan, State
from jobd.ready import Line, Queue

from .simulation import bounded


def made(number: int, priority: int = 0, cpus: int = 1) -> Job:
    """A job that is queued."""
    return Job(number, State.QUEUED, Plan(Lane.CPU, "q", priority, cpus, None, 5.0, 1, 1.0), b"{}", 0.0)


def drained(line: Line) -> list[int]:
    """The ids in the order of their turns."""
    found = []
    while line.head() is not None:
        (job,) = line.take_alike(1)
        found.append(job.id)
    return found


class LineTests(TestCase):
    """Whose turn it is."""

    def test_empty(self) -> None:
        """In an empty line it is nobody's."""
        self.assertIsNone(Line().head())

    def test_head_stays(self) -> None:
        """Looking at the head takes nothing away."""
        line = Line()
        line.add(made(1))
        self.assertEqual((1, 1), (getattr(line.head(), "id", 0), getattr(line.head(), "id", 0)))

    def test_first(self) -> None:
        """One that has been here before comes before all of its priority, not before more urgent ones."""
        line = Line()
        for job in (made(1), made(2, 5)):
            line.add(job)
        line.add(made(3), first=True)
        self.assertEqual([2, 3, 1], drained(line))

    def test_alike(self) -> None:
        """Those with the first one's plan are taken with it, up to the first of another plan, and not too many."""
        plan, other = made(0).plan, made(0, cpus=2).plan
        line = Line()
        jobs = [Job(number, State.QUEUED, plan, b"{}", 0.0) for number in range(1, 7)]
        jobs[4].plan = other
        for job in jobs:
            line.add(job)
        jobs[1].state = State.CANCELLED
        self.assertEqual((1, [1, 3]), (getattr(line.head(), "id", 0), [job.id for job in line.take_alike(2)]))
        self.assertEqual((4, [4]), (getattr(line.head(), "id", 0), [job.id for job in line.take_alike(9)]))
        self.assertEqual([5, 6], drained(line))

    def test_passed_over(self) -> None:
        """A job that is no longer queued is passed over, also where a whole priority is."""
        line = Line()
        jobs = [made(1, 5), made(2), made(3)]
        for job in jobs:
            line.add(job)
        jobs[0].state = jobs[1].state = State.CANCELLED
        self.assertEqual([3], drained(line))

    def test_ahead_of(self) -> None:
        """Those ahead of a job are the queued ones with their turn before it; all of them for one not in the line."""
        line = Line()
        jobs = [made(1), made(2), made(3), made(4, 1), made(5, -1)]
        for job in jobs:
            line.add(job)
        jobs[0].state = State.CANCELLED
        self.assertEqual([1, 2, 0, 3], [line.ahead_of(job) for job in jobs[1:]])
        self.assertEqual(4, line.ahead_of(made(9)))

    @bounded(200)
    @given(st.lists(st.tuples(st.integers(-3, 3), st.booleans())))
    def test_sorted(self, jobs: list[tuple[int, bool]]) -> None:
        """Turns go by priority, then by age, leaving out what was cancelled."""
        line = Line()
        for number, (priority, cancelled) in enumerate(jobs):
            line.add(job := made(number, priority))
            if cancelled:
                job.state = State.CANCELLED
        kept = [(-priority, number) for number, (priority, cancelled) in enumerate(jobs) if not cancelled]
        self.assertEqual([number for _, number in sorted(kept)], drained(line))


class QueueTests(TestCase):
    """A named queue."""

    def test_lines(self) -> None:
        """Jobs that need a processor stand in one line, the others in another."""
        queue = Queue("q")
        queue.add(made(1))
        queue.add(made(2, cpus=0))
        queue.add(made(3, cpus=0), first=True)
        self.assertEqual(([1], [3, 2], 3), (drained(queue.line(True)), drained(queue.line(False)), queue.queued))

    def test_open(self) -> None:
        """A queue is open with a job in it, unless it is paused or at its limit."""
        queue = Queue("q")
        self.assertFalse(queue.open)
        queue.add(made(1))
        self.assertTrue(queue.open)
        queue.limit, queue.running = 2, 1
        self.assertTrue(queue.open)
        queue.running = 2
        self.assertFalse(queue.open)
        queue.limit, queue.paused = None, True
        self.assertFalse(queue.open)
