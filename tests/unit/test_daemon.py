"""The performer: nothing is said or started before what stands before it is kept."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from jobd import events, retention
from jobd.daemon import ENOUGH, LOG_FULL
from jobd.errors import Full, StoreError
from jobd.job import State
from jobd.retention import PRUNE_EVERY
from jobd.store import RETRY_FULL
from jobd.store.memory import MemoryStore
from jobd.testing import FakePool, HeldStore, MemoryDaemon


class RestingPool(FakePool):
    """When it listens again, it finds that job 1 has ended."""

    def __init__(self, cpus: int) -> None:
        super().__init__(cpus=cpus)
        self.told: list[str] = []

    def rest(self) -> None:
        self.told.append("rest")

    def listen(self) -> None:
        self.told.append("listen")
        self.finish(1)


class KeptFirst(SynchronousTestCase):
    """With a store whose commits the test holds back."""

    def setUp(self) -> None:
        self.store = HeldStore()
        self.daemon = MemoryDaemon(self.store)
        self.client = self.daemon.connect()
        self.pool = self.daemon.pool

    def release(self) -> None:
        self.store.release()
        self.daemon.settle()

    def test_a_submission(self) -> None:
        """Neither the reply comes nor the job starts before the job is kept."""
        self.client.send("run make")
        self.assertEqual(([], []), (self.client.take(), self.pool.started))
        self.release()
        self.assertEqual((["ok 1"], 1), (self.client.take(), len(self.pool.started)))

    def test_room_that_comes_meanwhile(self) -> None:
        """A place that comes while a batch is being kept is filled once it is, though nothing else has happened."""
        self.client.send("run make", "run test")
        self.pool.make_room(2)
        self.assertEqual(1, self.store.held)
        self.release()
        self.release()
        self.assertEqual([1, 2], [start.job_id for start in self.pool.started])

    def test_an_attempt_is_kept_before_it_starts(self) -> None:
        """What is in the store when a job starts says that it runs, and which attempt this is."""
        self.client.send("run make")
        self.release()
        (record,) = self.store.records([1])
        self.assertEqual((State.RUNNING, 1), (record.state, record.attempt))

    def test_a_finish(self) -> None:
        """A finish event comes when the end is kept, not before."""
        self.client.send("run make")
        self.release()
        self.client.take()
        self.pool.finish(1)
        self.daemon.settle()
        self.assertEqual([], self.client.take())
        self.release()
        self.assertEqual(['* 1 1 succeeded {"exit_code":0,"attempt":1}'], self.client.take())

    def test_cancel(self) -> None:
        """The reply to cancel comes, and a running job is killed, when the order is kept."""
        self.client.send("run make")
        self.release()
        self.client.take()
        self.client.send("cancel 1")
        self.assertEqual(([], []), (self.client.take(), self.pool.kills))
        self.release()
        self.assertEqual((["ok 1"], 1), (self.client.take(), len(self.pool.kills)))

    def test_others_wait_too(self) -> None:
        """Requests behind one that is being kept are answered after it, with no reply out of turn."""
        self.client.send("run make", "ping a", "show 1", "ping b")
        self.assertEqual([], self.client.take())
        self.release()
        words = [line.split(" ")[1] for line in self.client.take()]
        self.assertEqual(["1", "a", words[2], "b"], words)

    def test_group_commit(self) -> None:
        """What comes in while a batch is being kept gathers in one next batch, whoever sent it."""
        other = self.daemon.connect()
        self.client.send("run first")
        for number in range(5):
            self.client.send(f"run a{number}")
            other.send(f"run b{number}")
        self.assertEqual(1, self.store.held)
        self.release()
        self.assertEqual(1, self.store.held)
        self.release()
        self.assertEqual((0, 11), (self.store.held, len(self.store.records(range(1, 12)))))

    def test_rest(self) -> None:
        """While jobs have to wait for a place there is a pause between two batches; while none has, there is not."""
        store = HeldStore()
        daemon = MemoryDaemon(store, FakePool(cpus=2), rest=0.5)
        client = daemon.connect()
        seen = []
        for lines in (("run a", "run b"), (), ("run c", "run d")):
            for line in lines:
                client.send(line)
            store.release()
            daemon.settle()
            seen.append(store.held)
        daemon.advance(0.5)
        seen.append(store.held)
        store.release()
        daemon.settle()
        self.assertEqual(([1, 0, 0, 1], ["ok 1", "ok 2", "ok 3", "ok 4"]), (seen, client.take()))

    def test_no_rest_with_enough(self) -> None:
        """The pause ends as soon as so much has gathered that a batch of it is large."""
        store = HeldStore()
        daemon = MemoryDaemon(store, FakePool(cpus=1), rest=0.5)
        client = daemon.connect()
        client.send("run a", "run b")
        store.release()
        daemon.settle()
        client.send("run c")
        self.assertEqual(0, store.held)
        client.send(*["run d"] * (ENOUGH // 2))
        self.assertEqual(1, store.held)
        store.release()
        daemon.advance(0.5)
        self.assertEqual((["ok 1", "ok 2", "ok 3"], 0), (client.take()[:3], store.held))

    def test_the_next_batch_meanwhile(self) -> None:
        """The store has the next batch before that which follows from this one is done, in its order."""
        held: list[int] = []
        self.client.send("run first")
        self.client.send("run second")
        self.daemon.daemon.settled().addCallback(lambda _: held.append(self.store.held))
        self.release()
        self.client.send("run third")
        self.release()
        self.assertEqual(([1], ["ok 1", "ok 2"]), (held, self.client.take()))
        self.release()
        self.assertEqual(["ok 3"], self.client.take())

    def test_rest_is_over_when_a_place_is_free(self) -> None:
        """The rest ends when all has ended that a place was given: it would have nothing to do."""
        store, pool = HeldStore(), FakePool(cpus=2)
        daemon = MemoryDaemon(store, pool, rest=0.5)
        pool.make_room(2, depth=2)
        client = daemon.connect()
        client.send(*["call m:f"] * 6)
        store.release()
        daemon.settle()
        seen = []
        for job_id in (1, 2):
            pool.finish(job_id)
            daemon.settle()
            seen.append(store.held)
        self.assertEqual([0, 1], seen)

    def test_rest_of_the_pool(self) -> None:
        """The pool rests during a batch and as long after it; what it reports then belongs to the next batch."""
        store, pool = HeldStore(), RestingPool(cpus=2)
        daemon = MemoryDaemon(store, pool, rest=0.5)
        client = daemon.connect()
        client.send("run a", "run b", "run c")
        store.release()
        daemon.settle()
        self.assertEqual((["rest", "rest"], 0), (pool.told, store.held))
        client.send("run d")
        daemon.advance(0.5)
        self.assertEqual((["rest", "rest", "listen", "rest"], 1), (pool.told, store.held))
        client.take()
        store.release()
        daemon.settle()
        self.assertEqual(["ok 4", "* 1 1 succeeded"], [line.partition(" {")[0] for line in client.take()])

    def test_one_write_a_turn(self) -> None:
        """All that a client is told in a turn goes out in one write."""
        self.client.send(*["run make"] * 10)
        self.release()
        self.assertEqual(1, len(self.client.transport.writes))
        self.assertEqual(10, len(self.client.take()))

    def test_a_client_that_has_gone(self) -> None:
        """What a client asked for before it went is done all the same."""
        self.client.send("run make")
        self.client.disconnect()
        self.release()
        self.assertEqual(1, len(self.pool.started))

    def test_settled(self) -> None:
        """One can wait until all up to now is kept."""
        told: list[None] = []
        self.client.send("run make")
        self.daemon.daemon.settled().addCallback(told.append)
        self.daemon.settle()
        self.assertEqual([], told)
        self.release()
        self.assertEqual([None], told)


class NoRoom(SynchronousTestCase):
    """With a store that has no room for a while."""

    def setUp(self) -> None:
        self.store = HeldStore()
        self.daemon = MemoryDaemon(self.store, FakePool(2))
        self.client = self.daemon.connect()
        self.pool = self.daemon.pool

    def refuse(self) -> None:
        self.store.refuse(Full("there is no room"))
        self.daemon.settle()

    def release(self) -> None:
        self.store.release()
        self.daemon.settle()

    def test_it_is_tried_again(self) -> None:
        """The batch is tried again until there is room, and only then its reply comes."""
        self.client.send("run make")
        for _ in range(2):
            self.refuse()
            self.assertEqual(([], 0, True), (self.client.take(), self.store.held, self.daemon.daemon.full))
            self.daemon.advance(RETRY_FULL)
            self.assertEqual(1, self.store.held)
        self.release()
        self.assertEqual((["ok 1"], False), (self.client.take(), self.daemon.daemon.full))
        self.assertEqual(1, len(self.pool.started))

    def test_the_pool_is_told_later(self) -> None:
        """Of what the pool has reported nothing is forgotten while it is not kept; then it hears of all of it."""
        heard: list[object] = []
        kept: list[object] = []

        def note() -> object:
            heard.append(object())
            return heard[-1]

        self.patch(self.pool, "heard", note)
        self.patch(self.pool, "kept", kept.append)
        self.client.send("run make")
        self.refuse()
        self.daemon.advance(RETRY_FULL)
        self.assertEqual((2, []), (len(heard), kept))
        self.release()
        self.assertEqual(heard, kept)

    def test_others_are_told_at_once(self) -> None:
        """While there is no room a submission is refused at once, and what promises nothing is answered."""
        self.client.send("run make")
        self.refuse()
        other = self.daemon.connect()
        self.assertEqual("ok x", other.ask("ping x"))
        self.assertIn('"full":true', other.ask("stats"))
        for line in ("run make", "sh make", "call m:f", 'submit [{"argv": ["a"]}]'):
            self.assertEqual("error FULL there is no room on the disk; nothing was accepted", other.ask(line))
        self.assertEqual('ok {"jobs":[],"more":false}', other.ask("list"))
        self.assertIn("error NO_SUCH_JOB", other.ask("show 9"))
        self.assertEqual([], self.client.take())

    def test_what_came_before_it_was_known(self) -> None:
        """So is a request that came while the store was still trying."""
        other, third = self.daemon.connect(), self.daemon.connect()
        self.client.send("run make")
        other.send("ping x", "list", "ping y")
        third.send("run make", "ping z")
        self.refuse()
        self.assertEqual(["ok x", 'ok {"jobs":[],"more":false}', "ok y"], other.take())
        self.assertEqual(([], []), (self.client.take(), third.take()))
        self.daemon.advance(RETRY_FULL)
        third.send("ping z")
        self.assertEqual([], third.take())
        self.release()
        self.assertEqual([["ok 1"], ["ok 2", "ok z", "ok z"]], [self.client.take(), third.take()])

    def test_replies_stay_in_order(self) -> None:
        """Behind a request that waits for room even a ping waits."""
        self.client.send("run make")
        self.refuse()
        self.client.send("ping a", "run b", "ping c")
        self.assertEqual([], self.client.take())
        self.daemon.advance(RETRY_FULL)
        self.release()
        expected = ["ok 1", "ok a", "error FULL there is no room on the disk; nothing was accepted", "ok c"]
        self.assertEqual(expected, self.client.take())

    def test_many_requests_at_once(self) -> None:
        """Any number of requests may come in one piece while there is no room."""
        self.client.send("run make")
        self.refuse()
        other = self.daemon.connect()
        other.send(*["ping", "run x"] * 2000)
        self.assertEqual(4000, len(other.take()))

    def test_a_batch_is_kept_with_what_followed(self) -> None:
        """What happened while there was no room is kept with the batch that waited: a crash loses both or none."""
        self.client.send('submit [{"argv": ["a"]}, {"argv": ["b"], "after": [-1]}]')
        self.release()
        self.client.take()
        self.client.send("run c")
        self.refuse()
        self.pool.finish(1, exit_code=1)
        self.daemon.settle()
        self.daemon.advance(RETRY_FULL)
        self.release()
        self.assertEqual(0, self.store.held)
        states = [record.state for record in self.store.records([1, 2, 3])]
        self.assertEqual([State.FAILED, State.SKIPPED, State.RUNNING], states)
        self.assertEqual(
            ["ok 3", "* 1 1 failed", "* 2 2 skipped"], [line.partition(" {")[0] for line in self.client.take()]
        )

    def test_the_log_is_not_filled(self) -> None:
        """The log says it once a minute, not with every try."""
        self.client.send("run make")
        with capturedLogs() as told:
            for _ in range(int(LOG_FULL / RETRY_FULL) + 2):
                self.refuse()
                self.daemon.advance(RETRY_FULL)
        self.assertEqual(2, len([event for event in told if event["log_level"] is LogLevel.error]))

    def test_stopping(self) -> None:
        """A daemon that has no room can be stopped."""
        self.client.send("run make")
        self.refuse()
        stopped = Deferred.fromCoroutine(self.daemon.daemon.close())
        self.daemon.settle()
        self.successResultOf(stopped)


class Failures(SynchronousTestCase):
    """A store that has failed, and other things that should not happen."""

    def test_the_store_fails(self) -> None:
        """When the store has failed nothing more is promised, and whoever runs the daemon is told."""
        store = HeldStore()
        daemon = MemoryDaemon(store)
        client = daemon.connect()
        client.send("run make")
        problem = StoreError("the disk is on fire")
        store.refuse(problem)
        daemon.settle()
        client.send("ping")
        daemon.advance(1000)
        self.assertEqual((problem, [], []), (daemon.broken, client.take(), daemon.pool.started))

    def test_the_store_has_a_bug(self) -> None:
        """Any other error of the store is as bad."""
        store = HeldStore()
        daemon = MemoryDaemon(store)
        daemon.connect().send("run make")
        store.refuse(ZeroDivisionError("oops"))
        self.assertIsInstance(daemon.broken, StoreError)
        self.assertIn("oops", str(daemon.broken))

    def test_an_action_that_fails(self) -> None:
        """An action that cannot be done is logged, and those behind it are done."""
        daemon = MemoryDaemon()
        client = daemon.connect()
        daemon.daemon.gather([lambda: 1 // 0])
        self.assertEqual("ok 1", client.ask("run make"))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class Restarts(SynchronousTestCase):
    """A daemon on the store of another that was killed."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.first = MemoryDaemon(self.store, FakePool(1))
        self.client = self.first.connect()

    def again(self) -> MemoryDaemon:
        return MemoryDaemon(self.store, FakePool(1))

    def test_what_ran_is_lost(self) -> None:
        """What was running when the machine failed is lost, and that is an event like any other."""
        self.client.send("run make", "run test")
        daemon = self.again()
        client = daemon.connect()
        client.send('watch {"since": 0}')
        error = "the machine failed while the job was running"
        self.assertEqual(["ok 1", f'* 1 1 lost {{"exit_code":1,"attempt":1,"error":"{error}"}}'], client.take())
        self.assertEqual([2], [start.job_id for start in daemon.pool.started])

    def test_another_attempt(self) -> None:
        """If it has attempts left it waits for the next one."""
        self.client.send('submit {"argv": ["make"], "attempts": 2, "backoff": 10}')
        daemon = self.again()
        self.assertEqual([], daemon.pool.started)
        daemon.advance(10)
        self.assertEqual([(1, 2)], [(start.job_id, start.attempt) for start in daemon.pool.started])

    def test_cursors_go_on(self) -> None:
        """Ids and cursors go on where they were."""
        self.client.send("run make")
        self.first.pool.finish(1)
        self.first.settle()
        daemon = self.again()
        client = daemon.connect()
        self.assertEqual("ok 1", client.ask("watch"))
        client.send("run make")
        daemon.pool.finish(2)
        daemon.settle()
        self.assertEqual(["ok 2", '* 2 2 succeeded {"exit_code":0,"attempt":1}'], client.take())

    def test_an_orderly_stop(self) -> None:
        """What ran when the daemon was stopped in good order is queued again, and has used no attempt."""
        self.client.send("run make")
        self.successResultOf(self.stop(self.first))
        (record,) = self.store.records([1])
        self.assertEqual((State.QUEUED, 0), (record.state, record.attempt))
        self.assertEqual([(1, 1)], [(start.job_id, start.attempt) for start in self.again().pool.started])

    def stop(self, daemon: MemoryDaemon) -> Deferred[None]:
        stopped = Deferred.fromCoroutine(daemon.daemon.close())
        daemon.settle()
        return stopped

    def test_nothing_starts_while_stopping(self) -> None:
        """A daemon that stops takes no more jobs and starts none."""
        self.client.send("run make", "run test")
        self.first.daemon.handle(events.Stopping())
        self.first.pool.finish(1)
        self.first.settle()
        self.client.take()
        self.assertIn("error DRAINING", self.client.ask("run make"))
        self.assertEqual([1], [start.job_id for start in self.first.pool.started])


