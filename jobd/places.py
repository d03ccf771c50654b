"""Which job is next, and whether there is a place for it. No I/O, no time."""

from __future__ import annotations

from jobd.job import Job, Lane
from jobd.ready import Queue

UNIT = 256
"""One processor, in the parts that short calls may share it in."""

_EITHER, _NO_CPU = (True, False), (False,)


class Places:
    """
    The queues, and the processors that their jobs share.

    @ivar paused: nothing starts at all.
    @ivar capacity: of the pool, in L{UNIT}s; C{used} is what running jobs hold of it.
    @ivar running: how many jobs run, those that need no processor included.
    @ivar depth: how many short calls may share a processor.
    @ivar ahead: how many short commands may be begun for one.
    """

    def __init__(self, cpus: int) -> None:
        self.queues: dict[str, Queue] = {}
        self.paused = False
        self.capacity = cpus * UNIT
        self.used = 0
        self.running = 0
        self.depth = 1
        self.ahead = 1
        self._starts = 0
        self._ready = {True: 0, False: 0}

    @property
    def crowded(self) -> bool:
        """Whether jobs are ready for which there is no place."""
        return self._ready[True] > 0 and self.used >= self.capacity

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
        self._ready[job.plan.cpus > 0] += 1
        self.queue(job.plan.queue).add(job, first)

    def remove(self, job: Job) -> None:
        """It is ready no more; it need not leave its line before its turn comes."""
        self._ready[job.plan.cpus > 0] -= 1
        self.queues[job.plan.queue].queued -= 1

    def take(self) -> Job | None:
        """The next job for which there is a place, which it holds from now on."""
        cpu = self._ready[True] > 0 and self.used < self.capacity
        while not self.paused and (cpu or self._ready[False]):
            job = self._next(cpu)
            if job is None:
                return None
            cost = self._cost(job)
            if not job.plan.cpus or self.used + cost <= self.capacity:
                self._claim(job, cost)
                return job
            # It keeps its turn: nothing smaller may slip past it for ever. What takes no place may.
            cpu = False
        return None

    def _next(self, cpu: bool) -> Job | None:
        """
        The most urgent job of all open queues; of equals one of the queue that was served longest ago.

        @param cpu: whether it may be one that needs a processor.
        """
        best: Job | None = None
        rank = (0, 0, 0)
        for queue in self.queues.values():
            if not queue.open:
                continue
            for needs_cpu in _EITHER if cpu else _NO_CPU:
                job = queue.line(needs_cpu).head()
                if job is None:
                    continue
                candidate = (-job.plan.priority, queue.served, job.id)
                if best is None or candidate < rank:
                    best, rank = job, candidate
        return best

    def _cost(self, job: Job) -> int:
        plan = job.plan
        if plan.cpus == 1 and plan.lane is not Lane.IO:
            return UNIT // (self.depth if plan.lane is Lane.CPU else self.ahead)
        return min(plan.cpus * UNIT, self.capacity)

    def _claim(self, job: Job, cost: int) -> None:
        queue = self.queues[job.plan.queue]
        queue.line(job.plan.cpus > 0).take()
        self.remove(job)
        self._starts += 1
        queue.served = self._starts
        self.hold(job, cost)

    def hold(self, job: Job, cost: int) -> None:
        """The job runs, at that cost."""
        job.cost = cost
        self.queue(job.plan.queue).running += 1
        self.running += 1
        self.used += cost

    def hold_again(self, job: Job) -> None:
        """The job was begun by the last daemon: whole places for it, as nobody knows how long it takes."""
        self.hold(job, min(job.plan.cpus * UNIT, self.capacity))

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

    def cpus(self, job: Job) -> int:
        """How many processors it gets."""
        return min(job.plan.cpus, self.capacity // UNIT)
