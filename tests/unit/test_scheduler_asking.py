"""Claims of the scheduler about who is told what, and about what it is after a restart."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from jobd import events
from jobd.actions import Action, Announce, Close, Insert, KeepGroupEvent, Kill, Recall, RecallGroup, Reply, Start
from jobd.errors import Conflict
from jobd.job import FINAL, State
from jobd.places import UNIT
from jobd.snapshot import Kept, Snapshot

from .simulation import START, Bench, job, of, reply, told


class NotifyTests(TestCase):
    """Who submitted a job is told how it ended."""

    def test_submitter(self) -> None:
        """The finish event goes to the connection that submitted the job, and to no other."""
        bench = Bench()
        bench.one(conn=1)
        bench.one(conn=2)
        self.assertEqual([(1, "succeeded", [1])], told(bench.finish(1)))

    def test_silent(self) -> None:
        """With notify false it goes to nobody, unless asked for."""
        bench = Bench()
        bench.submit(job(notify=False), job(notify=False), conn=1)
        bench.wait(1, 2)
        self.assertEqual([(1, "succeeded", [])], told(bench.finish(1)))
        self.assertEqual([(2, "succeeded", [1])], told(bench.finish(2)))

    def test_gone(self) -> None:
        """A connection that is gone is told nothing; the job goes on."""
        bench = Bench()
        bench.one(conn=1)
        bench.wait(2, 1)
        bench.handle(events.Disconnected(1))
        bench.handle(events.Disconnected(2))
        self.assertEqual([(1, "succeeded", [])], told(bench.finish(1)))


class WaitTests(TestCase):
    """Finish events are asked for."""

    def test_wait(self) -> None:
        """Whoever waits for a job is told, after the count of events to come."""
        bench = Bench()
        bench.submit(job(), job(), conn=1)
        self.assertEqual(b"2", reply(bench.wait(2, 1, 2)))
        bench.wait(3, 1)
        self.assertEqual([(1, "succeeded", [1, 2, 3])], told(bench.finish(1)))
        self.assertEqual([(2, "succeeded", [1, 2])], told(bench.finish(2)))

    def test_once(self) -> None:
        """One event is one event, however often the same connection asks for it, its own submission included."""
        bench = Bench()
        bench.one(conn=1)
        for conn in (1, 2, 2):
            bench.wait(conn, 1)
        self.assertEqual([(1, "succeeded", [1, 2])], told(bench.finish(1)))

    def test_ended(self) -> None:
        """Those that have ended already are recalled, after the reply."""
        bench = Bench()
        bench.submit(job(), job(), job())
        bench.finish(2)
        answer, recall = bench.wait(5, 1, 2, 3)
        assert isinstance(answer, Reply) and isinstance(recall, Recall)
        self.assertEqual((b"3", 5, [2]), (answer.text, recall.conn, recall.ids))

    def test_retried_attempt(self) -> None:
        """The end of an attempt that another follows is no finish event."""
        bench = Bench()
        bench.one(conn=1, attempts=2)
        self.assertEqual([], told(bench.finish(1, State.FAILED)))
        bench.advance(1)
        self.assertEqual([(1, "succeeded", [1])], told(bench.finish(1)))


class KeyTests(TestCase):
    """The same job submitted again under its key."""

    def again(self, bench: Bench, conn: int = 2, **fields: Any) -> list[Action]:
        before = len(bench.story)
        self.assertEqual(1, bench.one(conn=conn, key="k", **fields))
        return bench.story[before:]

    def test_same(self) -> None:
        """It has the first one's id, is not run again, and its finish event goes to both connections."""
        bench = Bench()
        bench.one(conn=1, key="k")
        self.assertEqual([], of(Insert, self.again(bench)))
        self.assertEqual([(1, "succeeded", [1, 2])], told(bench.finish(1)))
        self.assertEqual([1], bench.started())

    def test_after_finish(self) -> None:
        """Also after the finish: then the event is recalled, after the reply."""
        for state in FINAL - {State.SKIPPED}:
            bench = Bench()
            bench.one(conn=1, key="k")
            bench.finish(1, state)
            answer, recall = self.again(bench)
            assert isinstance(answer, Reply) and isinstance(recall, Recall)
            self.assertEqual((b"1", 2, [1]), (answer.text, recall.conn, recall.ids))

    def test_silent(self) -> None:
        """Without a wish for the event it is not sent; the wish is no part of the job."""
        bench = Bench()
        bench.one(conn=1, key="k", notify=False)
        self.again(bench, notify=False)
        self.again(bench, conn=3)
        self.assertEqual([(1, "succeeded", [3])], told(bench.finish(1)))
        self.assertEqual(1, len(self.again(bench, notify=False)))

    def test_conflict(self) -> None:
        """Another job with the same key is refused, with the id of the job that has it, also after its finish."""
        bench = Bench()
        bench.one(key="k")
        for _ in range(2):
            with self.assertRaises(Conflict) as caught:
                bench.one(key="k", priority=1)
            self.assertEqual("key 'k' belongs to job 1, which is another job", str(caught.exception))
            if 1 in bench.scheduler.jobs:
                bench.finish(1)

    def test_in_one_list(self) -> None:
        """In a list the same job twice is one job; two jobs with one key are refused."""
        bench = Bench()
        self.assertEqual([1, 2, 1], bench.submit(job(key="k"), job(), job(key="k"), conn=1))
        self.assertEqual([(1, "succeeded", [1])], told(bench.finish(1)))
        with self.assertRaises(Conflict) as caught:
            bench.submit(job(key="new"), job(key="new", label="x"))
        self.assertEqual("key 'new' stands for two jobs here", str(caught.exception))

    def test_silent_then_not(self) -> None:
        """Of the same job twice in a list, the second one's wish counts too."""
        bench = Bench()
        bench.submit(job(key="k", notify=False), job(key="k"), conn=1)
        self.assertEqual([(1, "succeeded", [1])], told(bench.finish(1)))

    def test_counting_back(self) -> None:
        """A later job of the list that counts back to it comes after the job that has the key."""
        bench = Bench(cpus=1)
        bench.one(key="k")
        self.assertEqual([1, 2], bench.submit(job(key="k"), job(after=[-1])))
        bench.finish(1)
        self.assertEqual("running", bench.states(2)[0])

    def test_pruned(self) -> None:
        """A key is known for as long as its job is kept."""
        bench = Bench()
        bench.submit(job(key="k"), job())
        bench.finish(1)
        bench.finish(2)
        bench.handle(events.Pruned([1, 2]))
        self.assertEqual([None, None, {}], [bench.state(1), bench.state(2), bench.scheduler.keys])
        self.assertEqual(3, bench.one(key="k", priority=1))


