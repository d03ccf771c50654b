"""
What a job costs in the daemon's own code, counted and not timed: lines of code
executed, functions called, memory kept. These are the same on every machine,
however busy it is, and to within a hundredth in every version of Python.

The budgets are what was counted when they were written down. A change that
costs a tenth more than its budget fails here: make it cheaper, or raise the
budget and say in the changelog what the price buys. After a change that makes
jobs cheaper, lower it.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from twisted.trial.unittest import TestCase

import jobd
from jobd import events
from jobd.job import State
from jobd.scheduler import Scheduler
from jobd.store import schema
from jobd.store.restore import read_snapshot
from jobd.testing import FakePool, MemoryClient, MemoryDaemon
from tests.unit.simulation import START, call, submissions

LEEWAY = 1.1
"""How many times its budget a cost may be."""

ALONE = (234.7, 38.6)
"""Lines and calls for a job from the bytes of its request to the bytes of its finish event, a request for each."""

LONE = (470.0, 89.0)
"""Of a call that has a turn of its own, and its end another, with nothing else under way."""

BATCHED = (184.1, 27.2)
"""The same of a job in a list of a hundred, of whose end nobody is told."""

ACCEPTED = (78.3, 10.5)
"""Of a job in such a list until it is queued."""

RESTORED = (42.1, 9.0)
"""Of a queued call when a daemon begins anew, from the database to its place in the queue."""

KEPT = 314.0
"""Bytes that the scheduler keeps of a call that is queued."""

FAR = 26.0
"""The same of one that is far from its turn."""

_ROOT = str(Path(jobd.__file__).parent)
_NOT_OURS = ("testing.py", "memory.py")
_PLACES = 2
_DEPTH = 4


class Cost(NamedTuple):
    """Of all that was done."""

    lines: float
    calls: float

    def over(self, jobs: int) -> Cost:
        """Of one job of so many."""
        return Cost(self.lines / jobs, self.calls / jobs)


def counted(do: Callable[[], object]) -> Cost:
    """Lines executed and functions entered in jobd's modules, but for the doubles and the store in memory."""
    lines = calls = 0

    def inside(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return inside

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal calls
        path = frame.f_code.co_filename
        if not path.startswith(_ROOT) or path.endswith(_NOT_OURS):
            return None
        calls += 1
        return inside

    # Coverage may be measuring by the same means.
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
    return Cost(lines, calls)


class CostTests(TestCase):
    """Each job has its price."""

    def connected(self, ends: bool = True) -> MemoryClient:
        """A client of a daemon whose pool ends every attempt at once, and which has done some jobs before."""
        pool = FakePool(_PLACES, _DEPTH, script=lambda start: (State.SUCCEEDED, {}))
        client = MemoryDaemon(pool=pool).connect()
        alone(client, 200)
        if not ends:
            client.feed(b"pause\n")
        client.take()
        return client

    def check(self, budget: tuple[float, float], cost: Cost) -> None:
        message = f"a job costs {cost.lines:.1f} lines and {cost.calls:.1f} calls; the budget is {budget}"
        self.assertLessEqual(cost.lines, budget[0] * LEEWAY, message)
        self.assertLessEqual(cost.calls, budget[1] * LEEWAY, message)
        # So that this test cannot come to count nothing.
        self.assertGreater(cost.lines, budget[0] / 4, message)

    def test_alone(self) -> None:
        """A call that is a request of its own stays within its budget, from request to finish event."""
        client = self.connected()
        cost = counted(partial(alone, client, 500)).over(500)
        self.assertEqual(1000, len(client.take()))
        self.check(ALONE, cost)

    def test_lone(self) -> None:
        """So does one with nothing else under way: it bears what a turn costs by itself."""
        client = self.connected()
        cost = counted(partial(lone, client, 200)).over(200)
        self.assertEqual(400, len(client.take()))
        self.check(LONE, cost)

    def test_batched(self) -> None:
        """So does one in a long list."""
        client = self.connected()
        cost = counted(partial(batched, client, 500)).over(500)
        self.assertEqual(5, len(client.take()))
        self.check(BATCHED, cost)

    def test_accepted(self) -> None:
        """So does the part of it until it is queued."""
        client = self.connected(ends=False)
        self.check(ACCEPTED, counted(partial(batched, client, 500)).over(500))

    def test_restored(self) -> None:
        """So does a queued job that is taken up again."""
        database = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(database.close)
        database.executescript(schema.CREATE)
        sql = "INSERT INTO jobs (state, attempt, submitted, spec, queue) VALUES (2, 0, ?, ?, 'default')"
        spec = '{"call": "m:f", "args": [%d], "notify": false}'
        database.executemany(sql, [(START + number, spec % number) for number in range(1000)])
        scheduler = Scheduler(1)
        cost = counted(lambda: scheduler.restore(read_snapshot(database), events.Now(0.0, START))).over(1000)
        self.assertEqual(1000, scheduler.places.queue("default").queued)
        self.check(RESTORED, cost)

    def test_over_budget(self) -> None:
        """What costs a little more than a tenth above its budget fails, whichever of the two it is."""
        for cost in (Cost(111, 10), Cost(100, 11.1)):
            self.assertRaises(self.failureException, self.check, (100, 10), cost)
        self.check((100, 10), Cost(109, 10.9))

    def test_flat(self) -> None:
        """A job costs the same whether none or ten thousand are queued before it, to accept and to run."""
        few, many = self.connected(ends=False), self.connected(ends=False)
        batched(many, 10_000)
        accepted = [counted(partial(batched, client, 500)) for client in (few, many)]
        self.assertLessEqual(accepted[1].lines, accepted[0].lines * 1.02)
        ran = [counted(partial(client.feed, b"resume\n")) for client in (few, many)]
        self.assertLessEqual(ran[1].over(10_500).lines, ran[0].over(500).lines * 1.02)

    def test_same(self) -> None:
        """What is counted is the same every time."""
        costs = {counted(partial(alone, self.connected(), 200)) for _ in range(3)}
        self.assertEqual(1, len(costs))

    def test_kept(self) -> None:
        """What the scheduler keeps of a queued job stays within its budget."""
        self.check_memory(KEPT, Scheduler(1))

    def test_far(self) -> None:
        """So does what it keeps of one that is far from its turn."""
        self.check_memory(FAR, Scheduler(1, near=1000))

    def check_memory(self, budget: float, scheduler: Scheduler) -> None:
        """
        @param scheduler: one that has room for a thousand jobs, whole.
        """
        now = events.Now(0.0, START)
        scheduler.handle(events.SetQueue(9, b"", None, paused=True), now)

        def submit(jobs: int) -> None:
            for number in range(jobs // 100):
                of_these = submissions(*(call(args=[100 * number + n], notify=False) for n in range(100)))
                scheduler.handle(events.Submit(0, b"", of_these, ()), now)

        submit(1000)
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        submit(10_000)
        gc.collect()
        kept = (tracemalloc.get_traced_memory()[0] - before) / 10_000
        self.assertLessEqual(kept, budget * LEEWAY)
        self.assertGreater(kept, budget / 4)


def alone(client: MemoryClient, jobs: int) -> None:
    """Calls, a request each, a hundred in what comes at a time."""
    for first in range(0, jobs, 100):
        client.feed(b"".join(b"call m:f [%d]\n" % number for number in range(first, first + 100)))


def lone(client: MemoryClient, jobs: int) -> None:
    """Calls, each when the one before has ended."""
    for number in range(jobs):
        client.feed(b"call m:f [%d]\n" % number)


def batched(client: MemoryClient, jobs: int) -> None:
    """Calls in lists of a hundred, of whose end nobody is told."""
    one = b'{"call": "m:f", "args": [%d], "notify": false}'
    for first in range(0, jobs, 100):
        client.feed(b"submit [" + b", ".join(one % number for number in range(first, first + 100)) + b"]\n")