class Keeping(SynchronousTestCase):
    """Ended jobs are kept by number and by age."""

    def setUp(self) -> None:
        self.daemon = MemoryDaemon(pool=FakePool(script=lambda start: (State.SUCCEEDED, {})))
        self.client = self.daemon.connect()
        self.gone: list[int] = []
        self.daemon.daemon.retention.forgotten = self.gone.extend

    def test_by_number(self) -> None:
        """Of very many only the newest are kept; the others' ids are unknown from then on, their keys free."""
        self.daemon.daemon.retention.keep(10, 1e9)
        for number in range(120):
            self.client.send(f'submit {{"argv": ["a"], "key": "k{number}"}}')
        self.client.take()
        self.assertEqual(len(self.gone), 120 - len(self.daemon.store.records(range(1, 121))))
        self.assertGreaterEqual(len(self.gone), 100)
        self.assertEqual("error NO_SUCH_JOB there is no job 1", self.client.ask("show 1"))
        self.client.send('submit {"argv": ["a"], "key": "k0"}')
        self.assertEqual("ok 121", self.client.take()[0])
        floor = self.gone[-1]
        self.assertIn(
            f"error GONE events up to cursor {floor} are no longer kept;", self.client.ask('watch {"since": 0}')
        )

    def test_some_at_a_time(self) -> None:
        """Where many are kept, some that are too many go at a time, however many a tenth would be."""
        self.patch(retention, "PRUNED_TOGETHER", 20)
        self.daemon.daemon.retention.keep(300, 1e9)
        self.client.send(*["run a"] * 320)
        self.assertEqual([], self.gone)
        self.client.send("run a")
        self.assertEqual(list(range(1, 22)), self.gone)
        self.client.send(*["run a"] * 20)
        self.assertEqual(21, len(self.gone))
        self.client.send("run a")
        self.assertEqual(42, len(self.gone))

    def test_by_age(self) -> None:
        """What ended too long ago goes with the next look, once an hour."""
        self.daemon.daemon.retention.keep(1000, 2 * PRUNE_EVERY)
        self.daemon.daemon.retention.prune_regularly()
        self.client.send("run a")
        for _ in range(2):
            self.daemon.advance(PRUNE_EVERY)
            self.assertEqual([], self.gone)
        self.daemon.advance(PRUNE_EVERY)
        self.assertEqual([1], self.gone)

    def test_what_has_not_ended_stays(self) -> None:
        """A job that has not ended is kept, however old."""
        self.daemon.daemon.retention.keep(1, 0.0)
        self.client.send('submit {"argv": ["a"], "delay": 1000000}')
        self.daemon.advance(999_999)
        self.daemon.daemon.retention.prune()
        self.assertEqual([], self.gone)

    def test_a_store_that_cannot_forget(self) -> None:
        """That old jobs cannot be removed is logged, and is no reason to stop."""
        self.daemon.store.prune = lambda keep, before, done: done(StoreError("no"))
        self.daemon.daemon.retention.prune()
        self.assertIsNone(self.daemon.broken)


