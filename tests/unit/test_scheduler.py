"""Claims of the scheduler about submissions, and about which job starts when."""

from __future__ import annotations

from msgspec import UNSET
from twisted.trial.unittest import TestCase

from jobd import events
from jobd.actions import Halt, Insert, KeepQueue, Kill, Refuse, Reply, Start, Update
from jobd.after import resolve_after
from jobd.errors import BadValue, NoSuchJob
from jobd.job import Lane, State
from jobd.places import UNIT

from .simulation import Bench, call, job, of, reply, submissions


class SubmitTests(TestCase):
    """Jobs come in."""

    def test_order(self) -> None:
        """A submission is kept, then acknowledged, and its start is kept before it happens."""
        bench = Bench()
        out = bench.handle(events.Submit(1, b"#a ", submissions(job())))
        self.assertEqual([Reply, Insert, Update, Start], [type(action) for action in out])
        self.assertEqual((1, b"#a ", b"1"), (of(Reply, out)[0].conn, of(Reply, out)[0].tag, of(Reply, out)[0].text))

    def test_start(self) -> None:
        """A start names the job, its first attempt, its lane and what was submitted."""
        out = Bench().handle(events.Submit(1, b"", submissions({"call": "m:f", "lane": "io"})))
        (start,) = of(Start, out)
        self.assertEqual((1, 1, Lane.IO), (start.job_id, start.attempt, start.lane))
        self.assertEqual(b'{"call":"m:f","lane":"io"}', start.spec)

    def test_many(self) -> None:
        """Jobs submitted together get ids in a row, and one reply."""
        bench = Bench()
        self.assertEqual([1, 2, 3], bench.submit(job(), job(), job()))
        self.assertEqual([4], bench.submit(job()))

    def test_stamp(self) -> None:
        """A job is stamped with the time on the wall, when submitted and when started."""
        bench = Bench()
        bench.one()
        one = bench.scheduler.jobs[1]
        self.assertEqual((bench.wall, bench.wall, 1), (one.submitted, one.started, one.attempt))

    def test_all_or_none(self) -> None:
        """If one job of a list cannot be accepted, none is, and no id is used up."""
        bench = Bench()
        with self.assertRaises(NoSuchJob) as caught:
            bench.submit(job(), job(key="k", group="g"), job(after=[99]))
        self.assertEqual("after: there is no job 99", str(caught.exception))
        self.assertEqual(({}, {}, {}), (bench.scheduler.jobs, bench.scheduler.keys, bench.scheduler.groups.open))
        self.assertEqual([1], bench.submit(job()))

    def test_refusal(self) -> None:
        """A refusal goes to who asked, with the tag, and is all that happens."""
        out = Bench().handle(events.Submit(4, b"#t ", submissions(job(after=[5]))))
        (refusal,) = out
        assert isinstance(refusal, Refuse)
        self.assertEqual((4, b"#t "), (refusal.conn, refusal.tag))

    def test_bad_after(self) -> None:
        """What is no id, or counts back beyond the list, cannot be come after."""
        for after, text in (
            ({"x": "ok"}, "after: 'x' is not a job id"),
            ({"": "ok"}, "after: '' is not a job id"),
            ({"1_0": "ok"}, "after: '1_0' is not a job id"),
            ({"٣": "ok"}, "after: '٣' is not a job id"),
            ({"9" * 5000: "ok"}, "after: '" + "9" * 40 + "…' is not a job id"),
            ([0], "after: '0' is not a job id"),
            ([10**40], "after: '1" + "0" * 39 + "…' is not a job id"),
            ([-1], "after: -1 counts back beyond the beginning of the list of jobs"),
        ):
            with self.assertRaises(BadValue) as caught:
                Bench().submit(job(after=after))
            self.assertEqual(text, str(caught.exception))

    def test_retry_of(self) -> None:
        """What a job repeats is kept with it."""
        bench = Bench()
        bench.submit(job(), job(), retry_of=(7, 8))
        self.assertEqual([7, 8], [insert.retry_of for insert in of(Insert, bench.story)])

    def test_no_cycle(self) -> None:
        """A job cannot come after itself or a later one: ids are given out only once what they wait for exists."""
        bench = Bench()
        for after in ([1], [2], {"1": "any"}):
            with self.assertRaises(NoSuchJob):
                bench.submit(job(after=after))
        with self.assertRaises(BadValue):
            bench.submit(job(after=[-1]), job())

    def test_negative_after_is_kept_absolute(self) -> None:
        """Numbers that count back are kept as the ids they stand for, in the form they were given."""
        bench = Bench()
        bench.one()
        bench.submit(job(), job(after=[-1, 1]), job(after={"-2": "any", "-1": "failed"}))
        specs = [insert.job.spec for insert in of(Insert, bench.story)]
        self.assertEqual(b'{"argv":["true"],"after":[2,1]}', specs[2])
        self.assertEqual(b'{"argv":["true"],"after":{"2":"any","3":"failed"}}', specs[3])

    def test_resolve(self) -> None:
        """A list of ids means ok; a negative one counts back among the earlier jobs."""
        self.assertEqual({3: "ok", 12: "ok"}, resolve_after([3, -1], [11, 12]))
        self.assertEqual({3: "any", 11: "failed"}, resolve_after({"3": "any", "-2": "failed"}, [11, 12]))


