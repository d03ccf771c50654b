"""When something is due for which job. No clock: times are given, on the steady clock."""

from __future__ import annotations

import heapq

from jobd.job import Job


class Deadlines:
    """
    A job has one deadline at most, C{job.deadline}: setting another or None is enough to drop it.

    @param jobs: the jobs that have not ended, by id.
    """

    def __init__(self, jobs: dict[int, Job]) -> None:
        self._jobs = jobs
        self._heap: list[tuple[float, int]] = []

    def set(self, job: Job, when: float) -> None:
        job.deadline = when
        heapq.heappush(self._heap, (when, job.id))
        if len(self._heap) > 2 * len(self._jobs) + 1000:
            # Short jobs with long timeouts: those that have ended leave theirs behind.
            self._heap = list(filter(self._stands, self._heap))
            heapq.heapify(self._heap)

    def _stands(self, entry: tuple[float, int]) -> bool:
        job = self._jobs.get(entry[1])
        return job is not None and job.deadline == entry[0]

    def next(self) -> float | None:
        while self._heap:
            if self._stands(self._heap[0]):
                return self._heap[0][0]
            heapq.heappop(self._heap)
        return None

    def take(self, now: float) -> Job | None:
        """A job whose deadline has come; it has none any more."""
        when = self.next()
        if when is None or when > now:
            return None
        job = self._jobs[heapq.heappop(self._heap)[1]]
        job.deadline = None
        return job