class GroupTests(TestCase):
    """Jobs of a group."""

    def wait_group(self, bench: Bench, conn: int) -> list[Action]:
        return bench.handle(events.WaitGroup(conn, b"", "g"))

    def test_last(self) -> None:
        """When the last job of a group has ended its event is kept and told, with how many ended how."""
        bench = Bench()
        bench.submit(job(group="g"), job(group="g"), job())
        self.assertEqual(b"1", reply(self.wait_group(bench, 5)))
        self.assertEqual([(2, "succeeded", [])], told(bench.finish(2)))
        out = bench.finish(1, State.FAILED)
        self.assertEqual([(1, "failed", []), (0, "group", [5])], told(out))
        (kept,) = of(KeepGroupEvent, out)
        self.assertEqual((3, "g", b'{"group":"g","succeeded":1,"failed":1}'), (kept.cursor, kept.group, kept.json))
        self.assertEqual((3, kept.json), (of(Announce, out)[1].cursor, of(Announce, out)[1].outcome))

    def test_unasked(self) -> None:
        """It comes to be even if nobody waits for it."""
        bench = Bench()
        bench.one(group="g")
        self.assertEqual(1, len(of(KeepGroupEvent, bench.finish(1))))

    def test_skipped(self) -> None:
        """Jobs that are skipped as they come in belong to it."""
        bench = Bench()
        bench.one()
        bench.finish(1, State.FAILED)
        bench.submit(job(group="g"), job(group="g", after=[1]))
        (kept,) = of(KeepGroupEvent, bench.finish(2))
        self.assertEqual(b'{"group":"g","skipped":1,"succeeded":1}', kept.json)

    def test_second_generation(self) -> None:
        """Jobs submitted to a group that is over are a new generation, counted anew, with an event of its own."""
        bench = Bench()
        bench.one(group="g")
        bench.finish(1)
        bench.one(group="g")
        self.wait_group(bench, 5)
        (kept,) = of(KeepGroupEvent, bench.finish(2, State.LOST))
        self.assertEqual(b'{"group":"g","lost":1}', kept.json)
        self.assertEqual({}, bench.scheduler.groups.open)

    def test_over(self) -> None:
        """Waiting for a group that is over recalls its newest event."""
        bench = Bench()
        bench.one(group="g")
        bench.finish(1)
        answer, recall = self.wait_group(bench, 5)
        assert isinstance(answer, Reply) and isinstance(recall, RecallGroup)
        self.assertEqual((b"1", 5, "g"), (answer.text, recall.conn, recall.group))

    def test_gone(self) -> None:
        """Who is gone is told nothing."""
        bench = Bench()
        bench.one(group="g")
        self.wait_group(bench, 5)
        self.wait_group(bench, 6)
        bench.handle(events.Disconnected(5))
        self.assertEqual((0, "group", [6]), told(bench.finish(1))[1])


