"""A store that keeps nothing: durability C{memory}, and the double for tests."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import inf
from typing import Any, TypeVar

import msgspec

from jobd.actions import Insert, KeepGroupEvent, KeepQueue, Kept, Update
from jobd.job import WORDS, Job, JobSpec, State
from jobd.selector import Filter
from jobd.snapshot import Kept as KeptJob
from jobd.snapshot import Snapshot
from jobd.store import KeptEvent, Reader, Record, Specs

T = TypeVar("T")


class MemoryStore:
    """
    Every batch is safe at once. What is in it can be opened again, as often as
    one likes, which is how tests let a daemon come back.
    """

    def __init__(self) -> None:
        self._instance = secrets.token_hex(8)
        self._records: dict[int, Record] = {}
        self._specs: dict[int, JobSpec] = {}
        self._fingerprints: dict[int, int] = {}
        self._ending: dict[int, State] = {}
        self._events: list[KeptEvent] = []
        self._queues: dict[str, tuple[int | None, bool]] = {}
        self._next_id = 1
        self._cursor = 0
        self._floor = 0
        self._ended = 0
        # No job that is kept ended before that.
        self._earliest = inf

    def open(self) -> Snapshot:
        live = [self._kept(record) for record in self._records.values() if not record.state.final]
        return Snapshot(
            instance=self._instance,
            next_id=self._next_id,
            cursor=self._cursor,
            jobs=sorted(live, key=lambda kept: kept.id),
            ended=[(record.id, record.state) for record in self._records.values() if record.state.final],
            keys=[(str(self._specs[number].key), number, mark) for number, mark in self._fingerprints.items()],
            queues=[(name, limit, paused) for name, (limit, paused) in self._queues.items()],
            groups=self._open_groups(),
        )

    def _kept(self, record: Record) -> KeptJob:
        return KeptJob(
            record.id,
            record.state,
            record.attempt,
            record.submitted,
            record.started,
            record.due,
            self._ending.get(record.id),
            record.spec,
            record.outcome,
        )

    def _open_groups(self) -> dict[str, dict[str, int]]:
        live = {self._specs[record.id].group for record in self._records.values() if not record.state.final}
        groups: dict[str, dict[str, int]] = {name: {} for name in live if name is not None}
        last = {name: 0 for name in groups}
        for event in self._events:
            if event.state is None:
                name = self._group_name(event)
                last[name] = event.cursor
        for record in self._records.values():
            name = str(self._specs[record.id].group)
            if name in groups and record.state.final and (record.cursor or 0) > last[name]:
                word = WORDS[record.state]
                groups[name][word] = groups[name].get(word, 0) + 1
        return groups

    @staticmethod
    def _group_name(event: KeptEvent) -> str:
        return str(msgspec.json.decode(event.json)["group"])

    def commit(self, batch: Iterable[Kept], done: Callable[[Exception | None], None]) -> None:
        for change in batch:
            if isinstance(change, Insert):
                self._insert(change)
            elif isinstance(change, Update):
                self._update(change.job)
            elif isinstance(change, KeepGroupEvent):
                self._append(KeptEvent(change.cursor, 0, None, change.json))
            elif isinstance(change, KeepQueue):
                self._queues[change.name] = (change.limit, change.paused)
        done(None)

    def _insert(self, change: Insert) -> None:
        job = change.job
        self._next_id = max(self._next_id, job.id + 1)
        self._specs[job.id] = change.spec or _only_queued(job.plan.queue)
        if change.fingerprint is not None:
            self._fingerprints[job.id] = change.fingerprint
        self._records[job.id] = Record(
            job.id,
            job.state,
            job.attempt,
            job.submitted,
            job.started,
            job.ended,
            job.due,
            None,
            job.outcome,
            job.spec,
            change.retry_of,
        )
        if job.cursor or job.ending is not None:
            self._update(job)

    def _update(self, job: Job) -> None:
        record = self._records[job.id]
        news = job.cursor and record.cursor is None
        record.state, record.attempt, record.started, record.ended = job.state, job.attempt, job.started, job.ended
        record.due, record.cursor, record.outcome = job.due, job.cursor or None, job.outcome
        if job.ending is not None:
            self._ending[job.id] = job.ending
        elif self._ending:
            self._ending.pop(job.id, None)
        if news:
            self._ended += 1
            self._earliest = min(self._earliest, job.ended or 0.0)
            self._append(KeptEvent(job.cursor, job.id, job.state, job.outcome or b"{}"))

    def _append(self, event: KeptEvent) -> None:
        # Jobs stand in a batch by their first change, not by their end.
        self._cursor = max(self._cursor, event.cursor)
        self._events.append(event)
        if len(self._events) > 1 and self._events[-2].cursor > event.cursor:
            self._events.sort(key=lambda kept: kept.cursor)

    def read(self, ask: Callable[[Reader], T], done: Callable[[T | Exception], None]) -> None:
        answer: Any
        try:
            answer = ask(self)
        except Exception as problem:
            answer = problem
        done(answer)

    def fetch(self, ids: Sequence[int], done: Callable[[Specs | Exception], None]) -> None:
        done({record.id: (record.submitted, record.spec) for record in self.records(ids)})

    def prune(self, keep: int, before: float, done: Callable[[list[int] | Exception], None]) -> None:
        last = self._ended - keep
        if before > self._earliest:
            # Events have no holes: with one that is old all that were told before it go.
            ended = [self._records[event.job_id].ended or 0.0 for event in self._events if event.job_id]
            last = max([last, *(place for place, when in enumerate(ended, 1) if when < before)])
            self._earliest = min(ended[max(last, 0) :], default=inf)
        gone: list[int] = []
        place = 0
        while len(gone) < last:
            event = self._events[place]
            place += 1
            if event.job_id:
                gone.append(event.job_id)
                self._floor = event.cursor
        del self._events[:place]
        self._ended -= len(gone)
        for number in gone:
            del self._records[number], self._specs[number]
            self._ending.pop(number, None)
            self._fingerprints.pop(number, None)
        done(gone)

    def close(self) -> None:
        pass

    # The reader.

    def records(self, ids: Sequence[int]) -> list[Record]:
        return [self._records[number] for number in ids if number in self._records]

    def select(self, chosen: Filter, start: int, limit: int, newest: bool) -> list[Record]:
        found = []
        for number in sorted(self._records, reverse=newest):
            if start and (number > start if newest else number < start):
                continue
            if self._passes(number, chosen):
                found.append(self._records[number])
                if len(found) == limit:
                    break
        return found

    def _passes(self, number: int, chosen: Filter) -> bool:
        spec, states, ranges = self._specs[number], chosen.states(), chosen.ranges()
        return (
            (not states or self._records[number].state in states)
            and (not ranges or any(first <= number <= last for first, last in ranges))
            and (chosen.queue is None or chosen.queue == spec.queue)
            and (chosen.group is None or chosen.group == spec.group)
            and (chosen.label is None or chosen.label == spec.label)
            and (chosen.key is None or chosen.key == spec.key)
        )

    def ids(self, chosen: Filter, limit: int) -> list[int]:
        return [record.id for record in self.select(chosen, 0, limit, False)]

    def events(self, after: int, limit: int) -> list[KeptEvent]:
        place = bisect_right(self._events, after, key=lambda event: event.cursor)
        return self._events[place : place + limit]

    def finishes(self, ids: Sequence[int]) -> list[KeptEvent]:
        records = (self._records.get(number) for number in set(ids))
        found = [
            KeptEvent(record.cursor, record.id, record.state, record.outcome or b"{}")
            for record in records
            if record is not None and record.cursor
        ]
        return sorted(found, key=lambda event: event.cursor)

    def group_event(self, group: str) -> KeptEvent | None:
        for event in reversed(self._events):
            if event.state is None and self._group_name(event) == group:
                return event
        return None

    def floor(self) -> int:
        return self._floor


@lru_cache(1000)
def _only_queued(queue: str) -> JobSpec:
    """Of jobs that have no key, no group and no label."""
    return JobSpec(queue=queue)
