"""Queues: which job is next. No I/O, no time."""

from __future__ import annotations

from bisect import insort
from collections import deque

from jobd.job import QUEUED, Job


class Line:
    """
    Jobs that are ready, highest priority first, in each priority the oldest
    first. Adding and taking cost the same however many there are. A job
    that is cancelled stays until its turn and is then passed over.
    """

    __slots__ = ("_by_priority", "_order")

    def __init__(self) -> None:
        self._by_priority: dict[int, deque[Job]] = {}
        self._order: list[int] = []

    def add(self, job: Job, first: bool = False) -> None:
        """
        @param first: it has been here before and keeps its turn.
        """
        priority = -job.plan.priority
        jobs = self._by_priority.get(priority)
        if jobs is None:
            jobs = self._by_priority[priority] = deque()
            insort(self._order, priority)
        if first:
            jobs.appendleft(job)
        else:
            jobs.append(job)

    def head(self) -> Job | None:
        """The job whose turn it is, which stays in the line."""
        while self._order:
            priority = self._order[0]
            jobs = self._by_priority[priority]
            while jobs:
                if jobs[0].state is QUEUED:
                    return jobs[0]
                jobs.popleft()
            del self._by_priority[priority], self._order[0]
        return None

    def take_alike(self, most: int) -> list[Job]:
        """Remove the job that L{head} gave, and with it those right behind it that have the same plan."""
        jobs = self._by_priority[self._order[0]]
        first = jobs.popleft()
        plan, taken = first.plan, [first]
        while jobs and len(taken) < most and jobs[0].plan is plan:
            job = jobs.popleft()
            if job.state is QUEUED:
                taken.append(job)
        return taken

    def ahead_of(self, job: Job) -> int:
        """How many jobs have their turn before this one."""
        count = 0
        for priority in self._order:
            for other in self._by_priority[priority]:
                if other is job:
                    return count
                count += other.state is QUEUED
        return count


class Queue:
    """
    A named queue.

    @ivar limit: how many of its jobs may run at a time, or None.
    @ivar served: when it was last served, in a count of all starts: of two queues with
        equally urgent jobs the one that waited longer is next.
    """

    __slots__ = ("_needs_cpu", "_needs_none", "limit", "name", "paused", "queued", "running", "served")

    def __init__(self, name: str) -> None:
        self.name = name
        self.limit: int | None = None
        self.paused = False
        self.queued = 0
        self.running = 0
        self.served = 0
        # Two lines, so that work that needs no processor never waits behind work that does.
        self._needs_cpu = Line()
        self._needs_none = Line()

    def line(self, needs_cpu: bool) -> Line:
        return self._needs_cpu if needs_cpu else self._needs_none

    def add(self, job: Job, first: bool = False) -> None:
        self.queued += 1
        line = self._needs_cpu if job.plan.cpus else self._needs_none
        line.add(job, first)

    @property
    def open(self) -> bool:
        """Whether one of its jobs may start, as far as the queue has a say."""
        return self.queued > 0 and not self.paused and (self.limit is None or self.running < self.limit)
