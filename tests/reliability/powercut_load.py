"""A scheduler's work on a store, at random by a seed, and what must be found of it afterwards."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from jobd import spec, wire
from jobd.actions import Start
from jobd.daemon import KEPT
from jobd.events import Cancel, Capacity, Event, Finished, Now, Returned, SetQueue, Submit, Tick
from jobd.job import State
from jobd.scheduler import Scheduler
from jobd.selector import Filter
from jobd.snapshot import Snapshot
from jobd.store import Reader
from jobd.store.memory import MemoryStore
from jobd.store.sqlite import SqliteStore
from jobd.testing import WALL
from tests.reliability.powercut import Given, Told

PATIENCE = 60.0
"""Seconds for a store's thread to answer; never reached when all is well."""

ALL = 10**9

Contents = dict[str, Any]
"""All that a store has, in a form that may be compared."""


def contents(snapshot: Snapshot, reader: Reader) -> Contents:
    return {
        "next_id": snapshot.next_id,
        "cursor": snapshot.cursor,
        "floor": reader.floor(),
        "jobs": [msgspec.structs.astuple(kept)[:9] for kept in snapshot.jobs],
        "ended": sorted((number, int(state)) for number, state in snapshot.ended),
        "keys": sorted(snapshot.keys),
        "queues": sorted(snapshot.queues),
        "groups": {name: counts for name, counts in snapshot.groups.items() if counts},
        "records": [msgspec.structs.astuple(record) for record in reader.select(Filter(), 0, ALL, False)],
        "events": [msgspec.structs.astuple(event) for event in reader.events(0, ALL)],
    }


def ask(store: SqliteStore, question: Callable[[Reader], Any]) -> Any:
    """Ask a store whose answers come in its own thread, and wait."""
    answered = threading.Event()
    found: list[Any] = []

    def done(answer: Any) -> None:
        found.append(answer)
        answered.set()

    store.read(question, done)
    assert answered.wait(PATIENCE)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def straight(done: Callable[..., None], *values: Any) -> None:
    """Call back in the store's own thread."""
    done(*values)


def found_in(path: Path, synced: bool = True) -> Contents:
    """What the store itself, on Python's own SQLite, finds in files."""
    store = SqliteStore(path, synced, straight)
    snapshot = store.open()
    try:
        whole = ask(store, lambda reader: contents(snapshot, reader))
        # What was found must also be good enough to go on with.
        Scheduler().restore(snapshot, Now(0.0, WALL))
        return whole  # type: ignore[no-any-return]
    finally:
        store.close()


