"""What every pool does: one suite, which each implementation passes, with real processes and without."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from jobd import wire
from jobd.actions import Kill, Start
from jobd.alarm import SteadyClock
from jobd.events import Capacity, Finished, Long, Returned
from jobd.job import Lane, State, plan_of
from jobd.pool import Pool, Report
from jobd.pool.processes import ProcessPool
from jobd.pool.worker import Attempt
from jobd.spec import parse_job
from jobd.testing import FakePool
from jobd.worker.output import output_path

if TYPE_CHECKING:
    Claims = TestCase
else:
    # A suite is no test case: the classes that inherit it are.
    Claims = object

KILL = 9
"""The signal's number, on every system that has it."""

TRUE = {"argv": ["true"], "cwd": "/"}
FAIL = {"shell": "exit 3", "cwd": "/"}
SLEEP = {"argv": ["sleep", "1000"], "cwd": "/", "cpus": 0}
CALL = {"call": "math:factorial", "args": [5], "cwd": "/"}
IO_CALL = {"call": "math:factorial", "args": [6], "cwd": "/", "lane": "io"}
LONG_CALL = {
    "call": "builtins:exec",
    "args": ["import jobd, time; jobd.progress(text='begun'); time.sleep(1000)"],
    "cwd": "/",
}
PROGRESS = {"call": "jobd:progress", "args": [1, 2], "cwd": "/"}


def start_of(spec: dict[str, Any], job_id: int, attempt: int = 1) -> Start:
    submission = parse_job(wire.to_json(spec))
    # These tests start what they like: no command takes a place from another.
    return Start(job_id, attempt, plan_of(submission.spec).lane, submission.json, cpus=0)


