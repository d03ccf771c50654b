"""That nothing happens before its time, whatever is done to the clock on the wall."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from jobd.job import BACKOFF_CAP

from .truth import Known, Wanted

SLACK = 1e-6
"""Seconds: sums of fractions are not exact."""


@attrs.define(eq=False)
class Times:
    """
    When what was asked for, began and ended, on a clock that nobody sets. A daemon that was started anew has only
    the clock on the wall to know how long it was away: what was set forward since is not looked at.

    @ivar clock: that clock.
    @ivar forward: how often the clock on the wall was set forward.
    @ivar settled: when all that had been decided was done, and how often it had been set by then: what begins now
        was decided after that.
    """

    clock: Callable[[], float]
    forward: int = 0
    settled: tuple[float, int] = (0.0, 0)
    _asked: dict[str, tuple[float, int]] = attrs.Factory(dict)
    _began: dict[tuple[int, int], tuple[float, int]] = attrs.Factory(dict)
    _ended: dict[tuple[int, int], tuple[float, int]] = attrs.Factory(dict)

    def settle(self) -> None:
        """All that had been decided is done."""
        self.settled = (self.clock(), self.forward)

    def asked(self, wanted: Wanted) -> None:
        """It is submitted, perhaps not for the first time."""
        self._asked.setdefault(wanted.label, (self.clock(), self.forward))

    def reported(self, job_id: int, attempt: int) -> None:
        """Its end is told, perhaps not for the first time."""
        self._ended.setdefault((job_id, attempt), (self.clock(), self.forward))

    def begins(self, known: Known, attempt: int) -> str | None:
        """An attempt begins. Returns what is against it."""
        self._began[known.id, attempt] = self.settled
        assert known.wanted is not None
        spec = known.wanted.spec
        if attempt > 1:
            pause = min(BACKOFF_CAP, spec.get("backoff", 1) * 2.0 ** (attempt - 2))
            return self._too_early(self._ended.get((known.id, attempt - 1)), pause, "the pause between attempts")
        if known.is_retry:
            return None
        return self._too_early(self._asked.get(known.wanted.label), spec.get("delay", 0), "its delay")

    def times_out(self, known: Known) -> str | None:
        """It is said to have taken too long. Returns what is against it."""
        assert known.wanted is not None
        if "timeout" not in known.wanted.spec:
            return "it may take as long as it likes"
        return self._too_early(self._began.get((known.id, known.used)), known.wanted.spec["timeout"], "its timeout")

    def _too_early(self, since: tuple[float, int] | None, seconds: float, what: str) -> str | None:
        if since is None or since[1] != self.forward or self.clock() - since[0] >= seconds - SLACK:
            return None
        return f"{what} is {seconds} s, and only {self.clock() - since[0]} s have passed"
