"""Jobs that are far from their turn: whatever is asked of them, it is as if they were here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase, TestCase

from jobd import events
from jobd.actions import Fetch, Insert, Note, Refuse, Start, Update
from jobd.errors import Full, StoreError
from jobd.job import Job, State
from jobd.places import BLOCK, LEAST
from jobd.scheduler import Scheduler
from jobd.snapshot import Kept, Snapshot
from jobd.store import RETRY_FULL, Specs
from jobd.store.memory import MemoryStore
from jobd.testing import MemoryDaemon

from .simulation import START, Bench, bounded, call, far, job, of, outcome_of, submissions, told


def crowded(jobs: int = 12, near: int = 2) -> Bench:
    """One place, which job 1 has; all that come behind the next three are far."""
    bench = Bench(1, near=near)
    bench.submit(*(job(argv=["true", str(number)]) for number in range(1, jobs + 1)), conn=7)
    return bench


def run_all(bench: Bench) -> list[int]:
    """Let all jobs run, one after the other, and return the order in which they began."""
    while running := running_of(bench):
        bench.finish(running[0])
    return bench.started()


def running_of(bench: Bench) -> list[int]:
    return sorted(number for number, one in bench.scheduler.jobs.items() if one.state is State.RUNNING)


class FarTests(TestCase):
    """By the scheduler alone."""

    def test_few(self) -> None:
        """With few jobs none is far."""
        bench = crowded(near=12)
        self.assertEqual({}, far(bench.scheduler))

    def test_turns(self) -> None:
        """They come near in time, and begin in their order, each with its spec and for the one who submitted it."""
        bench = crowded()
        self.assertEqual(list(range(5, 13)), list(far(bench.scheduler)))
        self.assertEqual(list(range(1, 13)), run_all(bench))
        specs = [start.spec for start in of(Start, bench.story)]
        self.assertEqual([b'{"argv":["true","%d"]}' % number for number in range(1, 13)], specs)
        self.assertEqual([(number, "succeeded", [7]) for number in range(1, 13)], told(bench.story))
        self.assertEqual(([], 0, {}), (bench.scheduler.places.rows, bench.scheduler.places.away, bench.scheduler.jobs))

    def test_submitted(self) -> None:
        """One that has come near is known by when it was submitted."""
        bench = Bench(1, near=1)
        for _ in range(4):
            bench.one()
            bench.advance(10)
        run_all(bench)
        times = {update.job.id: update.job.submitted for update in of(Update, bench.story)}
        self.assertEqual({number: START + 10 * (number - 1) for number in range(1, 5)}, times)

    @bounded(200)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("submit"), st.integers(1, 6), st.integers(-1, 1)),
                st.tuples(st.just("cancel"), st.integers(1, 30), st.just(0)),
                st.tuples(st.just("finish"), st.integers(0, 3), st.integers(0, 4)),
                st.tuples(st.just("pause"), st.integers(0, 1), st.just(0)),
            ),
            max_size=40,
        ),
        st.integers(1, 5),
    )
    def test_as_if_near(self, steps: list[tuple[str, int, int]], near: int) -> None:
        """In one queue the same things begin and end in the same order, however many jobs may be near."""
        stories = []
        for bench in (Bench(2, near=near), Bench(2)):
            for step in steps:
                self.take_step(bench, *step)
            bench.pause(None, False)
            run_all(bench)
            stories.append((bench.started(), told(bench.story), bench.scheduler.jobs))
        self.assertEqual(*stories)

    def take_step(self, bench: Bench, what: str, number: int, other: int) -> None:
        running = running_of(bench)
        if what == "submit":
            bench.submit(*[job(priority=other)] * number, conn=1 + number % 3)
        elif what == "cancel" and bench.state(number) is not None:
            bench.cancel(number)
        elif what == "finish" and running:
            bench.finish(running[number % len(running)], State.FAILED if other == 4 else State.SUCCEEDED)
        elif what == "pause":
            bench.pause(None, bool(number))

    def test_cancelled(self) -> None:
        """One that is cancelled ends at once, as everybody is told, and never begins."""
        bench = crowded()
        bench.wait(8, 9)
        out = bench.cancel(9)
        self.assertEqual([(9, "cancelled", [7, 8])], told(out))
        self.assertEqual([9], [update.job.id for update in of(Update, out)])
        self.assertIsInstance(of(Refuse, bench.cancel(9))[0], Refuse)
        self.assertEqual([*range(1, 9), *range(10, 13)], run_all(bench))

    def test_cancelled_all(self) -> None:
        """A whole row of them can be; what became ready behind them has its turn."""
        bench = crowded()
        late = bench.one(delay=1)
        bench.advance(2)
        bench.cancel(*range(2, 13))
        self.assertEqual([], bench.scheduler.places.rows)
        self.assertEqual([1, late], run_all(bench))

    def test_cancelled_on_its_way(self) -> None:
        """One that is cancelled while the store is asked for it does not come near."""
        scheduler, now = Scheduler(1, near=1), events.Now(0.0, START)
        out = scheduler.handle(events.Submit(1, b"", submissions(*[job()] * 5)), now) + scheduler.fill(now)
        (fetch,) = of(Fetch, out)
        ids = fetch.block.ids()
        kept = {one.job.id: (START, one.job.spec) for one in of(Insert, out)}
        scheduler.handle(events.Cancel(9, b"", ids[:1], True), now)
        scheduler.handle(events.Fetched(fetch.block, kept), now)
        self.assertIs(State.CANCELLED, scheduler.state_of(ids[0]))
        self.assertNotIn(ids[0], scheduler.jobs)

    def test_waited_for(self) -> None:
        """Its end is told to those who wait for it, and once only to the one who submitted it."""
        bench = crowded()
        bench.wait(8, 12)
        bench.wait(7, 12)
        run_all(bench)
        self.assertEqual([(12, "succeeded", [7, 8])], [one for one in told(bench.story) if one[0] == 12])

    def test_after(self) -> None:
        """Another job may wait for it, and goes on when it has ended; also in one list."""
        bench = crowded()
        later = bench.one(after=[12])
        self.assertEqual(["waiting"], bench.states(later))
        first, second = bench.submit(job(), job(after=[-1]), conn=7)
        self.assertEqual(["queued", "waiting"], bench.states(first, second))
        self.assertEqual([*range(1, 13), first, later, second], run_all(bench))

    def test_key(self) -> None:
        """A key stands for it, and for it only."""
        bench = crowded()
        number = bench.one(key="k", group="g")
        self.assertIn(number, far(bench.scheduler))
        self.assertEqual(number, bench.one(key="k", group="g"))
        bench.handle(events.WaitGroup(9, b"", "g"))
        run_all(bench)
        self.assertEqual((0, "group", [9]), told(bench.story)[-1])

    def test_others_between(self) -> None:
        """What becomes ready behind jobs that are far stands behind them, and before those that come later."""
        bench = crowded()
        late = bench.one(delay=1)
        bench.advance(2)
        (last,) = bench.submit(job())
        self.assertEqual([*range(1, 13), late, last], run_all(bench))

    def test_ahead_of(self) -> None:
        """How many are before it is known of each, wherever it stands, and of one that is not there."""
        bench = crowded()
        late = bench.one(delay=1)
        bench.advance(2)
        (last,) = bench.submit(job())
        bench.cancel(3, 8)
        line = bench.scheduler.places.queues["default"].line(True)
        ahead = [
            line.ahead_of(one) for number in range(2, last + 1) if (one := bench.scheduler.job(number)) is not None
        ]
        self.assertEqual((list(range(11)), late), (ahead, last - 1))
        gone = submissions(job())[0]
        self.assertEqual(11, line.ahead_of(Job(999, State.QUEUED, gone.plan, b"", 0.0)))

    def test_many_between(self) -> None:
        """Where such jobs and others take turns, blocks are as full as ever, and all of them run."""
        bench = Bench(1, near=10)
        bench.submit(*[job()] * 40)
        for _ in range(50):
            bench.one(delay=1)
            bench.advance(1)
            bench.submit(job())
        (row,) = bench.scheduler.places.rows
        self.assertEqual(7, len(row.blocks))
        self.assertEqual(set(range(1, 141)), set(run_all(bench)))

    def test_behind_nobody(self) -> None:
        """What stands behind blocks of which all are cancelled begins with that, if there is a place."""
        bench = Bench(2, near=2)
        bench.submit(job(), *[job(cpus=2)] * 7)
        late = bench.one(delay=1)
        bench.advance(1)
        self.assertEqual([1], bench.started())
        bench.cancel(*range(2, 9))
        self.assertEqual([1, late], bench.started())

    def test_accepted_meanwhile(self) -> None:
        """One that comes while the store is asked for those before it is not taken for one of them."""
        scheduler, now = Scheduler(1, near=4), events.Now(0.0, START)
        out = scheduler.handle(events.Submit(1, b"", submissions(*[job()] * 6)), now) + scheduler.fill(now)
        (fetch,) = of(Fetch, out)
        asked = {one.job.id: (START, one.job.spec) for one in of(Insert, out)}
        scheduler.handle(events.Submit(1, b"", submissions(job())), now)
        scheduler.handle(events.Fetched(fetch.block, asked), now)
        self.assertEqual(([7], State.QUEUED), (list(far(scheduler)), scheduler.state_of(7)))

    def test_enough(self) -> None:
        """So many blocks are asked for that there are enough near for all places that there are."""
        bench = Bench(64, near=LEAST + 1000)
        bench.pause(None)
        bench.submit(*[call(notify=False)] * (2 * LEAST + 1000))
        bench.capacity(64, depth=256)
        bench.pause(None, False)
        self.assertEqual(LEAST, len(bench.started()))

    def test_urgent(self) -> None:
        """Nothing less urgent takes the place of a job that is on its way; what takes no place may begin."""
        scheduler, now = Scheduler(1, near=2), events.Now(0.0, START)
        wanted = [job(queue="urgent", priority=10)] * 4
        others = [job(queue="slow", cpus=1), job(queue="slow", cpus=0), job(queue="equal", priority=10)]
        out = scheduler.handle(events.Submit(1, b"", submissions(*wanted, *others)), now) + scheduler.fill(now)
        for number in (1, 2):
            scheduler.handle(events.Cancel(9, b"", [number], True), now)
        scheduler.handle(events.Finished(1, 1, State.SUCCEEDED, b"{}"), now)
        out += scheduler.fill(now)
        # 7 is as urgent, and its queue was served less.
        self.assertEqual([1, 6, 7], [start.job_id for start in of(Start, out)])
        scheduler.handle(events.Finished(7, 1, State.SUCCEEDED, b"{}"), now)
        self.assertEqual([], of(Start, scheduler.fill(now)))
        asked = {one.job.id: (START, one.job.spec) for one in of(Insert, out)}
        for fetch in of(Fetch, out):
            scheduler.handle(events.Fetched(fetch.block, asked), now)
        self.assertEqual([3], [start.job_id for start in of(Start, scheduler.fill(now))])

    def test_returned(self) -> None:
        """One that is handed back keeps its turn before all of them."""
        bench = crowded()
        bench.give_back(1)
        self.assertEqual([1, 1, *range(2, 13)], run_all(bench))

    def test_lost(self) -> None:
        """Where the store has nothing of one any more that can be read it is lost, and no other is."""
        bench = crowded()
        for number in (5, 6):
            del bench.kept[number]
        self.assertEqual([1, 2, 3, 4, *range(7, 13)], run_all(bench))
        for number in (5, 6):
            self.assertIn((number, "lost", [7]), told(bench.story))
            self.assertIn("could not be read", outcome_of(bench.story, number)["error"])
        self.assertEqual((2, 2), (bench.scheduler.unreadable, len(of(Note, bench.story))))

    def test_restored(self) -> None:
        """A daemon that begins anew has few of them near as well, and their turns are the same."""
        spec = b'{"argv":["true"]}'
        kept = [Kept(number, State.QUEUED, 0, START, None, None, None, spec, None) for number in range(1, 21)]
        bench = Bench(1, Snapshot(next_id=21, jobs=kept), near=2)
        self.assertEqual(list(range(3, 21)), list(far(bench.scheduler)))
        bench.kept = {number: (START, spec) for number in range(1, 21)}
        bench.capacity(1)
        self.assertEqual(list(range(1, 21)), run_all(bench))

    def test_room(self) -> None:
        """So many are near that none that could begin is waited for, and they come near in parts."""
        bench = Bench(1, near=LEAST + 5000)
        bench.submit(*[call(notify=False)] * (LEAST + 10_000))
        self.assertEqual((LEAST + 5000, 5000), (len(bench.scheduler.jobs), bench.scheduler.places.away))
        # Job 1 runs.
        bench.cancel(*range(2, 5001))
        self.assertEqual(5000, bench.scheduler.places.away)
        bench.cancel(5001)
        self.assertEqual(5000 - BLOCK, bench.scheduler.places.away)


class Unreadable(MemoryStore):
    """Its disk fails when it is asked for jobs that come near."""

    def __init__(self, *problems: Exception) -> None:
        super().__init__()
        self.problems = list(problems)

    def fetch(self, ids: Sequence[int], done: Callable[[Specs | Exception], None]) -> None:
        if self.problems:
            done(self.problems.pop(0))
        else:
            super().fetch(ids, done)


class AskedTests(SynchronousTestCase):
    """By what a client is told."""

    def setUp(self) -> None:
        self.daemon = MemoryDaemon(near=1)
        self.client = self.daemon.connect()
        self.client.send(*[f"run true {number}" for number in range(1, 9)])
        self.client.take()

    def ask(self, line: str) -> str:
        self.client.send(line)
        return self.client.take()[-1]

    def test_far(self) -> None:
        """Those the tests ask for are far."""
        self.assertEqual([3, 4, 5, 6, 7, 8], list(far(self.daemon.scheduler)))

    def test_stats(self) -> None:
        """All are counted."""
        self.client.send('submit {"argv": ["true"], "delay": 9}')
        self.client.take()
        stats = json.loads(self.ask("stats")[3:])
        self.assertEqual({"waiting": 1, "queued": 7, "running": 1}, stats["jobs"])
        self.assertEqual(7, stats["queues"]["default"]["queued"])

    def test_why(self) -> None:
        """How many have their turn before it."""
        self.assertIn("job 7 is queued: 5 jobs are before it", self.ask("why 7"))
        self.ask("cancel 6")
        self.assertIn("job 7 is queued: 4 jobs are before it", self.ask("why 7"))
        self.assertIn("waiting for job 8, which is queued", self.ask("why " + self.waiting_for(8)))

    def waiting_for(self, number: int) -> str:
        return self.ask(f'submit {{"argv": ["true"], "after": [{number}]}}').removeprefix("ok ")

    def test_show(self) -> None:
        """All there is to know of it."""
        shown = json.loads(self.ask("show 8")[3:])
        self.assertEqual((8, "queued", ["true", "8"]), (shown["id"], shown["state"], shown["spec"]["argv"]))

    def test_not_ended(self) -> None:
        """It has not ended, and does not run."""
        self.assertIn("NOT_FINISHED", self.ask("retry 8"))
        self.assertIn("job 8 is not running", self.ask("progress 8 {}"))

    def test_followed(self) -> None:
        """Whoever follows its output is told of its end when it has come."""
        follower = self.daemon.connect()
        follower.send("follow 8")
        self.daemon.advance(5)
        self.assertEqual(["ok 1"], follower.take())
        self.ask("cancel 8")
        self.daemon.advance(5)
        self.assertIn(" 8 cancelled", follower.take()[-1])

    def test_to_the_end(self) -> None:
        """All of them run, and their ends are told."""
        for number in range(1, 9):
            self.daemon.pool.finish(number)
            self.daemon.settle()
        self.assertEqual([f"* {number} {number} succeeded" for number in range(1, 9)], self.ends())

    def ends(self) -> list[str]:
        return [line.rpartition(" ")[0] for line in self.client.take()]

    def test_store_fails(self) -> None:
        """Where the store cannot be asked for them the daemon stops with the reason: they would wait for ever."""
        daemon = MemoryDaemon(Unreadable(StoreError("the disk says: Input/output error")), near=1)
        client = daemon.connect()
        client.send(*["run true"] * 8)
        self.assertIsInstance(daemon.broken, StoreError)

    def test_store_is_locked(self) -> None:
        """What goes away by itself is waited for."""
        daemon = MemoryDaemon(Unreadable(Full("another program keeps the job store locked")), near=1)
        daemon.connect().send(*["run true"] * 8)
        daemon.pool.finish(1)
        daemon.settle()
        self.assertEqual(1, len(daemon.pool.started))
        daemon.advance(RETRY_FULL)
        self.assertEqual((2, None), (len(daemon.pool.started), daemon.broken))
