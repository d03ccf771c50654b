"""Where attempts run: a pool that outlives the daemon, reports late, twice, and for attempts that are long over."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from jobd import events
from jobd.actions import Kill, Start
from jobd.job import State
from jobd.pool import Tell
from jobd.pool.worker import Attempt
from jobd.testing import FakePool

STALE = b'{"error":"stale"}'
"""The outcome in a report for an attempt that is over: nobody must ever see it."""


class Machine(FakePool):
    """
    @ivar cpus: places.
    @ivar begun: the attempts that a worker has really begun; the others wait in the pool for their turn.
    """

    def __init__(self, rng: random.Random, cpus: int) -> None:
        super().__init__(cpus=cpus, obedient=False)
        self.begun: set[Attempt] = set()
        self._rng = rng
        self._over: list[events.Finished] = []

    @property
    def capacity(self) -> events.Capacity:
        return self._capacity

    @property
    def unheard(self) -> int:
        """Reports that nobody has said to be kept."""
        return len(self._unkept)

    def open(
        self,
        report: Tell,
        progress: Callable[[int, int, bytes], None],
        running: Sequence[Start],
    ) -> None:
        """Also what has ended, and was kept though nobody has said so, is reported again."""
        begun = {(start.job_id, start.attempt) for start in running}
        known = [one for attempt, (_, one) in self._unkept.items() if attempt not in begun]
        super().open(report, progress, running)
        for one in known:
            if isinstance(one, events.Finished):
                report(one)

    def start(self, start: Start) -> None:
        super().start(start)
        if self._rng.random() < 0.7:
            self.begun.add((start.job_id, start.attempt))

    @property
    def waiting(self) -> list[Attempt]:
        """The attempts that no worker has begun yet."""
        return [attempt for attempt in self.running if attempt not in self.begun]

    def begin(self, attempt: Attempt) -> None:
        """Its turn has come."""
        self.begun.add(attempt)

    def end(self, attempt: Attempt, state: State, **outcome: Any) -> None:
        """A worker ends, whether anybody listens or not."""
        self.begin(attempt)
        self.finish(attempt[0], state, **outcome)

    def abandon(self) -> int:
        """The daemon has died: what was begun goes on, the rest is dropped. Returns how many go on."""
        self.running = {attempt: start for attempt, start in self.running.items() if attempt in self.begun}
        return len(self.running)

    def _note(self, report: events.Finished | events.Returned) -> None:
        if isinstance(report, events.Finished):
            self._over = [*self._over[-50:], report]
        super()._note(report)

    def repeat(self, kind: str) -> str | None:
        """
        Report something of an attempt that has ended and was reported before.

        @param kind: C{returned}, C{long}, C{stuck} or C{finished}.
        @return: what was reported; None: nothing has ended.
        """
        if not self._over:
            return None
        tried_again = [one for one in self._over if any(one.job_id == job_id for job_id, _ in self.running)]
        old = self._rng.choice(tried_again if tried_again and self._rng.random() < 0.7 else self._over)
        state = self._rng.choice([State.SUCCEEDED, State.FAILED, State.LOST])
        if kind == "returned":
            self._report(events.Returned(old.job_id, old.attempt))
        elif kind == "stuck":
            self._report(events.Stuck(old.job_id, old.attempt))
        elif kind == "long":
            self._report(events.Long(old.job_id, old.attempt))
        else:
            self._report(events.Finished(old.job_id, old.attempt, state, STALE))
        return kind

    def kill(self, kill: Kill) -> None:
        self.begin((kill.job_id, kill.attempt))
        super().kill(kill)