class OrderTests(TestCase):
    """Which job is next."""

    def test_oldest_first(self) -> None:
        """Equally urgent jobs start in the order they came."""
        bench = Bench(cpus=1)
        bench.submit(*[job() for _ in range(4)])
        for number in (1, 2, 3, 4):
            bench.finish(number)
        self.assertEqual([1, 2, 3, 4], bench.started())

    def test_priority(self) -> None:
        """A higher priority starts first, whenever it came."""
        bench = Bench(cpus=1)
        bench.one()
        bench.submit(job(priority=-5), job(), job(priority=5), job(priority=1000))
        for number in (1, 5, 4, 3, 2):
            bench.finish(number)
        self.assertEqual([1, 5, 4, 3, 2], bench.started())

    def test_priority_between_queues(self) -> None:
        """The most urgent job of all queues is next."""
        bench = Bench(cpus=1)
        bench.submit(job(queue="a"), job(queue="b", priority=1), job(queue="a", priority=2))
        bench.finish(3)
        bench.finish(2)
        self.assertEqual([3, 2, 1], bench.started())

    def test_fair(self) -> None:
        """A queue with a thousand jobs does not make another one wait: equally urgent queues take turns."""
        bench = Bench(cpus=1)
        bench.submit(*[job(queue="big") for _ in range(1000)])
        bench.submit(*[job(queue="small") for _ in range(3)])
        for _ in range(6):
            bench.finish(bench.started()[-1])
        self.assertEqual([1, 1001, 2, 1002, 3, 1003, 4], bench.started())

    def test_no_room(self) -> None:
        """No more run than there are places; the next starts when one ends."""
        bench = Bench(cpus=2)
        bench.submit(job(), job(), job())
        self.assertEqual(["running", "running", "queued"], bench.states(1, 2, 3))
        bench.finish(2)
        self.assertEqual("running", bench.states(3)[0])

    def test_wide(self) -> None:
        """A job that takes several places keeps its turn until they are free: smaller ones do not slip past it."""
        bench = Bench(cpus=3)
        bench.submit(job(cpus=2), job(cpus=2), job(cpus=1))
        self.assertEqual(["running", "queued", "queued"], bench.states(1, 2, 3))
        bench.finish(1)
        self.assertEqual(["running", "running"], bench.states(2, 3))

    def test_wider_than_all(self) -> None:
        """A job that wants more places than there are gets all of them."""
        bench = Bench(cpus=2)
        bench.submit(job(), job(cpus=1024), job())
        self.assertEqual(["running", "queued", "queued"], bench.states(1, 2, 3))
        bench.finish(1)
        self.assertEqual(["running", "queued"], bench.states(2, 3))
        bench.finish(2)
        self.assertEqual("running", bench.states(3)[0])

    def test_no_cpus(self) -> None:
        """Jobs that take no place start however many run, and never wait behind ones that do."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(cpus=4), *[job(cpus=0) for _ in range(500)])
        self.assertEqual(501, bench.scheduler.places.running)
        self.assertEqual("queued", bench.states(2)[0])
        self.assertEqual(UNIT, bench.scheduler.places.used)

    def test_no_cpus_are_no_turn(self) -> None:
        """Nor do they cost their queue its turn at a processor."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(queue="a", cpus=0), job(queue="a"), job(queue="b"))
        bench.finish(1)
        self.assertEqual([1, 2, 3], bench.started())

    def test_no_cpus_over_capacity(self) -> None:
        """They start also while more is in use than there is."""
        bench = Bench(cpus=2)
        bench.submit(job(), job())
        bench.capacity(1)
        self.assertEqual("running", bench.states(bench.one(cpus=0))[0])

    def test_one_of_a_limited_queue(self) -> None:
        """Of a queue that lets one more run the most urgent starts, else the oldest, be it with a place or without."""
        for others, expected in (
            ((job(), job(cpus=0, priority=1)), 3),
            ((job(cpus=0), job(priority=1)), 3),
            ((job(), job(cpus=0)), 2),
            ((job(cpus=0), job()), 2),
        ):
            bench = Bench(cpus=1)
            bench.limit("default", 1)
            bench.one()
            bench.submit(*others)
            bench.finish(1)
            self.assertEqual([1, expected], bench.started())

    def test_limit_filled_by_another(self) -> None:
        """A wide job whose queue comes to its limit by a job that takes no place holds up no other queue any more."""
        bench = Bench(cpus=2)
        bench.one()
        bench.limit("a", 1)
        bench.submit(job(queue="a", cpus=2), job(queue="a", cpus=0), job())
        self.assertEqual(["queued", "running", "running"], bench.states(2, 3, 4))

    def test_io(self) -> None:
        """A call of lane io takes no place unless it says so."""
        bench = Bench(cpus=1)
        bench.submit(job(), call(lane="io"), call(lane="io", cpus=1))
        self.assertEqual(["running", "running", "queued"], bench.states(1, 2, 3))


