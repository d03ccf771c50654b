"""
What C{concurrent.futures} claims of executors, with a real daemon behind: the
claims of CPython's own tests, and those of jobd.
"""

from __future__ import annotations

import concurrent.futures as cf
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import TestCase

import jobd
from jobd.errors import BadValue, ConnectionProblem, JobFailed, RemoteTraceback, TooLong, WorkerDied
from tests.functional import calls
from tests.functional.shared import shared_daemon

ROOT = str(Path(jobd.__file__).parent.parent)
LIMIT = 120.0


class ExecutorTestCase(TestCase):
    """A test with an executor on the shared daemon."""

    def setUp(self) -> None:
        self._gates: list[Path] = []

    def executor(self, **options: object) -> jobd.Executor:
        options.setdefault("cwd", ROOT)
        executor = jobd.Executor(shared_daemon().url, **options)  # type: ignore[arg-type]
        self.addCleanup(self._shut_down, executor)
        return executor

    def gate(self) -> Path:
        """A file that does not exist, made at the end of the test at the latest."""
        path = Path(self.mktemp()).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._gates.append(path)
        return path

    def _shut_down(self, executor: jobd.Executor) -> None:
        for gate in self._gates:
            gate.touch()
        executor.shutdown(cancel_futures=True)

    def blocked(self, executor: jobd.Executor, gate: Path, many: int = 2) -> list[cf.Future[str]]:
        """All workers busy until the gate opens."""
        return [executor.submit(calls.wait_for, str(gate)) for _ in range(many)]