class PoolClaims(Claims):
    """The suite. A class that inherits it says how a pool of two places is made."""

    pool: Pool
    timeout = 300

    def make(self) -> Pool:
        raise NotImplementedError

    def setUp(self) -> None:
        self.reports: list[Report] = []
        self.given: dict[int, dict[str, Any]] = {}
        self.told: list[tuple[int, int, bytes]] = []
        self._news: list[Deferred[None]] = []
        self.pool = self.make()
        self.pool.open(self._report, self._progress, [])
        self.closed = False

    async def _close(self) -> None:
        if not self.closed:
            self.closed = True
            await self.pool.close()

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._close())

    def _report(self, *reports: Report) -> None:
        self.reports += reports
        self._wake()

    def _progress(self, job_id: int, attempt: int, said: bytes) -> None:
        self.told.append((job_id, attempt, said))
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, []
        for one in news:
            one.callback(None)

    async def change(self) -> None:
        """Wait until the pool says anything."""
        news: Deferred[None] = Deferred()
        self._news.append(news)
        await news

    def begin(self, spec: dict[str, Any], job_id: int, attempt: int = 1) -> None:
        self.given[job_id] = spec
        self.pool.start(start_of(spec, job_id, attempt))
        self.pool.flush()

    def kill(self, spec: dict[str, Any], job_id: int, attempt: int = 1, grace: float = 5.0) -> None:
        self.pool.kill(Kill(job_id, attempt, start_of(spec, job_id).lane, grace))
        self.pool.flush()

    def ends(self) -> dict[Attempt, Report]:
        """The reports that end an attempt; there is not more than one for each."""
        ends: dict[Attempt, Report] = {}
        for report in self.reports:
            if isinstance(report, (Finished, Returned)):
                self.assertNotIn((report.job_id, report.attempt), ends)
                ends[report.job_id, report.attempt] = report
        return ends

    async def end_of(self, job_id: int, attempt: int = 1) -> Report:
        while (job_id, attempt) not in self.ends():
            await self.change()
        return self.ends()[job_id, attempt]

    async def finish_of(self, job_id: int, attempt: int = 1) -> tuple[State, dict[str, Any]]:
        """
        How the job ended. Where the machine stalls, what waits behind it is given back, and
        begins again as the scheduler would have it.
        """
        report = await self.end_of(job_id, attempt)
        while isinstance(report, Returned):
            attempt += 1
            self.begin(self.given[job_id], job_id, attempt)
            report = await self.end_of(job_id, attempt)
        assert isinstance(report, Finished), report
        return report.state, json.loads(report.outcome)

    async def begun(self, job_id: int) -> None:
        """Wait until a long call is running."""
        while job_id not in {told[0] for told in self.told}:
            await self.change()

    # The claims.

    async def test_rest(self) -> None:
        """What ends while the pool rests is reported, when it listens again if not sooner."""
        for job_id in (1, 2, 3, 4):
            self.begin(TRUE, job_id)
        self.pool.rest()
        self.pool.listen()
        for job_id in (1, 2, 3, 4):
            self.assertEqual(State.SUCCEEDED, (await self.finish_of(job_id))[0])

    async def test_says_what_there_is_room_for(self) -> None:
        """A pool tells its capacity when it is opened."""
        self.assertEqual([(2, 1)], [(one.cpus, one.depth) for one in self.reports if isinstance(one, Capacity)])

    async def test_a_command(self) -> None:
        """A command's end is reported with its attempt's number and its exit code."""
        self.begin(TRUE, 1)
        self.begin(FAIL, 2, attempt=7)
        state, outcome = await self.finish_of(1)
        self.assertEqual((State.SUCCEEDED, 0, 1), (state, outcome["exit_code"], outcome["attempt"]))
        state, outcome = await self.finish_of(2, 7)
        self.assertEqual((State.FAILED, 3, 7), (state, outcome["exit_code"], outcome["attempt"]))

    async def test_calls(self) -> None:
        """A call's end is reported with its result, in both lanes."""
        self.begin(CALL, 1)
        self.begin(IO_CALL, 2)
        for job_id, result in ((1, 120), (2, 720)):
            state, outcome = await self.finish_of(job_id)
            self.assertEqual((State.SUCCEEDED, result), (state, outcome["result"]))

    async def test_many_at_once(self) -> None:
        """Each of many attempts ends with one report of its own."""
        for job_id in range(1, 61):
            self.given[job_id] = (TRUE, CALL, IO_CALL)[job_id % 3]
            self.pool.start(start_of(self.given[job_id], job_id))
        self.pool.flush()
        for job_id in range(1, 61):
            state, _ = await self.finish_of(job_id)
            self.assertEqual(State.SUCCEEDED, state)
        self.assertEqual(60, sum(isinstance(end, Finished) for end in self.ends().values()))

    async def test_kill(self) -> None:
        """An attempt that is killed is reported; one beside it goes on."""
        for spec, job_id in ((SLEEP, 1), (SLEEP, 2), (LONG_CALL, 3), (TRUE, 4)):
            self.begin(spec, job_id)
        await self.finish_of(4)
        await self.begun(3)
        self.kill(SLEEP, 1)
        self.kill(LONG_CALL, 3)
        for job_id in (1, 3):
            state, _ = await self.finish_of(job_id)
            self.assertNotEqual(State.SUCCEEDED, state)
        self.assertEqual({1, 3, 4}, {job_id for job_id, _ in self.ends()})
        self.begin(CALL, 5)
        self.assertEqual(State.SUCCEEDED, (await self.finish_of(5))[0])

    async def test_kill_at_once(self) -> None:
        """An attempt that is killed in the same turn in which it starts ends with one report, whatever it is."""
        for spec, job_id in ((SLEEP, 1), (LONG_CALL, 2)):
            self.pool.start(start_of(spec, job_id))
            self.pool.kill(Kill(job_id, 1, start_of(spec, job_id).lane, 5.0))
        self.pool.flush()
        await self.end_of(1)
        await self.end_of(2)

    async def test_kill_what_is_not_there(self) -> None:
        """Killing what was never started, or has ended, or is another attempt, is ignored."""
        self.begin(TRUE, 1)
        self.begin(SLEEP, 2, attempt=2)
        await self.finish_of(1)
        self.kill(SLEEP, 99)
        self.kill(TRUE, 1)
        self.kill(SLEEP, 2, attempt=1)
        self.begin(TRUE, 3)
        await self.finish_of(3)
        self.assertEqual({(1, 1), (3, 1)}, set(self.ends()))

    async def test_another_attempt(self) -> None:
        """The same job may be started again once its attempt has ended."""
        for attempt in (1, 2):
            self.begin(CALL, 1, attempt)
            await self.finish_of(1, attempt)
        self.assertEqual({(1, 1), (1, 2)}, set(self.ends()))

    async def test_close(self) -> None:
        """When a pool is closed all that runs is ended and handed back, as if it had not begun."""
        for spec, job_id in ((SLEEP, 1), (LONG_CALL, 2), (TRUE, 3)):
            self.begin(spec, job_id)
        await self.finish_of(3)
        await self.begun(2)
        await self._close()
        self.assertIsInstance(self.ends()[1, 1], Returned)
        self.assertIsInstance(self.ends()[2, 1], Returned)

    async def test_close_when_idle(self) -> None:
        """An idle pool is closed without a report."""
        self.begin(CALL, 1)
        await self.finish_of(1)
        self.reports.clear()
        await self._close()
        self.assertEqual([], self.reports)

    async def test_close_at_once(self) -> None:
        """A pool can be closed before any of its workers is ready."""
        self.begin(TRUE, 1)
        await self._close()
        self.assertEqual({(1, 1)}, set(self.ends()))

    async def test_stats(self) -> None:
        """What a pool says of itself is fit for JSON, and tells how many calls share a place."""
        stats = json.loads(json.dumps(self.pool.stats()))
        self.assertEqual(1, stats["depth"])
        self.assertIsInstance(stats["workers"], dict)


