"""The Executor's engine and its futures, against a daemon that does what the test says."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from base64 import b64decode, b64encode
from concurrent import futures
from functools import partial
from itertools import permutations
from operator import add
from typing import Any

from twisted.trial.unittest import TestCase

import jobd
from jobd import events, spec
from jobd.actions import Refuse, Reply
from jobd.client.future import JobFuture
from jobd.client.together import Together
from jobd.errors import Conflict, NoSuchJob
from jobd.events import Now
from jobd.scheduler import Scheduler
from tests.unit.scripted import Conversation, Peer, ScriptedDaemon

PATIENCE = 10.0


def pickled(value: object) -> str:
    return b64encode(pickle.dumps(value)).decode()


def jobs_of(line: str) -> list[dict[str, Any]]:
    """The jobs in the argument of C{submit}."""
    jobs = json.loads(line)
    return jobs if isinstance(jobs, list) else [jobs]


def calls_of(line: str) -> list[Any]:
    """What would be called, with its arguments."""
    return [pickle.loads(b64decode(job["pickle"])) for job in jobs_of(line)]


def ended(job: int, value: object) -> str:
    return f'* {job} {job} succeeded {{"pickle": "{pickled(value)}"}}'


class Nobody:
    """Keeps futures, and never sends them."""

    def withdraw(self, future: JobFuture[Any]) -> bool:
        return True

    def cancel(self, future: JobFuture[Any]) -> None:
        raise AssertionError("it was not sent")


class Futures(TestCase):
    """L{JobFuture} is a future like every other, whenever it is looked at first."""

    def test_ended_before_it_is_asked(self) -> None:
        """Its result, and whatever waits for several."""
        future: JobFuture[int] = JobFuture(Nobody())
        future.set_result(5)
        seen: list[int] = []
        future.add_done_callback(lambda done: seen.append(done.result()))
        self.assertEqual((5, True, [5]), (future.result(), future.done(), seen))
        self.assertEqual({future}, futures.wait([future], 0).done)
        self.assertEqual([future], list(futures.as_completed([future], 0)))
        self.assertRaises(futures.InvalidStateError, future.set_result, 6)

    def test_asked_before_it_ends(self) -> None:
        """Who waits is woken, with the result or the error."""
        for end, failed in ((_succeed, False), (_fail, True)):
            future: JobFuture[int] = JobFuture(Nobody())
            self.assertRaises(futures.TimeoutError, future.result, 0)
            seen: list[bool] = []
            future.add_done_callback(partial(_note, seen))
            with futures.ThreadPoolExecutor() as pool:
                waiting = pool.submit(futures.wait, [future], PATIENCE)
                end(future)
                self.assertEqual({future}, waiting.result(PATIENCE).done)
            self.assertEqual((failed, [True]), (future.exception(0) is not None, seen))

    def test_a_waiter_and_a_result_at_once(self) -> None:
        """A result that comes while somebody begins to wait is never missed."""
        for number in range(500):
            future: JobFuture[int] = JobFuture(Nobody())
            barrier = threading.Barrier(2)

            def end(
                future: JobFuture[int] = future, number: int = number, barrier: threading.Barrier = barrier
            ) -> None:
                barrier.wait(PATIENCE)
                future.set_result(number)

            thread = threading.Thread(target=end)
            thread.start()
            barrier.wait(PATIENCE)
            self.assertEqual(number, future.result(PATIENCE))
            thread.join(PATIENCE)

    def test_cancelled(self) -> None:
        """One that was not sent can be cancelled, once and for all."""
        future: JobFuture[int] = JobFuture(Nobody())
        self.assertTrue(future.cancel())
        self.assertTrue(future.cancelled())
        self.assertRaises(futures.CancelledError, future.result, 0)
        self.assertRaises(futures.InvalidStateError, future.set_result, 5)

    def test_in_asyncio(self) -> None:
        """A coroutine can wait for one, whether it has ended or not."""
        early: JobFuture[int] = JobFuture(Nobody())
        late: JobFuture[int] = JobFuture(Nobody())
        early.set_result(1)

        async def both() -> list[int]:
            waiting = [asyncio.wrap_future(early), asyncio.wrap_future(late)]
            late.set_result(2)
            return await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)

        self.assertEqual([1, 2], asyncio.run(both()))

    def test_no_such_attribute(self) -> None:
        """A wrong name is an error as everywhere."""
        self.assertRaises(AttributeError, getattr, JobFuture(Nobody()), "results")


def _note(seen: list[bool], future: futures.Future[int]) -> None:
    seen.append(future.done())


def _succeed(future: JobFuture[int]) -> None:
    future.set_result(5)


def _fail(future: JobFuture[int]) -> None:
    future.set_exception(LookupError("no"))


class Lines(TestCase):
    """L{Together}: calls under one key."""

    def lines(self, many: int) -> list[str]:
        """One line, and what it becomes when it is lost."""
        request = Together([pickled((add, (number, 1), {})) for number in range(many)], "k.1", '"cwd": "/"', None)
        lines = [request.line.decode()]
        for _ in range(2):
            request.lost()
            lines.append(request.line.decode())
        return lines

    def test_the_same_calls(self) -> None:
        """A line that was lost is another one with the same key, the same calls and the same fields."""
        for many in (1, 3):
            lines = [line.removeprefix("submit ") for line in self.lines(many)]
            self.assertEqual(3, len(set(lines)))
            for line in lines:
                self.assertEqual([(add, (number, 1), {}) for number in range(many)], calls_of(line))
                jobs = jobs_of(line)
                self.assertEqual(["k.1", *[None] * (many - 1)], [job.get("key") for job in jobs])
                self.assertEqual({"/"}, {job["cwd"] for job in jobs})

    def test_accepted_once(self) -> None:
        """Whichever of them arrives, and in whatever order: one is accepted, all others are refused."""
        lines = [spec.parse_submission(line.encode().removeprefix(b"submit ")) for line in self.lines(3)]
        for order in permutations(lines):
            scheduler = Scheduler()
            said = [self.answer(scheduler, line) for line in order]
            self.assertEqual([b"1-3", Conflict, Conflict], said)
            self.assertEqual(3, len(scheduler.jobs))

    def answer(self, scheduler: Scheduler, line: list[spec.Submission]) -> object:
        actions = scheduler.handle(events.Submit(1, b"", line), Now(0.0, 0.0))
        return next(
            action.text if isinstance(action, Reply) else type(action.error)
            for action in actions
            if isinstance(action, Reply | Refuse)
        )


class Scripted(TestCase):
    """An Executor and the script it talks to."""

    def talk(self, *conversations: Conversation, **options: Any) -> jobd.Executor:
        daemon = ScriptedDaemon(*conversations)
        daemon.__enter__()
        self.addCleanup(daemon.__exit__, None, None, None)
        executor = jobd.Executor(daemon.url, **options)
        self.addCleanup(executor.shutdown, wait=True)
        return executor

    def test_gathered(self) -> None:
        """Calls gather while a line has no reply, and go together; only the first of a line has a key."""
        arrived, submitted = threading.Event(), threading.Event()
        lines: list[str] = []

        def script(peer: Peer) -> None:
            peer.hello()
            lines.append(peer.expect("submit"))
            arrived.set()
            submitted.wait(PATIENCE)
            peer.write("ok 1", ended(1, 1))
            # Noted before it is answered: the calls have their results at once.
            lines.append(peer.expect("submit"))
            peer.write("ok 2-4", *(ended(job, job) for job in (2, 3, 4)))
            peer.read()

        executor = self.talk(script)
        calls = [executor.submit(add, 0, 0)]
        self.assertTrue(arrived.wait(PATIENCE))
        calls += [executor.submit(add, 0, number) for number in range(1, 4)]
        submitted.set()
        self.assertEqual([1, 2, 3, 4], [call.result(PATIENCE) for call in calls])
        self.assertEqual([(add, (0, number), {}) for number in range(4)], [c for line in lines for c in calls_of(line)])
        self.assertEqual([1, 3], [len(jobs_of(line)) for line in lines])
        self.assertEqual([True, True, False, False], ["key" in job for line in lines for job in jobs_of(line)])

    def test_no_more_than_allowed(self) -> None:
        """The daemon has as many calls at a time as it may have; the next go when one has ended."""
        arrived, submitted = threading.Event(), threading.Event()
        lines: list[str] = []

        def script(peer: Peer) -> None:
            peer.hello()
            lines.append(peer.expect("submit"))
            arrived.set()
            submitted.wait(PATIENCE)
            peer.write("ok 1")
            lines.append(peer.expect("submit"))
            peer.write("ok 2", ended(1, 1))
            lines.append(peer.expect("submit"))
            peer.write("ok 3", ended(2, 2), ended(3, 3))
            peer.read()

        executor = self.talk(script, max_pending=2)
        calls = [executor.submit(add, 0, 0)]
        self.assertTrue(arrived.wait(PATIENCE))
        calls += [executor.submit(add, 0, number) for number in (1, 2)]
        submitted.set()
        self.assertEqual([1, 2, 3], [call.result(PATIENCE) for call in calls])
        self.assertEqual([1, 1, 1], [len(jobs_of(line)) for line in lines])

    def test_the_line_had_come(self) -> None:
        """Where the line of a lost connection was accepted, its calls are found by its key and waited for."""
        arrived, submitted = threading.Event(), threading.Event()
        said: list[Any] = []

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit")
            arrived.set()
            submitted.wait(PATIENCE)
            peer.write("ok 1", ended(1, 0))
            said.append(peer.expect("submit"))

        def second(peer: Peer) -> None:
            peer.hello()
            said.append(peer.expect("submit", "error CONFLICT key 'k' belongs to job 7, which is another job"))
            said.append(json.loads(peer.expect("list", 'ok {"jobs": [{"id": 7, "state": "running"}], "more": false}')))
            peer.expect("wait 7-8", "ok 2", ended(8, "b"), ended(7, "a"))
            peer.read()

        executor = self.talk(first, second)
        calls = [executor.submit(add, 0, 0)]
        self.assertTrue(arrived.wait(PATIENCE))
        calls += [executor.submit(add, 0, number) for number in (1, 2)]
        submitted.set()
        self.assertEqual([0, "a", "b"], [call.result(PATIENCE) for call in calls])
        self.assertNotEqual(said[0], said[1])
        self.assertEqual(calls_of(said[0]), calls_of(said[1]))
        self.assertEqual({"key": jobs_of(said[0])[0]["key"]}, said[2])

    def test_it_is_no_longer_kept(self) -> None:
        """Where not even the job with the key is kept any more, the call is told so."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "error CONFLICT key 'k' belongs to job 7, which is another job")
            peer.expect("list", 'ok {"jobs": [], "more": false}')
            peer.read()

        self.assertRaises(NoSuchJob, self.talk(first, second).submit(add, 1, 2).result, PATIENCE)

    def test_cancelled_before_the_reply(self) -> None:
        """A call that was sent and has no id yet is cancelled as soon as it has one."""
        arrived, asked = threading.Event(), threading.Event()

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit")
            arrived.set()
            asked.wait(PATIENCE)
            peer.write("ok 1")
            self.assertEqual("1", json.loads(peer.expect("cancel", "ok 1", "* 1 1 cancelled {}"))["ids"])
            peer.read()

        executor = self.talk(script)
        call = executor.submit(add, 1, 2)
        self.assertTrue(arrived.wait(PATIENCE))
        with futures.ThreadPoolExecutor() as pool:
            cancelled = pool.submit(call.cancel)
            asked.set()
            self.assertTrue(cancelled.result(PATIENCE))
        self.assertTrue(call.cancelled())
