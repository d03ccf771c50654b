"""Whether there is room for what is started, by a reckoning of its own."""

from __future__ import annotations

from typing import Any

import msgspec

from jobd import events
from jobd.actions import Start
from jobd.job import Lane
from jobd.places import UNIT

from .machine import Machine
from .truth import Belief


class Room:
    """
    @ivar whole: whether the whole daemon is paused; C{limits} and C{paused} are its queues'.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.whole = Belief(False)
        self.limits: dict[str, Belief] = {}
        self.paused: dict[str, Belief] = {}
        self._said = [machine.capacity]
        self._costs: dict[tuple[int, int], int] = {}
        self._widened: list[tuple[int, int]] = []

    def limit(self, queue: str) -> Belief:
        return self.limits.setdefault(queue, Belief(None))

    def pause(self, queue: str | None) -> Belief:
        return self.whole if queue is None else self.paused.setdefault(queue, Belief(False))

    def said(self, capacity: events.Capacity) -> None:
        """The pool has said this; what the daemon does just now it may have decided before."""
        self._said.append(capacity)

    def settled(self) -> None:
        """All that was decided up to now is done."""
        del self._said[:-1]
        for key in self._widened:
            self._costs[key] = max(UNIT, self._costs.get(key, 0))
        self._widened.clear()

    def lived(self) -> None:
        """A daemon has died: what was asked and not answered was done, or never will be."""
        for belief in (self.whole, *self.limits.values(), *self.paused.values()):
            belief.over()

    def adopted(self) -> None:
        """A new daemon gives whole places to what runs already."""
        self._widened.clear()
        for job_id, attempt in self.machine.running:
            self._costs[job_id, attempt] = self._cost(self.machine.running[job_id, attempt], None)

    def widened(self, job_id: int, attempt: int) -> None:
        """It takes a whole place from now on; again, something else may have been decided before."""
        self._widened.append((job_id, attempt))

    def take(self, start: Start) -> str | None:
        """An attempt starts. Returns what is against it."""
        queue = queue_of(start)
        if False not in self.whole.values:
            return "the daemon is paused"
        if False not in self.pause(queue).values:
            return f"queue {queue} is paused"
        running = self.machine.running
        limits = self.limit(queue).values
        if None not in limits and 1 + sum(queue_of(one) == queue for one in running.values()) > max(limits):
            return f"queue {queue} is at its limit of {limits}"
        self._costs = {key: cost for key, cost in self._costs.items() if key in running}
        used = sum(self._costs.values())
        costs = [(self._cost(start, capacity), capacity.cpus * UNIT) for capacity in self._said]
        if not any(not cost or used + cost <= room for cost, room in costs):
            return f"{used} of {costs} are taken"
        key = (start.job_id, start.attempt)
        self._costs[key] = min(cost for cost, _ in costs)
        # One that was handed back may have had the same number.
        self._widened = [other for other in self._widened if other != key]
        return None

    def _cost(self, start: Start, capacity: events.Capacity | None) -> int:
        """What it takes; without a capacity: of what was begun by the last daemon."""
        cpus = cpus_of(start)
        if capacity is None:
            return min(cpus, self._said[-1].cpus) * UNIT
        if cpus == 1 and start.lane is not Lane.IO:
            return UNIT // (capacity.depth if start.lane is Lane.CPU else capacity.ahead)
        return min(cpus, capacity.cpus) * UNIT


def queue_of(start: Start) -> str:
    return str(_spec(start).get("queue", "default"))


def cpus_of(start: Start) -> int:
    return int(_spec(start).get("cpus", int(start.lane is not Lane.IO)))


def _spec(start: Start) -> dict[str, Any]:
    spec: dict[str, Any] = msgspec.json.decode(start.spec)
    return spec
