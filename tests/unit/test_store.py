"""What every store does: one suite, which each implementation passes."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from jobd import spec
from jobd.actions import Insert, KeepGroupEvent, KeepQueue, Kept, Update
from jobd.errors import Full, StoreError
from jobd.job import Job, State, plan_of
from jobd.selector import Filter
from jobd.snapshot import Snapshot
from jobd.store import KeptEvent, Reader, Record, Specs, Store, batches, schema
from jobd.store.memory import MemoryStore
from jobd.store.sqlite import SqliteStore
from jobd.store.sqlreader import MOST_PARAMETERS
from jobd.testing import HeldStore

T = TypeVar("T")

if TYPE_CHECKING:
    Claims = SynchronousTestCase
else:
    # A suite is no test case: the classes that inherit it are.
    Claims = object

PATIENCE = 120.0
"""Seconds for a store's thread to answer; never reached when all is well."""


def new_job(number: int, state: State = State.QUEUED, json: bytes = b'{"argv": ["true"]}', **values: Any) -> Insert:
    """A job to be kept."""
    submission = spec.parse_job(json)
    job = Job(number, state, plan_of(submission.spec), submission.json, 1000.0 + number)
    for name, value in values.items():
        setattr(job, name, value)
    fields = submission.spec
    special = fields.key is not None or fields.group is not None or fields.label is not None
    return Insert(job, fields if special else None, spec.digest(json) if fields.key is not None else None)


def end(change: Insert, cursor: int, state: State = State.SUCCEEDED, ended: float = 2000.0) -> Update:
    """Its end, to be kept."""
    job = change.job
    job.state, job.cursor, job.ended, job.attempt, job.started = state, cursor, ended, 1, 1500.0
    job.outcome = b'{"exit_code": %d}' % (state is not State.SUCCEEDED)
    return Update(job)


