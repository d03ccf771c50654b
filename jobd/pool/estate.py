"""What was running when the last daemon ended: who may know what has become of it, and what follows if nobody does."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from jobd.actions import Start
from jobd.job import Lane
from jobd.pool.journals import Found
from jobd.pool.worker import Attempt


@attrs.define(slots=True)
class Settlement:
    """
    @ivar unbegun: attempts that were never begun.
    @ivar ended: attempts that may have begun, and were ended by an order.
    @ivar lost: attempts that may have begun, and of which nobody can tell any more.
    @ivar suspects: dead workers that may have left something running.
    """

    unbegun: list[Start] = attrs.Factory(list)
    ended: list[Start] = attrs.Factory(list)
    lost: list[Start] = attrs.Factory(list)
    suspects: set[str] = attrs.Factory(set)


class Estate:
    """
    Attempts are claimed by workers that still run them, or settled by reports. Of one for which nobody speaks up it is
    known that it was never begun, if all workers that could have been given it have told all they had begun.

    @ivar open: the attempts of which nothing is known yet.
    """

    def __init__(self, running: Sequence[Start], found: Sequence[Found]) -> None:
        self.open = {(start.job_id, start.attempt): start for start in running}
        self._suspects: dict[str, Lane] = {}
        self._asked: dict[str, Lane] = {one.name: one.lane for one in found if one.alive}
        self._doubtful: set[Attempt] = set()
        self._ordered: set[Lane] = set()
        # Where there is no journal at all, nobody can say anything.
        self._silent = set(Lane) - {one.lane for one in found}

    def reopen(self, name: str, lane: Lane, starts: Sequence[Start]) -> None:
        """A worker that had claimed these cannot be reached at the moment, or has died."""
        self._asked[name] = lane
        self.open.update({(start.job_id, start.attempt): start for start in starts})

    def claim(self, attempt: Attempt) -> Start | None:
        """Its fate is known. None: it is not one of those in question."""
        return self.open.pop(attempt, None)

    def answered(self, name: str) -> None:
        """This worker has told all it has begun."""
        self._asked.pop(name, None)

    def died(self, found: Found) -> bool:
        """
        This worker is dead, and what it has reported was settled. Returns whether it may have left something
        running.
        """
        self._asked.pop(found.name, None)
        if found.pid and not found.whole:
            (self._ordered if found.ordered else self._silent).add(found.lane)
        lost = found.begun & set(self.open)
        self._doubtful |= lost
        suspect = bool(lost or (found.pid and not found.whole))
        if suspect:
            self._suspects[found.name] = found.lane
        return suspect

    def settle(self) -> Settlement:
        """Take out all for which nobody is left to ask."""
        asked = set(self._asked.values())
        settlement = Settlement()
        for attempt, start in list(self.open.items()):
            if start.lane not in asked:
                del self.open[attempt]
                if attempt in self._doubtful or start.lane in self._silent:
                    settlement.lost.append(start)
                else:
                    (settlement.ended if start.lane in self._ordered else settlement.unbegun).append(start)
        for name, lane in list(self._suspects.items()):
            if lane not in asked:
                del self._suspects[name]
                settlement.suspects.add(name)
        return settlement