class LeavingTests(TestCase):
    """A client closes its sending half."""

    def test_nothing_owed(self) -> None:
        """If nothing is outstanding the connection is closed at once."""
        bench = Bench()
        self.assertEqual([Close], [type(action) for action in bench.handle(events.InputEnded(1))])

    def test_owed(self) -> None:
        """Else after the last event that it is owed, and after the words of it."""
        bench = Bench(cpus=3)
        bench.submit(job(), job(), conn=1)
        bench.one()
        bench.wait(1, 3)
        bench.handle(events.WaitGroup(1, b"", "g"))
        self.assertEqual([], bench.handle(events.InputEnded(1)))
        for number in (2, 3):
            self.assertEqual([], of(Close, bench.finish(number)))
        out = bench.finish(1)
        self.assertEqual(["Update", "Announce", "Close"], [type(action).__name__ for action in out])

    def test_group_owed(self) -> None:
        """The event of a group is owed as often as it was asked for."""
        bench = Bench()
        bench.one(group="g")
        for _ in range(2):
            bench.handle(events.WaitGroup(1, b"", "g"))
        bench.handle(events.InputEnded(1))
        out = bench.finish(1)
        self.assertEqual((0, "group", [1, 1]), told(out)[1])
        self.assertEqual([1], [action.conn for action in of(Close, out)])

    def test_then_gone(self) -> None:
        """One that is gone before that is not closed."""
        bench = Bench()
        bench.one(conn=1)
        bench.handle(events.InputEnded(1))
        bench.handle(events.Disconnected(1))
        self.assertEqual([], of(Close, bench.finish(1)))


DAY = 86_400.0


def kept(number: int, state: State, spec: bytes = b'{"argv": ["true"]}', **others: Any) -> Kept:
    values: dict[str, Any] = {"attempt": 0, "started": None, "due": None, "ending": None, "outcome": None}
    return Kept(id=number, state=state, submitted=START - 100, spec=spec, **{**values, **others})


