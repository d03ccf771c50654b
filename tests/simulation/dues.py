"""What each connection is owed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .life import Life


class Dues:
    """
    What one connection is owed.

    An event that was asked for several times before the job's end comes once for all of them, and again for each
    time after that. Of what was asked between the end and its event this side cannot tell which it was.

    @ivar position: of the stream, where it watches: the cursor of the last event.
    @ivar slow: it was cut off as it did not read.
    """

    def __init__(self, life: Life) -> None:
        self.life = life
        self.running: set[int] = set()
        self.before: Counter[int] = Counter()
        self.after: Counter[int] = Counter()
        self.got: Counter[int] = Counter()
        self.groups: Counter[str] = Counter()
        self.begin: int | None = None
        self.position: int | None = None
        self.count = 0
        self.slow = False

    def owe(self, job_id: int, running: bool) -> None:
        """It was asked for, and that was answered; C{running}: the job has not ended yet, for certain."""
        if self.begin is not None:
            return
        if running:
            self.running.add(job_id)
        else:
            (self.after if self.got[job_id] else self.before)[job_id] += 1

    def owe_group(self, group: str) -> None:
        self.groups[group] += 1

    def pay(self, job_id: int) -> bool:
        """Returns whether the event was owed."""
        self.got[job_id] += 1
        return self.got[job_id] <= (job_id in self.running) + self.before[job_id] + self.after[job_id]

    def pay_group(self, group: str) -> bool:
        self.groups[group] -= 1
        return self.groups[group] >= 0

    def missing(self, forgotten: set[int]) -> list[int | str]:
        """What has not come, of jobs that are still kept."""
        late: list[int | str] = [
            number
            for number in sorted({*self.running, *self.before, *self.after} - forgotten)
            if self.got[number] < (number in self.running or self.before[number] > 0) + self.after[number]
        ]
        return [*late, *(name for name, times in self.groups.items() if times > 0)]
