"""What each connection is owed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .life import Life


class Dues:
    """
    What one connection is owed.

    An event that was asked for several times before it came may come once for all of them, or again for each that
    was asked after the job's end, which this side cannot know. What is asked after it came comes once more.

    @ivar position: of the stream, where it watches: the cursor of the last event.
    @ivar slow: it was cut off as it did not read.
    """

    def __init__(self, life: Life) -> None:
        self.life = life
        self.before: Counter[int] = Counter()
        self.after: Counter[int] = Counter()
        self.got: Counter[int] = Counter()
        self.groups: Counter[str] = Counter()
        self.begin: int | None = None
        self.position: int | None = None
        self.count = 0
        self.slow = False

    def owe(self, job_id: int) -> None:
        if self.begin is not None:
            return
        (self.after if self.got[job_id] else self.before)[job_id] += 1

    def owe_group(self, group: str) -> None:
        self.groups[group] += 1

    def pay(self, job_id: int) -> bool:
        """Returns whether the event was owed."""
        self.got[job_id] += 1
        return self.got[job_id] <= self.before[job_id] + self.after[job_id]

    def pay_group(self, group: str) -> bool:
        self.groups[group] -= 1
        return self.groups[group] >= 0

    def missing(self, forgotten: set[int]) -> list[int | str]:
        """What has not come, of jobs that are still kept."""
        late: list[int | str] = [
            number
            for number, times in (self.before + self.after).items()
            if self.got[number] < (self.before[number] > 0) + self.after[number] and number not in forgotten
        ]
        return [*late, *(name for name, times in self.groups.items() if times > 0)]