def script(start: Start) -> tuple[State, dict[str, Any]] | None:
    """What becomes of the suite's jobs in the fake pool."""
    if start.spec in (wire.to_json(SLEEP), wire.to_json(LONG_CALL)):
        return None
    if start.spec == wire.to_json(FAIL):
        return State.FAILED, {"exit_code": 3}
    if start.spec == wire.to_json(CALL):
        return State.SUCCEEDED, {"result": 120}
    if start.spec == wire.to_json(IO_CALL):
        return State.SUCCEEDED, {"result": 720}
    return State.SUCCEEDED, {}


class FakePoolTests(PoolClaims, TestCase):
    """The double passes the suite, and does besides what a test tells it to."""

    async def begun(self, job_id: int) -> None:
        self.assertIn((job_id, 1), self.fake.running)

    def make(self) -> Pool:
        self.fake = FakePool(2, script=script)
        return self.fake

    async def test_a_test_ends_attempts(self) -> None:
        """Attempts without an end of their own end as the test says."""
        for job_id in (1, 2, 3, 4):
            self.begin(SLEEP, job_id, attempt=job_id)
        self.fake.finish(1)
        self.fake.finish(2, exit_code=9, wall=1.5)
        self.fake.finish(3, State.LOST, error="gone")
        self.fake.give_back(4)
        self.assertEqual((State.SUCCEEDED, {"exit_code": 0, "attempt": 1}), await self.finish_of(1))
        self.assertEqual((State.FAILED, {"exit_code": 9, "attempt": 2, "wall": 1.5}), await self.finish_of(2, 2))
        self.assertEqual((State.LOST, {"exit_code": 1, "attempt": 3, "error": "gone"}), await self.finish_of(3, 3))
        self.assertIsInstance(self.ends()[4, 4], Returned)
        self.assertRaises(StopIteration, self.fake.finish, 1)

    async def test_a_test_tells_progress(self) -> None:
        """Attempts say how far they are when the test says so."""
        self.begin(SLEEP, 1, attempt=3)
        self.fake.tell_progress(1, done=1, total=2)
        self.assertEqual([(1, 3, b'{"done":1,"total":2}')], self.told)

    async def test_disobedience(self) -> None:
        """What is killed may go on until the test ends it."""
        self.fake._obedient = False
        self.begin(SLEEP, 1)
        self.kill(SLEEP, 1)
        self.assertEqual(({}, 1), (self.ends(), len(self.fake.kills)))
        self.fake.finish(1)
        self.assertEqual(State.SUCCEEDED, (await self.finish_of(1))[0])


