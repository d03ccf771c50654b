"""Which job is next, and whether there is a place for it. No I/O, no time."""

from __future__ import annotations

from jobd.far import Block
from jobd.job import CPU, IO, Job, Plan
from jobd.ready import Line, Queue, Row

UNIT = 1024
"""One processor, in the parts that short calls may share it in."""

LEAST = 16_384
"""Jobs of a row that are here, if it has so many: while they begin there is time to ask the store for more."""

BLOCK = 1024
"""Jobs that come near at a time: some 3 milliseconds of the reactor's thread."""

LARGEST = 1 << 20
"""Above any priority."""

Turn = tuple[Queue, Line, bool]
"""A queue, one of its two lines, and whether it is the one whose jobs need a processor."""


class Places:
    """
    The queues, and the processors that their jobs share.

    @ivar paused: nothing starts at all.
    @ivar capacity: of the pool, in L{UNIT}s; C{used} is what running jobs hold of it.
    @ivar running: how many jobs run, those that need no processor included.
    @ivar depth: how many short calls may share a processor.
    @ivar ahead: how many short commands may be begun for one.
    @ivar away: how many of the queued jobs are far from their turn.
    @ivar rows: those that have such jobs.
    """

    def __init__(self, cpus: int, least: int = LEAST, block: int = BLOCK) -> None:
        self.queues: dict[str, Queue] = {}
        self.paused = False
        self.capacity = cpus * UNIT
        self.used = 0
        self.running = 0
        self.depth = 1
        self.ahead = 1
        self.away = 0
        self._least, self._block = least, block
        self.rows: list[Row] = []
        self._starts = 0
        self._ready = {True: 0, False: 0}

    @property
    def crowded(self) -> bool:
        """Whether jobs are ready, and every processor has something to do."""
        return self._ready[True] > 0 and self.used + UNIT > self.capacity

    def queue(self, name: str) -> Queue:
        """The queue of that name: it exists as soon as it is named."""
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(name)
        return queue

    def add(self, job: Job, first: bool = False) -> None:
        """
        The job is ready.

        @param first: it has had its turn already.
        """
        plan = job.plan
        self._ready[plan.cpus > 0] += 1
        queue = self.queues.get(plan.queue) or self.queue(plan.queue)
        queue.add(job, first)

    # Jobs that are far from their turn.

    def add_far(self, job: Job) -> bool:
        """
        The job is ready, and new. If so many have their turn before it that it is far, all but a few bytes of it may be
        forgotten until it comes near; else it was not added.
        """
        plan = job.plan
        queue = self.queues.get(plan.queue) or self.queue(plan.queue)
        row = queue.line(plan.cpus > 0).row(plan.priority)
        if not row.far:
            if len(row.near) < self._least:
                return False
            self.rows.append(row)
        row.add_far(job, self._block)
        self._ready[plan.cpus > 0] += 1
        queue.queued += 1
        self.away += 1
        return True

    def wanted(self) -> list[Block]:
        """What is to come near now, to be asked for in this order. Nothing is wanted twice."""
        blocks = [block for row in self.rows for block in row.wanted(self._least)]
        self.rows = [row for row in self.rows if row.far]
        return blocks

    def come_near(self, block: Block, jobs: list[Job]) -> None:
        """
        @param jobs: those of the block, which was asked for before all others of its row that have not come yet.
        """
        self.away -= len(jobs)
        next(row for row in self.rows if row.blocks[0] is block).come_near(jobs)
        self.rows = [row for row in self.rows if row.far]

    def is_far(self, job_id: int) -> bool:
        return self._block_of(job_id) is not None

    def find(self, job_id: int) -> Job | None:
        """What is known here of a job that is far: it has no spec."""
        block = self._block_of(job_id)
        return None if block is None else block.get(job_id)

    def take(self, job_id: int) -> Job | None:
        """The same; and it will not come near any more."""
        block = self._block_of(job_id)
        if block is None:
            return None
        job = block.get(job_id)
        block.remove(job_id)
        self.away -= 1
        return job

    def _block_of(self, job_id: int) -> Block | None:
        return next((block for row in self.rows if (block := row.find(job_id)) is not None), None)

    # Their turns.

    def remove(self, job: Job) -> None:
        """It is ready no more; it need not leave its line before its turn comes."""
        self._ready[job.plan.cpus > 0] -= 1
        self.queues[job.plan.queue].queued -= 1

    def fill(self) -> list[Job]:
        """
        The jobs for which there is a place, in the order of their turns; they hold it from now on. The most urgent
        job of all open queues is next; of equals one of the queue that was served longest ago.
        """
        taken: list[Job] = []
        turns = [] if self.paused else self._turns()
        while turns and (self._ready[True] or self._ready[False]):
            turn = turns[0] if len(turns) == 1 else min(turns, key=_rank)
            queue, line, needs_cpu = turn
            job = line.head()
            if job is None and queue.open and line.row_is_far:
                # It is on its way. Nothing less urgent may take the place that it will find.
                turns = [other for other in turns if other is not turn and not _slips_past(other, turn)]
                continue
            if job is None or not queue.open:
                # A queue that has reached its limit may be the one whose next job the others had to wait for.
                turns = [other for other in turns if other is not turn] if queue.open else self._turns()
                continue
            cost = self._cost(job.plan)
            if needs_cpu and (self.used >= self.capacity or self.used + cost > self.capacity):
                # It keeps its turn: nothing smaller may slip past it for ever. What takes no place may.
                turns = [other for other in turns if not other[2]]
                continue
            # With nobody else to be served in between those like it have their turns with it.
            jobs = line.take_alike(self._most(queue, cost) if len(turns) == 1 else 1)
            for job in jobs:
                job.cost = cost
            self._hold(queue, needs_cpu, len(jobs), cost)
            taken += jobs
        return taken

    def _most(self, queue: Queue, cost: int) -> int:
        """How many jobs of that cost there is room for."""
        most = queue.queued
        if cost:
            most = min(most, (self.capacity - self.used) // cost)
        return most if queue.limit is None else min(most, queue.limit - queue.running)

    def _hold(self, queue: Queue, needs_cpu: bool, count: int, cost: int) -> None:
        self._ready[needs_cpu] -= count
        self._starts += count
        queue.queued -= count
        queue.running += count
        if needs_cpu:
            queue.served = self._starts
        self.running += count
        self.used += count * cost

    def _turns(self) -> list[Turn]:
        """The lines of which the first job may have its turn."""
        kinds = [needs_cpu for needs_cpu in (True, False) if self._ready[needs_cpu]]
        if not kinds:
            return []
        return [(queue, queue.line(kind), kind) for queue in self.queues.values() if queue.open for kind in kinds]

    def _cost(self, plan: Plan) -> int:
        if plan.cpus == 1 and plan.lane is not IO:
            return UNIT // (self.depth if plan.lane is CPU else self.ahead)
        return min(plan.cpus * UNIT, self.capacity)

    def hold_again(self, job: Job) -> None:
        """The job was begun by the last daemon: whole places for it, as nobody knows how long it takes."""
        job.cost = min(job.plan.cpus * UNIT, self.capacity)
        self.queue(job.plan.queue).running += 1
        self.running += 1
        self.used += job.cost

    def release(self, job: Job) -> None:
        """It runs no more."""
        self.queues[job.plan.queue].running -= 1
        self.running -= 1
        self.used -= job.cost
        job.cost = 0

    def widen(self, job: Job) -> None:
        """It takes a whole processor, which it was to share."""
        if job.cost < UNIT:
            self.used += UNIT - job.cost
            job.cost = UNIT


def _slips_past(other: Turn, turn: Turn) -> bool:
    """Whether the first would take the place of the second, whose job is more urgent and on its way."""
    job = other[1].head()
    return turn[2] and other[2] and job is not None and job.plan.priority < turn[1].top


def _rank(turn: Turn) -> tuple[int, int, int]:
    """The least is next. A line in which nobody is left comes first, to be put aside."""
    job = turn[1].head()
    return (-LARGEST, 0, 0) if job is None else (-job.plan.priority, turn[0].served, job.id)