class Submitting(ExecutorTestCase):
    """C{submit}."""

    def test_results(self) -> None:
        """A call with positional and keyword arguments returns its value."""
        executor = self.executor()
        self.assertEqual(256, executor.submit(pow, 2, 8).result(LIMIT))
        self.assertEqual(7, executor.submit(calls.add, 3, second=4).result(LIMIT))
        self.assertEqual((1, {2}, b"\xff"), executor.submit(_identity_of_builtins, (1, {2}, b"\xff")).result(LIMIT)[0])

    def test_keyword_names(self) -> None:
        """Arguments may be called self and fn."""
        result: dict[str, int] = self.executor().submit(dict, self=1, fn=2).result(LIMIT)
        self.assertEqual({"self": 1, "fn": 2}, result)

    def test_methods(self) -> None:
        """Methods of instances that can be pickled."""
        self.assertEqual("hello you", self.executor().submit(calls.Greeter("hello").greet, "you").result(LIMIT))

    def test_by_value(self) -> None:
        """A function that cannot be imported goes by value."""
        offset = 40
        self.assertEqual(42, self.executor().submit(lambda number: number + offset, 2).result(LIMIT))

    def test_no_cloudpickle(self) -> None:
        """Without cloudpickle the future's error says what to do."""
        with patch.dict(sys.modules, {"cloudpickle": None}):
            error = self.executor().submit(lambda: 1).exception(LIMIT)
        self.assertIsInstance(error, BadValue)
        self.assertIn("extra 'pickle'", str(error))

    def test_cannot_be_pickled(self) -> None:
        """Arguments that cannot be pickled are the future's error, and nobody else's."""
        executor = self.executor()
        self.assertIsInstance(executor.submit(len, threading.Lock()).exception(LIMIT), BadValue)
        self.assertEqual(1, executor.submit(len, "x").result(LIMIT))

    def test_too_long(self) -> None:
        """Arguments that do not fit into a line are the future's error, too."""
        executor = self.executor()
        self.assertIsInstance(executor.submit(len, "x" * 2_000_000).exception(LIMIT), TooLong)
        self.assertEqual(1, executor.submit(len, "x").result(LIMIT))

    def test_many_threads(self) -> None:
        """Several threads may submit."""
        executor = self.executor()
        sums: list[int] = []

        def submit(base: int) -> None:
            sums.append(sum(executor.submit(calls.square, base + number).result(LIMIT) for number in range(25)))

        threads = [threading.Thread(target=submit, args=(100 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        expected = [sum((100 * base + number) ** 2 for number in range(25)) for base in range(4)]
        self.assertEqual(sorted(expected), sorted(sums))

    def test_callbacks(self) -> None:
        """A callback runs once its future has ended, and may submit more."""
        executor = self.executor()
        second: list[cf.Future[int]] = []
        done = threading.Event()

        def then(first: cf.Future[int]) -> None:
            second.append(executor.submit(calls.square, first.result()))
            done.set()

        executor.submit(calls.square, 3).add_done_callback(then)
        self.assertTrue(done.wait(LIMIT))
        self.assertEqual(81, second[0].result(LIMIT))

    def test_timeout(self) -> None:
        """Waiting for a result may end before the call does; the call goes on."""
        gate = self.gate()
        future = self.executor().submit(calls.wait_for, str(gate))
        self.assertRaises(cf.TimeoutError, future.result, 0.01)
        self.assertTrue(future.running())
        gate.touch()
        self.assertEqual(str(gate), future.result(LIMIT))
        self.assertFalse(future.running())

    def test_fields(self) -> None:
        """The executor's fields are those of its jobs; a field of its own business is refused."""
        executor = self.executor(label="mine", timeout=0.2, grace=0.1)
        future = executor.submit(calls.sleep, 20)
        error = future.exception(LIMIT)
        assert isinstance(error, JobFailed)
        self.assertEqual("timed_out", error.outcome.state)
        with jobd.connect(shared_daemon().url) as client:
            self.assertEqual("mine", client.show(error.outcome.id)["spec"]["label"])
        self.assertRaises(BadValue, self.executor, argv=["true"])
        self.assertRaises(ValueError, self.executor, max_pending=0)

    def test_wrong_field(self) -> None:
        """A field that the daemon does not know is each future's error."""
        error = self.executor(prioirty=3).submit(len, "x").exception(LIMIT)
        self.assertIn("did you mean 'priority'", str(error))

    def test_no_daemon(self) -> None:
        """Without a daemon there is no executor."""
        self.assertRaises(ConnectionProblem, jobd.Executor, "jobd+unix:///no/such/socket")


def _identity_of_builtins(*values: object) -> tuple[object, ...]:
    return values


class Failing(ExecutorTestCase):
    """Exceptions and dead workers."""

    def test_exception(self) -> None:
        """What the call raised is raised, with the worker's traceback as the cause."""
        future = self.executor().submit(calls.fail, "gone")
        error = self.assertRaises(LookupError, future.result, LIMIT)
        self.assertEqual(("gone",), error.args)
        self.assertIsInstance(error.__cause__, RemoteTraceback)
        self.assertIn("raise LookupError(text)", str(error.__cause__))

    def test_exception_that_cannot_travel(self) -> None:
        """An exception that cannot be unpickled is JobFailed, which says what it was."""
        error = self.executor().submit(calls.fail_weirdly).exception(LIMIT)
        assert isinstance(error, JobFailed)
        self.assertIn("weird", str(error))
        self.assertIn("fail_weirdly", str(error.__cause__))

    def test_result_that_cannot_travel(self) -> None:
        """A result that cannot be pickled is JobFailed."""
        self.assertIsInstance(self.executor().submit(calls.unpicklable).exception(LIMIT), JobFailed)

    def test_a_worker_that_dies(self) -> None:
        """A worker that dies fails its own future; those before, beside and after it get their results."""
        executor = self.executor()
        before = [executor.submit(calls.square, number) for number in range(20)]
        dead = executor.submit(calls.leave, 3)
        after = [executor.submit(calls.square, number) for number in range(20)]
        self.assertIsInstance(dead.exception(LIMIT), WorkerDied)
        self.assertEqual([number**2 for number in range(20)] * 2, [future.result(LIMIT) for future in before + after])
        self.assertEqual(4, executor.submit(calls.square, 2).result(LIMIT))


class Mapping(ExecutorTestCase):
    """C{map}."""

    def test_in_order(self) -> None:
        """Results come in the order of the items, also of several iterables."""
        executor = self.executor()
        self.assertEqual(list(map(pow, range(10), range(10))), list(executor.map(pow, range(10), range(10))))
        self.assertEqual([0, 1, 4], list(executor.map(calls.square, range(3), timeout=LIMIT)))
        self.assertEqual([], list(executor.map(calls.square, [])))

    def test_chunks(self) -> None:
        """The size of the chunks does not change the results, whether it divides the items or not."""
        executor = self.executor()
        reference = [number**2 for number in range(40)]
        for size in (1, 6, 40, 50):
            self.assertEqual(reference, list(executor.map(calls.square, range(40), chunksize=size)))
        self.assertRaises(ValueError, executor.map, calls.square, range(3), chunksize=0)

    def test_exception(self) -> None:
        """An exception is raised in the place of its result."""
        results = self.executor().map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
        self.assertEqual([(0, 1), (0, 1)], [next(results), next(results)])
        self.assertRaises(ZeroDivisionError, next, results)

    def test_timeout(self) -> None:
        """A result that is not there in time is a TimeoutError; those before it have been yielded."""
        gate = self.gate()
        executor = self.executor()
        results = executor.map(_wait_unless_none, [None, None, str(gate)], timeout=0.5)
        # What was submitted later has ended: the first two have as well.
        executor.submit(calls.square, 2).result(LIMIT)
        came: list[None] = []
        with self.assertRaises(cf.TimeoutError):
            for result in results:
                came.append(result)
        self.assertEqual([None, None], came)

    def test_submits_at_once(self) -> None:
        """All items are submitted before the first result is asked for."""
        flags = [self.gate(), self.gate()]
        results = self.executor().map(_touch, [str(flag) for flag in flags])
        deadline = time.monotonic() + LIMIT
        while not all(flag.exists() for flag in flags) and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        self.assertTrue(all(flag.exists() for flag in flags))
        del results

    def test_buffersize(self) -> None:
        """With a buffer, no more items are consumed than have had their results taken, and the buffer's."""
        consumed: list[int] = []

        def items() -> object:
            for number in range(10):
                consumed.append(number)
                yield number

        results = self.executor().map(calls.square, items(), buffersize=3)  # type: ignore[arg-type]
        self.assertEqual([0, 1, 2], consumed)
        self.assertEqual(0, next(results))
        self.assertLessEqual(len(consumed), 4)
        self.assertEqual([number**2 for number in range(1, 10)], list(results))
        self.assertRaises(ValueError, self.executor().map, calls.square, [1], buffersize=0)
        self.assertRaises(TypeError, self.executor().map, calls.square, [1], buffersize="1")


def _wait_unless_none(path: str | None) -> None:
    if path is not None:
        calls.wait_for(path)


def _touch(path: str) -> None:
    Path(path).touch()


class Cancelling(ExecutorTestCase):
    """C{cancel} while a call is pending."""

    def test_waiting_here(self) -> None:
        """A call that has not been sent can be cancelled; one that runs cannot."""
        gate = self.gate()
        executor = self.executor(max_pending=2)
        running = self.blocked(executor, gate)
        waiting = executor.submit(calls.square, 3)
        self.assertTrue(waiting.cancel())
        self.assertTrue(waiting.cancelled())
        self.assertTrue(waiting.cancel())
        self.assertRaises(cf.CancelledError, waiting.result, LIMIT)
        gate.touch()
        self.assertEqual([str(gate)] * 2, [future.result(LIMIT) for future in running])
        self.assertFalse(running[0].cancel())

    def test_waiting_in_the_daemon(self) -> None:
        """A call that the daemon has and has not started can be cancelled, one that it has started cannot."""
        gate, begun = self.gate(), self.gate()
        executor = self.executor(queue="one-at-a-time")
        with jobd.connect(shared_daemon().url) as client:
            client.queue("one-at-a-time", limit=1)
        running = executor.submit(_begin, str(begun), str(gate))
        waiting = [executor.submit(calls.square, number) for number in range(3)]
        calls.wait_for(str(begun))
        self.assertTrue(waiting[1].cancel())
        self.assertFalse(running.cancel())
        self.assertFalse(running.done())
        gate.touch()
        everything: list[cf.Future[Any]] = [running, *waiting]
        self.assertEqual(set(), cf.wait(everything, LIMIT).not_done)
        self.assertEqual([0, 4], [waiting[0].result(), waiting[2].result()])
        self.assertTrue(waiting[1].cancelled())

    def test_by_somebody_else(self) -> None:
        """A job that was cancelled otherwise is a cancelled future."""
        executor = self.executor(label="to-be-cancelled", delay=3600)
        future = executor.submit(len, "x")
        with jobd.connect(shared_daemon().url) as client:
            while not client.cancel({"label": "to-be-cancelled"}):
                pass
        self.assertEqual(({future}, set()), tuple(cf.wait([future], LIMIT)))
        self.assertTrue(future.cancelled())


def _begin(flag: str, gate: str) -> str:
    Path(flag).touch()
    return calls.wait_for(gate)


class Waiting(ExecutorTestCase):
    """The standard library's own functions, with these futures."""

    def test_as_completed(self) -> None:
        """Futures come as they end, with those that had ended before."""
        gate = self.gate()
        executor = self.executor()
        slow = executor.submit(calls.wait_for, str(gate))
        quick = executor.submit(calls.square, 3)
        ended = cf.Future[int]()
        ended.set_result(1)
        both: list[cf.Future[Any]] = [slow, quick, ended]
        order = cf.as_completed(both, timeout=LIMIT)
        self.assertEqual({quick, ended}, {next(order), next(order)})
        gate.touch()
        self.assertIs(slow, next(order))

    def test_as_completed_timeout(self) -> None:
        """What has not ended in time is a TimeoutError."""
        future = self.executor().submit(calls.wait_for, str(self.gate()))
        self.assertRaises(cf.TimeoutError, list, cf.as_completed([future], timeout=0))

    def test_wait(self) -> None:
        """FIRST_COMPLETED, FIRST_EXCEPTION and ALL_COMPLETED mean what they say."""
        gate = self.gate()
        executor = self.executor()
        slow: cf.Future[Any] = executor.submit(calls.wait_for, str(gate))
        quick: cf.Future[Any] = executor.submit(calls.square, 3)
        self.assertEqual(({quick}, {slow}), tuple(cf.wait([slow, quick], LIMIT, cf.FIRST_COMPLETED)))
        bad: cf.Future[Any] = executor.submit(calls.fail, "x")
        self.assertEqual(({bad}, {slow}), tuple(cf.wait([slow, bad], LIMIT, cf.FIRST_EXCEPTION)))
        gate.touch()
        self.assertEqual(({slow, quick, bad}, set()), tuple(cf.wait([slow, quick, bad], LIMIT)))


class Ending(ExecutorTestCase):
    """C{shutdown}."""

    def test_no_more(self) -> None:
        """After it nothing can be submitted; doing it twice is no error."""
        executor = self.executor()
        executor.shutdown()
        self.assertRaises(RuntimeError, executor.submit, len, "x")
        self.assertRaises(RuntimeError, executor.submit, lambda: 1)
        executor.shutdown()

    def test_waits(self) -> None:
        """It returns when everything that was submitted has ended; so does a with block."""
        with self.executor() as executor:
            futures = [executor.submit(calls.square, number) for number in range(50)]
        self.assertTrue(all(future.done() for future in futures))
        self.assertEqual([number**2 for number in range(50)], [future.result() for future in futures])

    def test_without_waiting(self) -> None:
        """Without waiting it returns at once, and the calls still end."""
        gate = self.gate()
        executor = self.executor()
        future = executor.submit(calls.wait_for, str(gate))
        executor.shutdown(wait=False)
        self.assertFalse(future.done())
        gate.touch()
        self.assertEqual(str(gate), future.result(LIMIT))

    def test_cancel_futures(self) -> None:
        """What has not been started is cancelled, wherever it waits; what has been started ends well."""
        for most in (3, 1000):
            gate = self.gate()
            begun = [self.gate(), self.gate()]
            executor = self.executor(max_pending=most)
            running = [executor.submit(_begin, str(flag), str(gate)) for flag in begun]
            for flag in begun:
                calls.wait_for(str(flag))
            waiting = [executor.submit(calls.square, number) for number in range(50)]
            executor.shutdown(wait=False, cancel_futures=True)
            gate.touch()
            executor.shutdown()
            self.assertGreater(sum(future.cancelled() for future in waiting), 20)
            others = [future for future in waiting if not future.cancelled()]
            self.assertEqual([], [future.exception() for future in others if future.exception() is not None])
            self.assertEqual([str(gate)] * 2, [future.result(0) for future in running])

    def test_garbage(self) -> None:
        """An executor that nobody has any more ends its thread, once its calls have ended."""
        executor = jobd.Executor(shared_daemon().url, cwd=ROOT)
        thread = executor._engine._channel._thread
        future = executor.submit(calls.square, 4)
        del executor
        self.assertEqual(16, future.result(LIMIT))
        thread.join(LIMIT)
        self.assertFalse(thread.is_alive())

    def test_end_of_the_program(self) -> None:
        """A program that ends without a shutdown still gets its calls done."""
        flag = self.gate()
        program = (
            "import jobd, sys, time; from tests.functional.test_executor import _touch;"
            "executor = jobd.Executor(sys.argv[1]);"
            "[executor.submit(time.sleep, 0.01) for _ in range(20)];"
            "executor.submit(_touch, sys.argv[2])"
        )
        subprocess.run(
            [sys.executable, "-c", program, shared_daemon().url, str(flag)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": ROOT},
            timeout=LIMIT,
            check=True,
        )
        self.assertTrue(flag.exists())