class Draining(SynchronousTestCase):
    """C{drain}."""

    def test_drain(self) -> None:
        """After drain nothing is accepted or started; the daemon stops once what ran has ended and that is told."""
        daemon = MemoryDaemon()
        client = daemon.connect()
        client.send("run a", "run b")
        client.take()
        self.assertEqual("ok 1", client.ask("drain"))
        self.assertEqual("error DRAINING the daemon is draining and accepts no more jobs", client.ask("run c"))
        self.assertFalse(daemon.halted)
        daemon.pool.finish(1)
        daemon.settle()
        self.assertEqual(['* 1 1 succeeded {"exit_code":0,"attempt":1}'], client.take())
        self.assertEqual((True, [1]), (daemon.halted, [start.job_id for start in daemon.pool.started]))

    def test_with_nothing_running(self) -> None:
        """An idle daemon stops at once, after the reply."""
        daemon = MemoryDaemon()
        client = daemon.connect()
        self.assertEqual("ok 0", client.ask("drain"))
        self.assertTrue(daemon.halted)


class Time(SynchronousTestCase):
    """Deadlines, on the steady clock."""

    def test_an_alarm_for_the_next_deadline_only(self) -> None:
        """There is one timer, for what is due next, and none while nothing is due."""
        daemon = MemoryDaemon()
        client = daemon.connect()
        self.assertEqual([], daemon.clock.getDelayedCalls())
        client.send('submit {"argv": ["a"], "delay": 50}', 'submit {"argv": ["b"], "delay": 20}')
        self.assertEqual([20.0], [call.getTime() for call in daemon.clock.getDelayedCalls()])
        daemon.advance(20)
        self.assertEqual([50.0], [call.getTime() for call in daemon.clock.getDelayedCalls()])
        client.take()
        client.send("cancel 1")
        self.assertEqual([], daemon.clock.getDelayedCalls())

    def test_timeout(self) -> None:
        """An attempt that takes longer than its timeout is killed, and told as timed out."""
        daemon = MemoryDaemon()
        client = daemon.connect()
        client.send('submit {"argv": ["a"], "timeout": 3, "grace": 1.5}')
        daemon.advance(2.9)
        self.assertEqual([], daemon.pool.kills)
        daemon.advance(0.2)
        self.assertEqual([(1, 1.5)], [(kill.job_id, kill.grace) for kill in daemon.pool.kills])
        self.assertEqual("* 1 1 timed_out", client.take()[1].rpartition(" ")[0])