class RestoreTests(TestCase):
    """A scheduler becomes what was kept."""

    def test_empty(self) -> None:
        """From an empty store it begins with id 1."""
        bench = Bench(snapshot=Snapshot())
        self.assertEqual(([], 1), (bench.restored, bench.one()))

    def test_marks(self) -> None:
        """Ids and cursors go on where they were."""
        bench = Bench(snapshot=Snapshot(next_id=100, cursor=70))
        self.assertEqual(100, bench.one())
        (announced,) = of(Announce, bench.finish(100))
        self.assertEqual(71, announced.cursor)

    def test_ended(self) -> None:
        """What had ended is known, so that it can be come after and not be cancelled."""
        bench = Bench(snapshot=Snapshot(next_id=5, ended=[(2, 4), (4, 5)]))
        self.assertEqual(["unknown", "succeeded", "unknown", "failed"], bench.states(1, 2, 3, 4))
        bench.submit(job(after=[2]), job(after=[4]))
        self.assertEqual(["running", "skipped"], bench.states(5, 6))

    def test_queued(self) -> None:
        """Queued jobs are queued again, in their order, with their fields."""
        jobs = [
            kept(1, State.QUEUED),
            kept(2, State.QUEUED, b'{"call": "m:f", "lane": "io", "queue": "q"}'),
            kept(3, State.QUEUED, b'{"argv": ["a"], "priority": 3}'),
        ]
        bench = Bench(cpus=1, snapshot=Snapshot(next_id=4, jobs=jobs))
        bench.advance(0)
        bench.finish(3)
        self.assertEqual([3, 2, 1], bench.started())

    def test_running(self) -> None:
        """Running jobs are handed out, and hold their places until their end is reported like any other."""
        jobs = [
            kept(1, State.RUNNING, b'{"argv": ["a"], "attempts": 3}', attempt=2, started=START - 9),
            kept(2, State.RUNNING, attempt=1),
            kept(3, State.RUNNING, attempt=1, ending=State.CANCELLED),
        ]
        bench = Bench(cpus=1, snapshot=Snapshot(next_id=4, jobs=jobs))
        self.assertEqual(
            [(1, 2), (2, 1), (3, 1)], [(start.job_id, start.attempt) for start in of(Start, bench.restored)]
        )
        self.assertEqual([3], [kill.job_id for kill in of(Kill, bench.restored)])
        self.assertEqual((3, 3 * UNIT), (bench.scheduler.places.running, bench.scheduler.places.used))
        for number in (1, 2, 3):
            bench.finish(number, State.LOST)
        self.assertEqual(["waiting", "lost", "cancelled"], bench.states(1, 2, 3))
        bench.advance(2)
        self.assertEqual((["running"], 3), (bench.states(1), bench.scheduler.jobs[1].attempt))

    def test_a_timeout_goes_on(self) -> None:
        """The time a running job may take is counted from its start, not from the daemon's."""
        long = kept(1, State.RUNNING, b'{"argv": ["a"], "timeout": 100}', attempt=1, started=START - 90)
        over = kept(2, State.RUNNING, b'{"argv": ["a"], "timeout": 100}', attempt=1, started=START - 900)
        bench = Bench(cpus=1, snapshot=Snapshot(next_id=3, jobs=[long, over]))
        self.assertEqual([2], [kill.job_id for kill in of(Kill, bench.advance(0))])
        self.assertEqual([], of(Kill, bench.advance(9)))
        self.assertEqual([1], [kill.job_id for kill in of(Kill, bench.advance(1))])

    def test_waiting_for_jobs(self) -> None:
        """Jobs wait for those that have not ended; the others had ended as they were to."""
        jobs = [
            kept(2, State.QUEUED),
            kept(3, State.WAITING, b'{"argv": ["a"], "after": {"1": "any", "2": "failed"}}'),
            kept(4, State.WAITING, b'{"argv": ["a"], "after": [2], "delay": 150}', due=START + 50),
        ]
        bench = Bench(snapshot=Snapshot(next_id=5, jobs=jobs, ended=[(1, 5)]))
        bench.advance(0)
        bench.finish(2)
        self.assertEqual(["skipped", "waiting"], bench.states(3, 4))
        bench.advance(50)
        self.assertEqual(["running"], bench.states(4))

    def test_waiting_for_time(self) -> None:
        """A delay, or a pause between attempts, ends when it was to, at once if that has passed."""
        jobs = [
            kept(1, State.WAITING, b'{"argv": ["a"], "delay": 110}', due=START + 10),
            kept(2, State.WAITING, b'{"argv": ["a"], "attempts": 2}', due=START - 5, attempt=1),
        ]
        bench = Bench(snapshot=Snapshot(next_id=3, jobs=jobs))
        bench.advance(0)
        self.assertEqual(["waiting", "running"], bench.states(1, 2))
        bench.advance(10)
        self.assertEqual(["running"], bench.states(1))

    def test_a_clock_that_was_set_back(self) -> None:
        """Where the clock was set back a day before the restart, nothing waits or runs longer than it was to."""
        jobs = [
            kept(1, State.WAITING, b'{"argv": ["a"], "delay": 30}', due=START + DAY),
            kept(2, State.WAITING, b'{"argv": ["a"], "attempts": 3, "backoff": 5}', due=START + DAY, attempt=2),
            kept(3, State.RUNNING, b'{"argv": ["a"], "timeout": 20}', started=START + DAY, attempt=1),
        ]
        bench = Bench(cpus=3, snapshot=Snapshot(next_id=4, jobs=jobs))
        bench.advance(9)
        self.assertEqual(["waiting", "waiting", "running"], bench.states(1, 2, 3))
        bench.advance(1)
        self.assertEqual(["waiting", "running"], bench.states(1, 2))
        self.assertEqual([3], [kill.job_id for kill in of(Kill, bench.advance(10))])
        bench.advance(10)
        self.assertEqual(["running"], bench.states(1))

    def test_keys(self) -> None:
        """Keys are known, so that a client may ask again what it asked before the restart."""
        first = Bench()
        first.one(key="k")
        (insert,) = of(Insert, first.story)
        bench = Bench(snapshot=Snapshot(next_id=2, ended=[(1, 4)], keys=[("k", 1, insert.fingerprint or 0)]))
        self.assertEqual(1, bench.one(key="k", conn=1))
        self.assertEqual([1], of(Recall, bench.story)[0].ids)
        with self.assertRaises(Conflict):
            bench.one(key="k", cpus=2)

    def test_queues(self) -> None:
        """Limits and pauses hold, that of the whole daemon too."""
        jobs = [kept(number, State.QUEUED) for number in (1, 2)]
        settings = [("default", 1, False), ("q", None, True), ("*", None, True)]
        bench = Bench(snapshot=Snapshot(next_id=3, jobs=jobs, queues=settings))
        bench.one(queue="q")
        self.assertEqual([], bench.started())
        bench.pause(None, False)
        self.assertEqual([1], bench.started())

    def test_groups(self) -> None:
        """A group goes on counting from what was kept."""
        jobs = [kept(7, State.QUEUED, b'{"argv": ["a"], "group": "g"}')]
        bench = Bench(snapshot=Snapshot(next_id=8, jobs=jobs, groups={"g": {"failed": 2}}))
        bench.advance(0)
        (event,) = of(KeepGroupEvent, bench.finish(7))
        self.assertEqual(b'{"group":"g","failed":2,"succeeded":1}', event.json)