class Load:
    """
    @ivar states: what the store had to hold after so many batches, if they are remembered.
    @ivar again: does what was refused once more.
    @ivar model: has what was told to be safe.
    """

    def __init__(
        self, seed: int, store: SqliteStore, note: Callable[[Given | Told], None], remember: bool = True
    ) -> None:
        self._rng = random.Random(seed)
        self._store = store
        self._note = note
        self.model = MemoryStore()
        self._scheduler = Scheduler()
        self._scheduler.restore(store.open(), Now(0.0, WALL))
        self._seconds = 0.0
        self._keys = 0
        self._running: list[Start] = []
        self._gathered: list[Any] = []
        self.states: list[Contents] = []
        self._kept = 0
        self._remember = remember
        self._refused: Callable[[MemoryStore], None] = lambda model: None
        self.again: Callable[[], Exception | None] = self.keep
        note(Told(0))
        self._one_more()
        self._happen(Capacity(4, 2))

    def state(self) -> Contents:
        """What the store has to hold now."""
        return contents(self.model.open(), self.model)

    def perhaps(self) -> Contents:
        """What it holds if what it refused last is there all the same."""
        other = copy.deepcopy(self.model)
        self._refused(other)
        return contents(other.open(), other)

    def _one_more(self) -> None:
        self._kept += 1
        if self._remember:
            self.states.append(self.state())

    def _happen(self, event: Event) -> None:
        now = Now(self._seconds, WALL + self._seconds)
        self._gathered += self._scheduler.handle(event, now)
        self._gathered += self._scheduler.fill(now)

    def batch(self) -> Exception | None:
        """Some things happen, and are kept. Returns what the store says."""
        for _ in range(self._rng.randint(1, 5)):
            self._seconds += self._rng.random()
            self._happen(self._next_event())
        return self.keep()

    def keep(self) -> Exception | None:
        """Give the store what has gathered. When that is refused it stays, to be given again."""
        self.again = self.keep
        kept = [action for action in self._gathered if type(action) in KEPT]
        if not kept:
            return None
        self._note(Given(self._kept))
        answered = threading.Event()
        told: list[Exception | None] = []

        def done(problem: Exception | None) -> None:
            told.append(problem)
            if problem is None:
                self._note(Told(self._kept))
            answered.set()

        self._store.commit(kept, done)
        assert answered.wait(PATIENCE)
        if told[0] is not None:
            self._refused = lambda model: model.commit(kept, lambda problem: None)
            return told[0]
        self.model.commit(kept, lambda problem: None)
        self._one_more()
        self._running += [action for action in self._gathered if isinstance(action, Start)]
        self._gathered = []
        return None

    def _next_event(self) -> Event:
        chance = self._rng.random()
        if self._running and chance < 0.45:
            start = self._running.pop(self._rng.randrange(len(self._running)))
            if chance < 0.05:
                return Returned(start.job_id, start.attempt)
            state = self._rng.choice([State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.LOST])
            outcome = wire.to_json({"exit_code": int(state is not State.SUCCEEDED), "result": "y" * self._size()})
            return Finished(start.job_id, start.attempt, state, outcome)
        if chance < 0.5 and self._scheduler.jobs:
            return Cancel(1, b"", [self._rng.choice(list(self._scheduler.jobs))], False)
        if chance < 0.53:
            limit = self._rng.choice([None, 1, 3])
            return SetQueue(1, b"", self._rng.choice(["a", "b"]), limit, UNSET)
        if chance < 0.6:
            return Tick()
        return Submit(1, b"", [self._job() for _ in range(self._rng.choice([1, 1, 1, 2, 8]))])

    def _size(self) -> int:
        return self._rng.choice([0, 0, 0, 10, 300, 9000])

    def _job(self) -> spec.Submission:
        fields: dict[str, Any] = {"argv": ["x" * (1 + self._size())], "cpus": self._rng.choice([0, 1])}
        if self._rng.random() < 0.3:
            self._keys += 1
            fields["key"] = f"key {self._keys}"
        if self._rng.random() < 0.3:
            fields["group"] = self._rng.choice(["g", "h"])
        if self._rng.random() < 0.3:
            fields["queue"] = self._rng.choice(["a", "b"])
        if self._rng.random() < 0.3:
            fields["attempts"] = 3
        if self._scheduler.jobs and self._rng.random() < 0.2:
            fields["after"] = {str(self._rng.choice(list(self._scheduler.jobs))): "any"}
        return spec.parse_job(wire.to_json(fields))

    def prune(self, keep: int) -> Exception | None:
        """Forget old jobs, as a batch of its own."""
        self.again = lambda: self.prune(keep)
        self._note(Given(self._kept))
        answered = threading.Event()
        told: list[list[int] | Exception] = []

        def done(gone: list[int] | Exception) -> None:
            told.append(gone)
            if not isinstance(gone, Exception):
                self._note(Told(self._kept))
            answered.set()

        self._store.prune(keep, 0.0, done)
        assert answered.wait(PATIENCE)
        if isinstance(told[0], Exception):
            self._refused = lambda model: model.prune(keep, 0.0, lambda gone: None)
            return told[0]
        self.model.prune(keep, 0.0, lambda gone: None)
        self._one_more()
        return None