class StoreClaims(Claims):
    """
    The suite. A class that inherits it says how a store is made and how its
    answers are waited for.
    """

    store: Any

    def make(self) -> Store:
        """A new, empty store."""
        raise NotImplementedError

    def reopen(self) -> Snapshot:
        """Close the store, and open what it has kept."""
        raise NotImplementedError

    def answer(self) -> None:
        """Let one answer of the store come in."""

    def setUp(self) -> None:
        self.store = self.make()
        self.empty = self.store.open()

    def keep(self, *batch: Kept) -> None:
        told: list[Exception | None] = []
        self.store.commit(list(batch), told.append)
        if not told:
            self.answer()
        self.assertEqual([None], told)

    def ask(self, question: Callable[[Reader], T]) -> T:
        told: list[T | Exception] = []
        self.store.read(question, told.append)
        if not told:
            self.answer()
        (found,) = told
        if isinstance(found, Exception):
            raise found
        return found

    def record(self, number: int) -> Record:
        (record,) = self.ask(lambda reader: reader.records([number]))
        return record

    def select(self, chosen: Filter, start: int, limit: int, newest: bool) -> list[Record]:
        return self.ask(lambda reader: reader.select(chosen, start, limit, newest))

    def ids(self, chosen: Filter | None = None, limit: int = 100) -> list[int]:
        return self.ask(lambda reader: reader.ids(chosen or Filter(), limit))

    def prune(self, keep: int, before: float = 0.0) -> list[int]:
        told: list[list[int] | Exception] = []
        self.store.prune(keep, before, told.append)
        if not told:
            self.answer()
        assert isinstance(told[0], list), told
        return told[0]

    def plain(self, snapshot: Snapshot) -> dict[str, Any]:
        """A snapshot with everything in it read, and in an order that may be compared."""
        return {
            **attrs.asdict(snapshot, recurse=False),
            "jobs": list(snapshot.jobs),
            "ended": sorted((number, int(state)) for number, state in snapshot.ended),
            "keys": sorted(snapshot.keys),
            "queues": sorted(snapshot.queues),
            "mended": list(snapshot.mended),
            "notes": list(snapshot.notes),
        }

    # Empty.

    def test_a_new_store_is_empty(self) -> None:
        """A new store gives the first id and no cursor, and answers every question with nothing."""
        expected = self.plain(Snapshot(instance=self.empty.instance))
        self.assertEqual(expected, self.plain(self.empty))
        self.assertEqual([], self.ask(lambda reader: reader.records([1, 2])))
        self.assertEqual([], self.ask(lambda reader: reader.select(Filter(), 0, 10, False)))
        self.assertEqual([], self.ask(lambda reader: reader.events(0, 10)))
        self.assertIsNone(self.ask(lambda reader: reader.group_event("g")))
        self.assertEqual(0, self.ask(lambda reader: reader.floor()))
        self.assertEqual([], self.prune(0, 1e12))

    def test_instance(self) -> None:
        """A store has a name of its own, which it keeps."""
        self.assertRegex(self.empty.instance, r"\A[0-9a-f]{16}\Z")
        self.assertEqual(self.empty.instance, self.reopen().instance)
        self.assertNotEqual(self.empty.instance, self.make().open().instance)

    # Keeping.

    def test_a_job_in_every_state_comes_back(self) -> None:
        """What was kept of jobs that had not ended is the same after opening again; of others the final state is."""
        waiting = new_job(1, State.WAITING, due=1700.25, attempt=1, started=1500.5, outcome=b'{"exit_code":1}')
        queued = new_job(2)
        running = new_job(3, State.RUNNING, attempt=4, started=1600.0, ending=State.CANCELLED)
        ended = [new_job(number) for number in range(4, 10)]
        self.keep(waiting, queued, running, *ended)
        finals = [state for state in State if state.final]
        self.keep(
            *(end(change, place, state) for place, (change, state) in enumerate(zip(ended, finals, strict=True), 1))
        )
        snapshot = self.plain(self.reopen())
        self.assertEqual((10, 6), (snapshot["next_id"], snapshot["cursor"]))
        self.assertEqual([(number, number) for number in range(4, 10)], snapshot["ended"])
        self.assertEqual([1, 2, 3], [kept.id for kept in snapshot["jobs"]])
        for change, kept in zip((waiting, queued, running), snapshot["jobs"], strict=True):
            for name in ("id", "state", "attempt", "submitted", "started", "due", "ending", "spec", "outcome"):
                self.assertEqual(getattr(change.job, name), getattr(kept, name), name)

    def test_many_changes_of_one_job_in_one_batch(self) -> None:
        """A job that is inserted, started and ended in one batch is kept as it is at the end of it."""
        change = new_job(1)
        self.keep(change, Update(change.job), end(change, 1), Update(change.job))
        record = self.record(1)
        self.assertEqual(
            (State.SUCCEEDED, 1, 1001.0, 1500.0, 2000.0, 1),
            (
                record.state,
                record.attempt,
                record.submitted,
                record.started,
                record.ended,
                record.cursor,
            ),
        )
        self.assertEqual(b'{"exit_code": 0}', record.outcome)
        self.assertEqual([KeptEvent(1, 1, State.SUCCEEDED, b'{"exit_code": 0}')], self.ask(lambda r: r.events(0, 10)))

    def test_values_are_taken_at_once(self) -> None:
        """What becomes of a job after its batch was given is not in the batch."""
        change = new_job(1)
        told: list[Exception | None] = []
        self.store.commit([change], told.append)
        end(change, 1)
        if not told:
            self.answer()
        record = self.record(1)
        self.assertEqual((State.QUEUED, None), (record.state, record.cursor))

    def test_a_later_change_leaves_the_rest(self) -> None:
        """An update changes what can change, and nothing of what the job was submitted with."""
        change = new_job(1, json=b'{"argv": ["true"], "key": "k", "group": "g", "label": "l", "queue": "q"}')
        change.retry_of = 7
        self.keep(change)
        self.keep(end(change, 1))
        for chosen in (Filter(key="k"), Filter(group="g"), Filter(label="l"), Filter(queue="q")):
            (record,) = self.select(chosen, 0, 10, False)
            self.assertEqual((1, change.job.spec, 7), (record.id, record.spec, record.retry_of))

    def test_any_text_is_kept_as_it_is(self) -> None:
        """Specs and outcomes come back byte for byte, whatever characters they hold."""
        for number, text in enumerate(
            (b"caf\xc3\xa9 \xf0\x9f\xa6\x8a", b"\\u0000\\n\\\\ \\ud83e\\udd8a", b"'; DROP TABLE jobs; --"), 1
        ):
            json = b'{"call": "m:f", "args": ["%s"]}' % text
            change = new_job(number, json=json)
            self.keep(change)
            end(change, number)
            change.job.outcome = b'{"result": "%s"}' % text
            self.keep(Update(change.job))
            record = self.record(number)
            self.assertEqual((json, b'{"result": "%s"}' % text), (record.spec, record.outcome))

    def test_keys(self) -> None:
        """A key comes back with its job and its fingerprint, which may be any number of 64 bits."""
        low, high = (
            new_job(1, json=b'{"argv": ["a"], "key": "low"}'),
            new_job(2, json=b'{"argv": ["b"], "key": "high"}'),
        )
        low.fingerprint, high.fingerprint = -(2**63), 2**63 - 1
        self.keep(low, high)
        self.assertEqual([("high", 2, 2**63 - 1), ("low", 1, -(2**63))], self.plain(self.reopen())["keys"])

    def test_queues(self) -> None:
        """A queue's newest settings are kept, the whole daemon's among them."""
        self.keep(KeepQueue("gpu", 1, False), KeepQueue("*", None, True))
        self.keep(KeepQueue("gpu", None, True), KeepQueue("net", 5, False))
        expected = [("*", None, True), ("gpu", None, True), ("net", 5, False)]
        self.assertEqual(expected, self.plain(self.reopen())["queues"])

    def test_ids_and_cursors_are_never_given_out_again(self) -> None:
        """Ids and cursors go on above the highest ever kept, a group's or a job's, also once that is gone."""
        change = new_job(41)
        self.keep(change)
        self.keep(end(change, 7), KeepGroupEvent(8, "g", b'{"group":"g"}'))
        snapshot = self.reopen()
        self.assertEqual((42, 8), (snapshot.next_id, snapshot.cursor))
        self.prune(0)
        snapshot = self.reopen()
        self.assertEqual((42, 8), (snapshot.next_id, snapshot.cursor))
        self.assertEqual([], self.plain(snapshot)["ended"])

    def test_all_at_once(self) -> None:
        """A job that is new, has begun and has ended within one batch is kept as it is then."""
        queued, begun, again = new_job(1), new_job(2, State.RUNNING, attempt=1, started=1600.5), new_job(3)
        grouped = new_job(4, json=b'{"argv": ["true"], "group": "g"}')
        skipped = new_job(5, State.SKIPPED, ended=1700.0, cursor=3, outcome=b'{"because":1}')
        self.keep(
            queued, begun, Update(begun.job), again, end(again, 1), grouped, end(grouped, 2, State.FAILED), skipped
        )
        expected = [
            (1, State.QUEUED, 0, None, None, None, None),
            (2, State.RUNNING, 1, 1600.5, None, None, None),
            (3, State.SUCCEEDED, 1, again.job.started, again.job.ended, 1, again.job.outcome),
            (4, State.FAILED, 1, grouped.job.started, grouped.job.ended, 2, grouped.job.outcome),
            (5, State.SKIPPED, 0, None, 1700.0, 3, b'{"because":1}'),
        ]
        records = self.ask(lambda reader: reader.records([1, 2, 3, 4, 5]))
        found = [(one.id, one.state, one.attempt, one.started, one.ended, one.cursor, one.outcome) for one in records]
        self.assertEqual(expected, found)
        self.assertEqual([1, 2, 3], [event.cursor for event in self.ask(lambda reader: reader.events(0, 10))])
        self.assertEqual([1, 2], [kept.id for kept in self.plain(self.reopen())["jobs"]])

    def test_of_several_states(self) -> None:
        """Jobs are found by states before the end and after it, together and apart, and by no state they had before."""
        jobs = [new_job(number) for number in range(1, 5)]
        self.keep(*jobs)
        jobs[1].job.state, jobs[1].job.attempt, jobs[1].job.started = State.RUNNING, 1, 1600.0
        self.keep(Update(jobs[1].job), end(jobs[2], 1, State.FAILED), end(jobs[3], 2))

        def found(*states: str) -> list[int]:
            ids: list[int] = self.ask(lambda reader: reader.ids(Filter(state=list(states)), 10))
            return ids

        self.assertEqual([[1], [2], [3], []], [found("queued"), found("running"), found("failed"), found("lost")])
        self.assertEqual([[1, 3], [2, 4]], [found("failed", "queued"), found("succeeded", "running")])
        self.assertEqual([1, 2], found("queued", "running"))

    def test_open_groups(self) -> None:
        """For a group with jobs that have not ended it is kept how many have ended since its last event, and how."""
        jobs = [new_job(number, json=b'{"argv": ["true"], "group": "g"}') for number in range(1, 6)]
        other = new_job(6, json=b'{"argv": ["true"], "group": "over"}')
        self.keep(*jobs, other)
        self.keep(end(jobs[0], 1), KeepGroupEvent(2, "g", b'{"group":"g"}'))
        self.keep(end(jobs[1], 3), end(jobs[2], 4, State.FAILED), end(jobs[3], 5), end(other, 6))
        self.assertEqual({"g": {"succeeded": 2, "failed": 1}}, self.reopen().groups)

    # Reading.

    def fill(self) -> None:
        """Ten jobs: odd ones in queue odd, the first five ended."""
        changes = [
            new_job(
                number,
                json=b'{"argv": ["true"], "queue": "%s", "label": "l%d"}' % (b"odd" if number % 2 else b"even", number),
            )
            for number in range(1, 11)
        ]
        self.keep(*changes)
        self.keep(
            *(
                end(change, place, State.FAILED if place == 3 else State.SUCCEEDED)
                for place, change in enumerate(changes[:5], 1)
            )
        )

    def chosen(self, chosen: Filter, start: int, limit: int, newest: bool) -> list[int]:
        return [record.id for record in self.select(chosen, start, limit, newest)]

    def test_select(self) -> None:
        """Every part of a filter counts, all that are given must hold."""
        self.fill()
        for expected, chosen in (
            (list(range(1, 11)), Filter()),
            ([3], Filter(state="failed")),
            ([3, 6, 7, 8, 9, 10], Filter(state=["queued", "failed"])),
            ([1, 3, 5, 7, 9], Filter(queue="odd")),
            ([7], Filter(label="l7")),
            ([2, 3, 9], Filter(ids="2-3,9,40")),
            ([7, 9], Filter(queue="odd", state="queued")),
            ([], Filter(group="none")),
            ([], Filter(key="none")),
        ):
            self.assertEqual(expected, self.chosen(chosen, 0, 100, False), chosen)
            self.assertEqual(expected[:2], self.ids(chosen, 2), chosen)

    def test_pages(self) -> None:
        """Pages go on where they are told to, in both directions."""
        self.fill()
        self.assertEqual([1, 2, 3], self.chosen(Filter(), 0, 3, False))
        self.assertEqual([4, 5, 6], self.chosen(Filter(), 4, 3, False))
        self.assertEqual([10, 9, 8], self.chosen(Filter(), 0, 3, True))
        self.assertEqual([7, 5, 3], self.chosen(Filter(queue="odd"), 8, 3, True))

    def test_records_in_the_order_asked_for(self) -> None:
        """Records come in the order of the ids, what is not there is left out."""
        self.fill()
        self.assertEqual([9, 2, 5], [record.id for record in self.ask(lambda reader: reader.records([9, 99, 2, 5]))])

    def test_many_ids(self) -> None:
        """More ids than a statement takes are no trouble."""
        count = 2 * MOST_PARAMETERS + 1
        changes = [new_job(number) for number in range(1, count + 1)]
        self.keep(*changes)
        self.keep(*(end(change, count + 1 - change.job.id) for change in changes))
        ids = list(range(1, count + 1))
        self.assertEqual(ids, [record.id for record in self.ask(lambda reader: reader.records(ids))])
        self.assertEqual(ids, [event.cursor for event in self.ask(lambda reader: reader.finishes(ids))])
        self.assertEqual(ids, sorted(self.fetched(ids)))

    def fetched(self, ids: list[int]) -> Specs:
        answers: list[Specs | Exception] = []
        self.store.fetch(ids, answers.append)
        while not answers:
            self.answer()
        assert isinstance(answers[0], dict), answers
        return answers[0]

    def test_fetch(self) -> None:
        """Specs come with the time of their submission, byte for byte; what is not there is left out."""
        self.keep(new_job(1), new_job(2, json='{"argv": ["tr\u00fce"], "key": "k"}'.encode()))
        found = self.fetched([2, 99])
        self.assertEqual({2: (1002.0, '{"argv": ["tr\u00fce"], "key": "k"}'.encode())}, found)

    def test_events(self) -> None:
        """Events, jobs' and groups', come by growing cursor, after the one that is given."""
        self.fill()
        self.keep(KeepGroupEvent(6, "g", b'{"group":"g"}'))
        events = self.ask(lambda reader: reader.events(2, 100))
        self.assertEqual([(3, 3), (4, 4), (5, 5), (6, 0)], [(event.cursor, event.job_id) for event in events])
        self.assertEqual(KeptEvent(3, 3, State.FAILED, b'{"exit_code": 1}'), events[0])
        self.assertEqual(KeptEvent(6, 0, None, b'{"group":"g"}'), events[3])
        self.assertEqual(events[:2], self.ask(lambda reader: reader.events(2, 2)))
        self.assertEqual([], self.ask(lambda reader: reader.events(6, 2)))

    def test_cursors_against_the_order_of_the_batch(self) -> None:
        """Events come by cursor, in whatever order their jobs stand in a batch."""
        first, second = new_job(1), new_job(2)
        self.keep(first, second)
        self.keep(end(first, 2), end(second, 1))
        self.assertEqual([(1, 2), (2, 1)], [(one.cursor, one.job_id) for one in self.ask(lambda r: r.events(0, 9))])

    def test_finishes(self) -> None:
        """The finish events of some jobs come by cursor; of those that have not ended there is none."""
        self.fill()
        found = self.ask(lambda reader: reader.finishes([7, 5, 3, 99]))
        self.assertEqual([3, 5], [event.job_id for event in found])
        self.assertEqual(b'{"exit_code": 1}', found[0].json)

    def test_group_event(self) -> None:
        """Of a group's events the newest is told."""
        self.keep(KeepGroupEvent(1, "g", b'{"group":"g","succeeded":1}'), KeepGroupEvent(2, "h", b'{"group":"h"}'))
        self.keep(KeepGroupEvent(3, "g", b'{"group":"g","failed":1}'))
        expected = KeptEvent(3, 0, None, b'{"group":"g","failed":1}')
        self.assertEqual(expected, self.ask(lambda reader: reader.group_event("g")))

    def test_a_question_that_fails(self) -> None:
        """An exception in a question is its answer, and the store goes on."""
        self.assertRaises(ZeroDivisionError, self.ask, lambda reader: 1 // 0)
        self.assertEqual(0, self.ask(lambda reader: reader.floor()))

    # Forgetting.

    def test_prune_by_number(self) -> None:
        """Only the newest ended jobs are kept; what has not ended stays."""
        self.fill()
        self.assertEqual([1, 2, 3], self.prune(2))
        self.assertEqual([4, 5, 6, 7, 8, 9, 10], self.ids())
        self.assertEqual(3, self.ask(lambda reader: reader.floor()))
        self.assertEqual([4, 5], [event.cursor for event in self.ask(lambda reader: reader.events(0, 100))])
        self.assertEqual([], self.prune(2))

    def test_prune_by_number_again(self) -> None:
        """How many there are is known as more end, as some go by their age, and when it is opened again."""
        changes = [new_job(number) for number in range(1, 21)]
        self.keep(*changes)
        for cursor, change in enumerate(changes[:12], 1):
            self.keep(end(change, cursor, ended=100.0 * cursor))
        self.assertEqual([1, 2, 3, 4], self.prune(8))
        self.keep(*(end(change, cursor, ended=100.0 * cursor) for cursor, change in enumerate(changes[12:15], 13)))
        self.assertEqual([5, 6, 7], self.prune(8))
        self.assertEqual([8, 9], self.prune(8, 1000.0))
        self.assertEqual([], self.prune(6))
        self.assertEqual([10], self.prune(5))
        self.keep(*(end(change, cursor, ended=100.0 * cursor) for cursor, change in enumerate(changes[15:17], 16)))
        self.reopen()
        self.assertEqual([11, 12], self.prune(5))
        self.assertEqual([13, 14, 15, 16, 17, 18, 19, 20], self.ids())

    def test_prune_by_age(self) -> None:
        """What ended before a time is not kept, and nothing that ended before it: events have no holes."""
        changes = [new_job(number) for number in range(1, 5)]
        self.keep(*changes)
        # The clock on the wall was set back between the first and the second end.
        self.keep(
            *(
                end(change, place, ended=when)
                for place, (change, when) in enumerate(zip(changes, (900.0, 100.0, 300.0, 400.0), strict=True), 1)
            )
        )
        self.assertEqual([1, 2], self.prune(100, 200.0))
        self.assertEqual([3, 4], self.ids())
        self.assertEqual(2, self.ask(lambda reader: reader.floor()))
        self.assertEqual([(3, 4), (4, 4)], self.plain(self.reopen())["ended"])

    def test_prune_by_age_again(self) -> None:
        """What was too young once is old later, and what ended since may have ended before it, by the clock."""
        changes = [new_job(number) for number in range(1, 5)]
        self.keep(*changes)
        self.keep(end(changes[0], 1, ended=100.0), end(changes[1], 2, ended=300.0))
        self.assertEqual([], self.prune(100, 50.0))
        self.keep(end(changes[2], 3, ended=90.0))
        self.assertEqual([], self.prune(100, 90.0))
        self.assertEqual([1, 2, 3], self.prune(100, 95.0))
        self.assertEqual([], self.prune(100, 300.0))
        self.keep(end(changes[3], 4, ended=400.0))
        self.assertEqual([], self.prune(100, 400.0))
        self.assertEqual([4], self.prune(100, 401.0))

    def test_prune_forgets_keys_and_group_events(self) -> None:
        """With a job its key goes, and with the events the groups' among them."""
        change = new_job(1, json=b'{"argv": ["a"], "key": "k", "group": "g"}')
        self.keep(change)
        self.keep(end(change, 1), KeepGroupEvent(2, "g", b'{"group":"g"}'))
        late = new_job(2)
        self.keep(late)
        self.keep(end(late, 3))
        self.prune(1)
        self.assertEqual([2, 3], [event.cursor for event in self.ask(lambda reader: reader.events(0, 100))])
        self.assertEqual([], self.plain(self.reopen())["keys"])
        self.prune(0)
        self.assertIsNone(self.ask(lambda reader: reader.group_event("g")))

    def test_what_a_key_had_may_be_kept_again(self) -> None:
        """Once its job is no longer kept, another may have the key."""
        change = new_job(1, json=b'{"argv": ["a"], "key": "k"}')
        self.keep(change)
        self.keep(end(change, 1))
        self.prune(0)
        self.keep(new_job(2, json=b'{"argv": ["b"], "key": "k"}'))
        ((key, job_id, _),) = self.plain(self.reopen())["keys"]
        self.assertEqual(("k", 2), (key, job_id))

    def test_nothing_special(self) -> None:
        """A job without key, group and label comes without its fields, whatever else there is to keep of it."""
        plain, delayed = (new_job(number, json=b'{"argv": ["a"], "queue": "q"}') for number in (1, 2))
        delayed.job.due, delayed.job.state = 1500.0, State.WAITING
        self.assertEqual([None, None], [plain.spec, delayed.spec])
        self.keep(plain, delayed)
        self.assertEqual([1, 2], self.ask(lambda reader: reader.ids(Filter(queue="q"), 10)))
        self.assertEqual([], self.ask(lambda reader: reader.ids(Filter(queue="default"), 10)))
        first, second = self.ask(lambda reader: reader.records([1, 2]))
        self.assertEqual((None, 1500.0), (first.due, second.due))
        self.assertEqual(plain.job.spec, second.spec)
        self.assertEqual(([], {}), tuple(self.plain(self.reopen())[name] for name in ("keys", "groups")))

    def test_order(self) -> None:
        """Batches are told to be safe in the order in which they were given, and a prune takes its turn among them."""
        told: list[str] = []
        change = new_job(1)
        self.store.commit([change], lambda problem: told.append("insert"))
        self.store.commit([end(change, 1)], lambda problem: told.append("end"))
        self.store.prune(0, 0.0, lambda gone: told.append(f"prune {len(gone)}"))
        while len(told) < 3:
            self.answer()
        self.assertEqual(["insert", "end", "prune 1"], told)


class MemoryStoreTests(StoreClaims, SynchronousTestCase):
    """The store that keeps nothing on disk."""

    def make(self) -> Store:
        return MemoryStore()

    def reopen(self) -> Snapshot:
        self.store.close()
        snapshot: Snapshot = self.store.open()
        return snapshot


class HeldStoreTests(StoreClaims, SynchronousTestCase):
    """The double whose commits a test holds back, each released at once when somebody waits for it."""

    def make(self) -> Store:
        return HeldStore()

    def reopen(self) -> Snapshot:
        snapshot: Snapshot = self.store.open()
        return snapshot

    def answer(self) -> None:
        self.store.release()

    def test_order(self) -> None:
        """Nothing of a batch is in the store before the test lets it, and nothing of one that it refuses."""
        told: list[Exception | None] = []
        problem = Full("no room")
        self.store.commit([new_job(1)], told.append)
        self.store.commit([new_job(2)], told.append)
        self.assertEqual(([], 2), (told, self.store.held))
        self.assertEqual([], self.store.ids(Filter(), 9))
        self.store.refuse(problem)
        self.store.release()
        self.assertEqual([problem, None], told)
        self.assertEqual([2], self.store.ids(Filter(), 9))


class SqliteClaims(StoreClaims):
    """SQLite, with a thread of the test in the place of the reactor's."""

    synced: bool

    def make(self) -> Store:
        self.path = Path(self.mktemp())
        self.answers: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = SimpleQueue()
        return self.another()

    def another(self) -> SqliteStore:
        store = SqliteStore(self.path, self.synced, lambda done, *values: self.answers.put((done, values)))
        self.addCleanup(store.close)
        return store

    def reopen(self) -> Snapshot:
        self.store.close()
        self.store = store = self.another()
        return store.open()

    def answer(self) -> None:
        done, values = self.answers.get(timeout=PATIENCE)
        done(*values)

    def test_answers_come_in_the_readers_thread_only_by_the_callback(self) -> None:
        """A store's own threads call nothing but what was given for that; they end with it."""
        self.keep(new_job(1))
        before = {thread.name for thread in threading.enumerate()}
        self.assertLessEqual({"jobd store writer", "jobd store reader"}, before)
        self.store.close()
        self.assertEqual([], [one for one in self.store._threads if one.is_alive()])

    def test_closing_finishes_what_was_given(self) -> None:
        """What was given before the close is kept."""
        for number in range(1, 51):
            self.store.commit([new_job(number)], lambda problem: None)
        self.assertEqual(51, self.reopen().next_id)


class SyncedSqliteStoreTests(SqliteClaims, SynchronousTestCase):
    """Durability commit, and what holds for the file itself."""

    synced = True

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The file, seen from beside the store."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            yield database

    def pragma(self, name: str) -> Any:
        told: list[Any] = []
        self.store.read(lambda reader: reader._database.execute(f"PRAGMA {name}").fetchone()[0], told.append)
        self.answer()
        return told[0]

    def test_settings(self) -> None:
        """The file is in WAL mode, and a commit waits for the disk."""
        self.assertEqual(("wal", 2), (self.pragma("journal_mode"), self.pragma("synchronous")))

    def test_the_file_tells_what_it_is(self) -> None:
        """The file carries jobd's mark and its schema's version."""
        with self.database() as database:
            found = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        self.assertEqual([schema.APPLICATION_ID, schema.VERSION], found)

    def test_another_version(self) -> None:
        """A file of a version that this jobd does not know is refused, and not touched."""
        self.store.close()
        with self.database() as database:
            database.execute("PRAGMA user_version = 99")
        problem = self.assertRaises(StoreError, self.another().open)
        self.assertIn("schema version 99", str(problem))

    def test_another_programs_file(self) -> None:
        """Another program's SQLite file is refused."""
        self.path = Path(self.mktemp())
        with self.database() as database:
            database.execute("CREATE TABLE notes (text)")
        problem = self.assertRaises(StoreError, self.another().open)
        self.assertIn("not one of jobd's", str(problem))

    def test_an_empty_file(self) -> None:
        """An empty file, as a crash in the first moment leaves it, is made a store."""
        self.path = Path(self.mktemp())
        self.path.touch()
        self.assertEqual(1, self.another().open().next_id)

    def test_no_sqlite_file(self) -> None:
        """Something else under the store's name is a clear error."""
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"once upon a time" * 1000)
        problem = self.assertRaises(StoreError, self.another().open)
        self.assertIn(f"the job store {self.path} cannot be read", str(problem))

    def test_no_room(self) -> None:
        """A batch for which there is no room is refused as a whole, and may be given again once there is."""
        self.keep(new_job(1))
        told: list[Exception | None] = []
        self.limit(lambda pages: pages)
        batch: list[Kept] = [
            new_job(2),
            new_job(3, json=b'{"shell": "%s"}' % (b"x" * 300_000)),
            KeepQueue("q", 1, True),
        ]
        self.store.commit(batch, told.append)
        self.answer()
        self.assertIsInstance(told[0], Full)
        self.assertEqual([1], self.ids())
        self.limit(lambda pages: pages + 1000)
        self.keep(*batch)
        self.assertEqual([1, 2, 3], self.ids())

    def test_prune_where_a_time_cannot_be_read(self) -> None:
        """A job of which cannot be read when it ended is never old by its age, only by number."""
        change = new_job(1)
        self.keep(change)
        self.keep(end(change, 1))
        with self.database() as database:
            database.execute("UPDATE ends SET ended = 'x'")
        self.assertEqual([], self.prune(1, 1e12))
        self.assertEqual([1], self.prune(0))

    def limit(self, most: Callable[[int], int]) -> None:
        """Let the writer's file grow to so many pages."""

        def work(database: sqlite3.Connection) -> None:
            pages = database.execute("PRAGMA page_count").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {most(pages)}")

        self.store._writing.put(work)

    def test_a_file_that_is_broken(self) -> None:
        """An error of the store that is not for want of room is a StoreError, for commits, questions and prunes."""
        with self.database() as database:
            database.execute("DROP TABLE jobs")
        told: list[Any] = []
        self.store.commit([new_job(1)], told.append)
        self.answer()
        self.store.read(lambda reader: reader.records([1]), told.append)
        self.answer()
        self.store.prune(0, 0.0, told.append)
        self.answer()
        self.assertEqual([StoreError] * 3, [type(problem) for problem in told])

    def test_a_batch_is_all_or_nothing(self) -> None:
        """When a part of a batch cannot be kept, nothing of it is."""
        self.keep(KeepGroupEvent(1, "g", b"{}"))
        told: list[Any] = []
        self.store.commit([new_job(1), KeepGroupEvent(1, "g", b"{}")], told.append)
        self.answer()
        self.assertIsInstance(told[0], StoreError)
        self.assertEqual([], self.ids())

    def test_one_statement_a_batch(self) -> None:
        """A batch of jobs is one statement, which is a transaction of its own."""
        statements = batches.prepare_batch([new_job(number) for number in range(1, 129)]).statements
        self.assertEqual(1, len(statements))
        traced: list[str] = []
        with self.database() as database:
            database.set_trace_callback(traced.append)
            batches.write_batch(database, statements)
        self.assertEqual(1, len(traced))


class UnsyncedSqliteStoreTests(SqliteClaims, SynchronousTestCase):
    """Durability os."""

    synced = False