class ProcessPoolTests(PoolClaims, TestCase):
    """Real processes."""

    def make(self) -> Pool:
        from twisted.internet import reactor

        self.clock = SteadyClock(reactor.callFromThread)  # type: ignore[attr-defined]
        self.clock.start()
        self.addCleanup(self.clock.stop)
        self.output = self.mktemp()
        root = str(Path(__file__).parent.parent.parent)
        environment = {**os.environ, "PYTHONPATH": root}
        return ProcessPool(reactor, self.clock, 2, os.path.abspath(self.output), environment)

    def workers(self, lane: Lane) -> list[int]:
        pids: list[int] = self.pool.stats()["workers"][lane.name.lower()]
        return pids

    async def test_its_processes(self) -> None:
        """There are as many call workers as places, one io worker and one runner."""
        self.assertEqual([1, 2, 1], [len(self.workers(lane)) for lane in (Lane.COMMAND, Lane.CPU, Lane.IO)])

    async def test_progress(self) -> None:
        """What a call says of its progress comes with its job's id and attempt, before its end."""
        self.begin(PROGRESS, 8, attempt=2)
        await self.finish_of(8, 2)
        self.assertEqual([(8, 2, {"done": 1, "total": 2})], [(*told[:2], json.loads(told[2])) for told in self.told])

    async def test_a_worker_that_dies_in_a_call(self) -> None:
        """The call that ran in it is lost, with the signal; others are untouched; another worker takes its place."""
        self.begin({"call": "os:kill", "args": [0, KILL], "cwd": "/"}, 1)
        state, outcome = await self.finish_of(1)
        self.assertEqual((State.LOST, "SIGKILL", 1), (state, outcome["signal"], outcome["attempt"]))
        self.assertIn("killed by SIGKILL", outcome["error"])
        for job_id in range(2, 10):
            self.begin(CALL, job_id)
        for job_id in range(2, 10):
            self.assertEqual(State.SUCCEEDED, (await self.finish_of(job_id))[0])
        self.assertEqual(2, len(self.workers(Lane.CPU)))

    async def test_what_waits_behind_a_call_that_kills_its_worker(self) -> None:
        """Of several calls given to a worker only the one that ran is lost; the others are handed back."""
        for job_id in (1, 2):
            self.pool.start(start_of({"call": "os:_exit", "args": [3], "cwd": "/"}, job_id))
        for job_id in (3, 4):
            self.pool.start(start_of(CALL, job_id))
        self.pool.flush()
        for job_id in (1, 2):
            state, outcome = await self.finish_of(job_id)
            self.assertEqual((State.LOST, "its worker ended with exit code 3"), (state, outcome["error"]))
        for job_id in (3, 4):
            self.assertIsInstance(await self.end_of(job_id), Returned)

    async def test_what_was_done_before_a_call_that_kills_its_worker(self) -> None:
        """Calls that have ended before one that kills its worker have ended, though their reports may wait."""
        for job_id in range(1, 5):
            self.begin({"call": "builtins:exec", "args": ["pass"], "cwd": "/"}, job_id)
            await self.finish_of(job_id)
        for job_id in range(5, 25):
            what = "import os; os._exit(3)" if job_id > 22 else "pass"
            self.pool.start(start_of({"call": "builtins:exec", "args": [what], "cwd": "/"}, job_id))
        self.pool.flush()
        for job_id in (23, 24):
            self.assertEqual(State.LOST, (await self.finish_of(job_id))[0])
        for job_id in range(5, 23):
            self.assertEqual(State.SUCCEEDED, (await self.finish_of(job_id))[0])

    async def test_a_long_call_is_told(self) -> None:
        """A call that proves to take long is told as such, when something was given to its worker behind it."""
        for job_id in (1, 2, 3):
            self.begin(LONG_CALL, job_id)
        self.assertIsInstance(await self.end_of(3), Returned)
        (told,) = [report for report in self.reports if isinstance(report, Long)]
        self.assertIn(told.job_id, (1, 2))

    async def test_short_calls_share_a_worker(self) -> None:
        """When calls prove to be short the pool tells that more of them may share a place."""
        for job_id in range(1, 200):
            self.begin(CALL, job_id)
        for job_id in range(1, 200):
            await self.finish_of(job_id)
        capacities = [one for one in self.reports if isinstance(one, Capacity)]
        self.assertEqual({2}, {one.cpus for one in capacities})
        self.assertGreater(max(one.depth for one in capacities), 1)

    async def test_a_call_that_ignores_term(self) -> None:
        """A call that does not heed TERM is ended with KILL after its grace."""
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(1000)"
        spec = {"call": "builtins:exec", "args": [code], "cwd": "/"}
        self.begin(spec, 1)
        path = Path(output_path(self.output, 1, 1, "out"))
        while not path.exists():
            # It is published once the call has run for a while.
            await self.pause()
        self.kill(spec, 1, grace=0.05)
        state, outcome = await self.finish_of(1)
        self.assertEqual((State.LOST, "SIGKILL"), (state, outcome["signal"]))

    async def pause(self) -> None:
        done: Deferred[None] = Deferred()
        self.clock.callLater(0.01, done.callback, None)
        await done

    async def test_the_runner_dies(self) -> None:
        """When the runner is killed its commands are lost, and the next ones run in another."""
        for job_id in (1, 2):
            self.begin(SLEEP, job_id)
        self.begin(TRUE, 3)
        await self.finish_of(3)
        (runner,) = self.workers(Lane.COMMAND)
        left = _children(runner)
        os.kill(runner, KILL)
        for job_id in (1, 2):
            self.assertEqual(State.LOST, (await self.finish_of(job_id))[0])
        self.begin(TRUE, 4)
        self.assertEqual(State.SUCCEEDED, (await self.finish_of(4))[0])
        for pid in left:
            os.kill(pid, KILL)

    async def test_output(self) -> None:
        """What a job writes stands in its own files, and a running call's is where the pool says."""
        self.begin({"shell": "echo out; echo err >&2", "cwd": "/"}, 1)
        self.begin({"call": "builtins:print", "args": ["hello"], "cwd": "/"}, 2)
        for job_id in (1, 2):
            await self.finish_of(job_id)
        read = [
            Path(output_path(self.output, *which)).read_text()
            for which in ((1, 1, "out"), (1, 1, "err"), (2, 1, "out"))
        ]
        self.assertEqual(["out\n", "err\n", "hello\n"], read)

    async def test_nothing_is_left(self) -> None:
        """A pool that was closed leaves no process behind."""
        for spec, job_id in ((SLEEP, 1), (LONG_CALL, 2), (TRUE, 3)):
            self.begin(spec, job_id)
        await self.finish_of(3)
        await self.begun(2)
        pids = [pid for lane in Lane for pid in self.workers(lane)]
        pids += [child for pid in pids for child in _children(pid)]
        self.assertGreaterEqual(len(pids), 5)
        await self._close()
        for pid in pids:
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    if not sys.platform.startswith("linux"):
        test_nothing_is_left.skip = test_the_runner_dies.skip = "needs /proc"  # type: ignore[attr-defined]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