class ProgressTests(SynchronousTestCase):
    """What running jobs say of how far they are."""

    def setUp(self) -> None:
        self.daemon = MemoryDaemon()
        self.client = self.daemon.connect()
        self.client.send('submit {"argv": ["a"], "notify": false}')
        self.client.take()

    def test_told_to_who_wants_it(self) -> None:
        """It goes to those who watch with progress or follow the job, and to nobody else; show has the last one."""
        watcher, follower, plain = (self.daemon.connect() for _ in range(3))
        watcher.send('watch {"progress": true}')
        follower.send("follow 1")
        plain.send("watch")
        for client in (watcher, follower, plain):
            client.take()
        self.daemon.pool.tell_progress(1, done=1, total=2)
        told = ['* 0 1 progress {"done":1,"total":2}']
        self.assertEqual([told, told, []], [client.take() for client in (watcher, follower, plain)])
        self.assertIn('"progress":{"done":1,"total":2}', self.client.ask("show 1"))
        self.daemon.pool.finish(1)
        self.daemon.settle()
        self.assertNotIn("progress", self.client.ask("show 1"))

    def test_by_the_verb(self) -> None:
        """The verb does the same for a command."""
        self.assertEqual("ok", self.client.ask('progress 1 {"done": 0.5, "text": "half"}'))
        self.assertIn('"progress":{"done":0.5,"text":"half"}', self.client.ask("show 1"))

    def test_an_attempt_that_is_over(self) -> None:
        """What an attempt says that is over is not listened to."""
        self.daemon.daemon.progressed(1, 7, b"{}")
        self.daemon.daemon.progressed(99, 1, b"{}")
        self.assertEqual({}, self.daemon.daemon.progress)
        self.daemon.pool.finish(1)
        self.daemon.settle()
        self.assertEqual("error BAD_VALUE job 1 is not running", self.client.ask("progress 1"))
        self.assertEqual("error NO_SUCH_JOB there is no job 2", self.client.ask("progress 2"))
