"""
Queued jobs that are far from their turn: here is what may be asked of one before that, and only the store
knows the rest. No I/O.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

from jobd.job import QUEUED, Job, Plan


class Block:
    """
    Jobs that stand one behind the other in a line, by growing id: 24 bytes each. They come back all at once.

    @ivar asked: the store is being asked for them: no more are added.
    """

    __slots__ = ("_gone", "_ids", "_notify", "_plans", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._ids = array("Q")
        self._notify = array("Q")
        self._plans: list[Plan] = []
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids) - len(self._gone)

    @property
    def last(self) -> int:
        """The highest id that was ever in it."""
        return self._ids[-1]

    def add(self, job: Job, size: int) -> bool:
        """
        @param job: one with a higher id than any before.
        @param size: how many there may be.
        @return: whether there was room for it.
        """
        ids = self._ids
        if self.asked or len(ids) >= size:
            return False
        ids.append(job.id)
        self._notify.append(job.notify)
        self._plans.append(job.plan)
        return True

    def __contains__(self, job_id: int) -> bool:
        place = bisect_left(self._ids, job_id)
        return place < len(self._ids) and self._ids[place] == job_id and job_id not in self._gone

    def get(self, job_id: int) -> Job:
        """What is known here of a job that is in it: it has no C{spec}, and it is not known when it was submitted."""
        place = bisect_left(self._ids, job_id)
        return Job(job_id, QUEUED, self._plans[place], b"", 0.0, self._notify[place])

    def remove(self, job_id: int) -> None:
        self._gone.add(job_id)

    def before(self, job_id: int) -> int:
        """How many of its jobs have a lower id."""
        return bisect_left(self._ids, job_id) - sum(gone < job_id for gone in self._gone)

    def ids(self) -> list[int]:
        """Of those that are still there."""
        gone = self._gone
        return [number for number in self._ids if number not in gone] if gone else self._ids.tolist()

    def jobs(self, found: dict[int, tuple[float, bytes]]) -> list[Job]:
        """
        Those that are still there, whole again.

        @param found: when each was submitted, and its spec, as the store has them. What it does not have any more has
            an empty one.
        """
        gone, nothing = self._gone, (0.0, b"")
        jobs = []
        for number, plan, notify in zip(self._ids, self._plans, self._notify, strict=True):
            if number not in gone:
                submitted, spec = found.get(number, nothing)
                jobs.append(Job(number, QUEUED, plan, spec, submitted, notify))
        return jobs
