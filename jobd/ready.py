"""Queues: which job is next. No I/O, no time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

from jobd.far import Block
from jobd.job import QUEUED, Job


class Row:
    """
    Jobs of one priority, the oldest first. Behind those that are here stand blocks of others that are far from their
    turn, and between these, jobs that became ready when there were blocks before them. (Later ones for which that
    block has room come before such a job: else a block might have one job only.)

    @ivar near: they may have their turn.
    @ivar far: begins with a block, if there is anything.
    @ivar blocks: all that are in C{far}. Each has higher ids than those before it.
    """

    __slots__ = ("blocks", "far", "near")

    def __init__(self) -> None:
        self.near: deque[Job] = deque()
        self.far: deque[Job | Block] = deque()
        self.blocks: list[Block] = []

    def add_far(self, job: Job, size: int) -> None:
        """
        @param job: one with a higher id than any that was added so.
        @param size: how many jobs a block has at most.
        """
        if not self.blocks or not self.blocks[-1].add(job, size):
            block = Block()
            block.add(job, size)
            self.far.append(block)
            self.blocks.append(block)

    def come_near(self, jobs: list[Job]) -> None:
        """The first block's jobs may have their turn from now on, and what stands behind it up to the next."""
        self.far.popleft()
        del self.blocks[0]
        self.near.extend(jobs)
        while self.far and isinstance(job := self.far[0], Job):
            self.near.append(job)
            self.far.popleft()

    def head(self) -> Job | None:
        """The job whose turn it is, if it is here."""
        near = self.near
        while near:
            if near[0].state is QUEUED:
                return near[0]
            near.popleft()
        return None

    def wanted(self, least: int) -> list[Block]:
        """The blocks that are to come near now, so that as many jobs as that are: they count as asked for."""
        while self.blocks and not len(self.blocks[0]) and not self.blocks[0].asked:
            self.come_near([])
        found: list[Block] = []
        coming = len(self.near)
        for block in self.blocks:
            if coming >= least:
                break
            coming += len(block)
            if not block.asked:
                block.asked = True
                found.append(block)
        return found

    def find(self, job_id: int) -> Block | None:
        """The block that has the job, if one has."""
        place = bisect_left(self.blocks, job_id, key=lambda block: block.last)
        return self.blocks[place] if place < len(self.blocks) and job_id in self.blocks[place] else None

    def ahead_of(self, job_id: int) -> tuple[int, bool]:
        """How many jobs have their turn before this one; and whether it is here: else that is all of them."""
        count = 0
        for one in self.near:
            if one.id == job_id:
                return count, True
            count += one.state is QUEUED
        for part in self.far:
            if isinstance(part, Job):
                if part.id == job_id:
                    return count, True
                count += part.state is QUEUED
            elif job_id in part:
                return count + part.before(job_id), True
            else:
                count += len(part)
        return count, False


class Line:
    """
    Jobs that are ready, highest priority first, in each priority the oldest
    first. Adding and taking cost the same however many there are. A job
    that is cancelled stays until its turn and is then passed over.
    """

    __slots__ = ("_order", "_rows")

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._order: list[int] = []

    def row(self, priority: int) -> Row:
        """The row of that priority: it is there as soon as it is asked for, until nobody is left in it."""
        row = self._rows.get(-priority)
        if row is None:
            row = self._rows[-priority] = Row()
            insort(self._order, -priority)
        return row

    def add(self, job: Job, first: bool = False) -> None:
        """
        @param first: it has been here before and keeps its turn.
        """
        row = self._rows.get(-job.plan.priority) or self.row(job.plan.priority)
        if first:
            row.near.appendleft(job)
        elif row.far:
            row.far.append(job)
        else:
            row.near.append(job)

    def head(self) -> Job | None:
        """The job whose turn it is, which stays in the line. None as well while that one is still far."""
        while self._order:
            row = self._rows[self._order[0]]
            job = row.head()
            if job is not None or row.far:
                return job
            del self._rows[self._order[0]], self._order[0]
        return None

    @property
    def row_is_far(self) -> bool:
        """Whether, L{head} being nobody, somebody is on the way."""
        return bool(self._order)

    @property
    def top(self) -> int:
        """The priority of the job whose turn it is, after L{head}; of one that is still far, too."""
        return -self._order[0]

    def take_alike(self, most: int) -> list[Job]:
        """Remove the job that L{head} gave, and with it those right behind it that have the same plan."""
        jobs = self._rows[self._order[0]].near
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
            ahead, here = self._rows[priority].ahead_of(job.id)
            count += ahead
            if here:
                break
        return count


class Queue:
    """
    A named queue.

    @ivar limit: how many of its jobs may run at a time, or None.
    @ivar served: when one of its jobs last got a processor, in a count of all starts: of two queues with
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