class DepthTests(TestCase):
    """Short calls share a place."""

    def test_shared(self) -> None:
        """With depth 4, four calls share a place; a command takes all of it."""
        bench = Bench(cpus=2)
        bench.capacity(2, 4)
        bench.submit(job(), *[call() for _ in range(6)])
        self.assertEqual(5, bench.scheduler.places.running)
        self.assertEqual(2 * UNIT, bench.scheduler.places.used)

    def test_not_shared(self) -> None:
        """A call that asks for two places or none shares nothing."""
        bench = Bench(cpus=2)
        bench.capacity(2, UNIT)
        bench.submit(call(cpus=2))
        self.assertEqual(2 * UNIT, bench.scheduler.places.used)

    def test_ahead(self) -> None:
        """Short commands are started ahead too, as many for a place as the pool says; wide ones and calls are not."""
        bench = Bench(cpus=1)
        bench.capacity(1, 1, ahead=2)
        bench.submit(job(), job(), job(), call())
        self.assertEqual([1, 2], bench.started())
        bench.finish(1)
        bench.finish(2)
        self.assertEqual([1, 2, 3], bench.started())
        bench.finish(3)
        self.assertEqual(["running"], bench.states(4))
        self.assertEqual(UNIT, bench.scheduler.places.used)

    def test_places(self) -> None:
        """A start tells how many places it takes, never more than there are."""
        bench = Bench(cpus=2)
        bench.submit(job(cpus=9), job(cpus=0))
        self.assertEqual([2, 0], [start.cpus for start in of(Start, bench.story)])

    def test_odd_depth(self) -> None:
        """A depth that does not divide a place leaves a rest, and nothing starts on it."""
        bench = Bench(cpus=1)
        bench.capacity(1, 3)
        bench.submit(*[call() for _ in range(5)])
        self.assertEqual(3, bench.scheduler.places.running)

    def test_long(self) -> None:
        """A call that proves long takes a whole place from now on."""
        bench = Bench(cpus=1)
        bench.capacity(1, 4)
        bench.submit(call(), call(), call(), call(), call())
        bench.finish(2)
        bench.handle(events.Long(1, 1))
        self.assertEqual(UNIT + 3 * UNIT // 4, bench.scheduler.places.used)
        for number in (3, 4, 5):
            bench.finish(number)
        self.assertEqual("queued", bench.states(bench.submit(call())[0])[0])
        bench.finish(1)
        self.assertEqual("running", bench.states(6)[0])

    def test_long_twice(self) -> None:
        """That it is long is counted once, and never for one that has ended."""
        bench = Bench(cpus=1)
        bench.submit(call())
        bench.handle(events.Long(1, 1))
        bench.handle(events.Long(1, 1))
        self.assertEqual(UNIT, bench.scheduler.places.used)
        bench.finish(1)
        bench.handle(events.Long(1, 1))
        self.assertEqual(0, bench.scheduler.places.used)

    def test_long_and_wide(self) -> None:
        """A long call that takes two places keeps them."""
        bench = Bench(cpus=2)
        bench.submit(call(cpus=2))
        bench.handle(events.Long(1, 1))
        self.assertEqual(2 * UNIT, bench.scheduler.places.used)

    def test_capacity(self) -> None:
        """More places let more start at once; fewer end nothing, but nothing more starts until there is room."""
        bench = Bench(cpus=1)
        bench.submit(*[job() for _ in range(5)])
        bench.capacity(3)
        self.assertEqual([1, 2, 3], bench.started())
        bench.capacity(1)
        bench.finish(1)
        bench.finish(2)
        self.assertEqual([1, 2, 3], bench.started())
        bench.finish(3)
        self.assertEqual([1, 2, 3, 4], bench.started())

    def test_no_place(self) -> None:
        """Without any place only jobs that take none start."""
        bench = Bench(cpus=0)
        bench.submit(job(), job(cpus=0), call())
        self.assertEqual([2], bench.started())


class QueueTests(TestCase):
    """Queues are paused, resumed and limited."""

    def test_limit(self) -> None:
        """No more of a queue's jobs run than its limit; other queues are not held up."""
        bench = Bench(cpus=4)
        bench.limit("a", 1)
        bench.submit(job(queue="a"), job(queue="a"), job(queue="b"))
        self.assertEqual([1, 3], bench.started())
        bench.finish(1)
        self.assertEqual([1, 3, 2], bench.started())

    def test_limit_counts_all(self) -> None:
        """The limit counts jobs that take no place too."""
        bench = Bench(cpus=4)
        bench.limit("a", 2)
        bench.submit(job(queue="a"), *[job(queue="a", cpus=0) for _ in range(3)])
        self.assertEqual([1, 2], bench.started())

    def test_limit_lifted(self) -> None:
        """A limit of null is none; one of 0 lets nothing start."""
        bench = Bench(cpus=4)
        bench.limit("default", 0)
        bench.submit(job(), job())
        self.assertEqual([], bench.started())
        bench.limit("default", None)
        self.assertEqual([1, 2], bench.started())

    def test_pause(self) -> None:
        """Nothing of a paused queue starts; what runs goes on; resume lets the others go."""
        bench = Bench(cpus=1)
        bench.submit(job(), job(), job(queue="b"))
        bench.pause("default")
        self.assertEqual("running", bench.states(1)[0])
        bench.finish(1)
        self.assertEqual([1, 3], bench.started())
        bench.finish(3)
        bench.pause("default", False)
        self.assertEqual([1, 3, 2], bench.started())

    def test_pause_all(self) -> None:
        """Paused as a whole the daemon starts nothing, and its queues keep their own pause."""
        bench = Bench(cpus=4)
        bench.pause("b")
        bench.pause(None)
        bench.submit(job(), job(queue="b"), job(cpus=0))
        self.assertEqual([], bench.started())
        bench.pause(None, False)
        self.assertEqual([1, 3], bench.started())

    def test_kept(self) -> None:
        """Settings are kept before they are acknowledged; that of the whole daemon under a name no queue can have."""
        bench = Bench()
        for out, expected in (
            (bench.pause("a"), ("a", None, True)),
            (bench.limit("a", 3), ("a", 3, True)),
            (bench.pause(None), ("*", None, True)),
        ):
            kept, answer = out
            assert isinstance(kept, KeepQueue) and isinstance(answer, Reply)
            self.assertEqual(expected, (kept.name, kept.limit, kept.paused))

    def test_show(self) -> None:
        """Looking at a queue tells its settings and numbers, and keeps nothing."""
        bench = Bench(cpus=1)
        bench.submit(job(queue="a"), job(queue="a"))
        out = bench.handle(events.SetQueue(1, b"", "a", UNSET, UNSET, show=True))
        self.assertEqual([Reply], [type(action) for action in out])
        self.assertEqual(b'{"queue":"a","limit":null,"paused":false,"queued":1,"running":1}', reply(out))

    def test_setting_shown(self) -> None:
        """The reply to a setting shows what holds from now on."""
        out = Bench().handle(events.SetQueue(1, b"", "a", 4, True, show=True))
        self.assertEqual(b'{"queue":"a","limit":4,"paused":true,"queued":0,"running":0}', reply(out))


class KeepRunningTests(TestCase):
    """A drain that leaves what runs to the next daemon."""

    def test_keep(self) -> None:
        """The daemon is to stop at once, and only once, with what runs left running."""
        bench = Bench(cpus=1)
        bench.one()
        for expected in ([True], []):
            out = bench.handle(events.Drain(1, b"", keep=True))
            self.assertEqual(expected, [halt.keep for halt in of(Halt, out)])
            self.assertEqual(b"1", reply(out))
        self.assertEqual("running", bench.states(1)[0])


class DrainTests(TestCase):
    """The daemon comes to its end."""

    def test_drain(self) -> None:
        """A draining daemon tells how many run, accepts and starts nothing, and halts when the last has ended."""
        bench = Bench(cpus=1)
        bench.submit(job(), job())
        self.assertEqual(b"1", reply(bench.handle(events.Drain(1, b""))))
        with self.assertRaises(Exception) as caught:
            bench.submit(job())
        self.assertEqual("DRAINING", getattr(caught.exception, "code", None))
        kinds = [type(action).__name__ for action in bench.finish(1)]
        self.assertEqual(["Update", "Announce", "Halt"], kinds)
        self.assertEqual(["succeeded", "queued"], bench.states(1, 2))

    def test_idle(self) -> None:
        """One that runs nothing halts at once, and only once."""
        bench = Bench()
        kinds = [[type(action).__name__ for action in bench.handle(events.Drain(1, b""))] for _ in range(2)]
        self.assertEqual([["Reply", "Halt"], ["Reply"]], kinds)

    def test_attempts(self) -> None:
        """While it drains, a failed attempt is not followed by another one: that is left to the next daemon."""
        bench = Bench()
        bench.one(attempts=3)
        bench.handle(events.Drain(1, b""))
        bench.finish(1, State.FAILED)
        bench.advance(10)
        self.assertEqual(["queued"], bench.states(1))
        self.assertEqual([1], bench.started())

    def test_stopping(self) -> None:
        """A daemon that is being stopped starts nothing more, takes back what is returned, and is not told to halt."""
        bench = Bench(cpus=1)
        bench.submit(job(), job())
        bench.handle(events.Stopping())
        out = bench.give_back(1)
        self.assertEqual([Update], [type(action) for action in out])
        self.assertEqual(["queued", "queued"], bench.states(1, 2))

    def test_cancel(self) -> None:
        """Jobs can still be cancelled."""
        bench = Bench(cpus=1)
        bench.submit(job(), job())
        bench.handle(events.Drain(1, b""))
        self.assertEqual(1, len(of(Kill, bench.cancel(1))))
        bench.cancel(2)
        self.assertEqual(["running", "cancelled"], bench.states(1, 2))
