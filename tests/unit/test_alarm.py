"""Timers that do not depend on anybody's clock being set."""

from __future__ import annotations

import threading
import time
import weakref
from queue import Empty, SimpleQueue

from twisted.trial.unittest import SynchronousTestCase

from jobd.alarm import MANY, SteadyClock

PATIENCE = 120.0


class SteadyClockTests(SynchronousTestCase):
    """With this thread in the place of the reactor's."""

    def setUp(self) -> None:
        self.due: SimpleQueue[object] = SimpleQueue()
        self.clock = SteadyClock(self.due.put)
        self.clock.start()
        self.addCleanup(self.clock.stop)
        self.told: list[object] = []

    def run_next(self) -> None:
        call = self.due.get(timeout=PATIENCE)
        assert callable(call)
        call()

    def test_in_the_order_of_their_times(self) -> None:
        """Timers are called in the order of their times, whatever the order they were asked for in."""
        self.clock.callLater(0.02, self.told.append, "later")
        self.clock.callLater(0.01, self.told.append, "sooner")
        self.clock.callLater(0.0, self.told.append, "now")
        for _ in range(3):
            self.run_next()
        self.assertEqual(["now", "sooner", "later"], self.told)

    def test_not_too_soon(self) -> None:
        """No timer is called before its time."""
        begun = time.monotonic()
        self.clock.callLater(0.05, self.told.append, None)
        self.run_next()
        self.assertGreaterEqual(time.monotonic() - begun, 0.05)

    def test_arguments(self) -> None:
        """The function gets what was given for it."""
        self.clock.callLater(0.0, lambda *args, **named: self.told.append((args, named)), 1, 2, name=3)
        self.run_next()
        self.assertEqual([((1, 2), {"name": 3})], self.told)

    def test_called_in_the_right_thread(self) -> None:
        """The function is called in the thread that the timers belong to, not in the clock's."""
        self.clock.callLater(0.0, lambda: self.told.append(threading.current_thread()))
        self.run_next()
        self.assertEqual([threading.current_thread()], self.told)

    def test_cancelled(self) -> None:
        """A timer that was cancelled is not called, also when its time has come already."""
        timer = self.clock.callLater(0.0, self.told.append, "cancelled")
        call = self.due.get(timeout=PATIENCE)
        timer.cancel()
        assert callable(call)
        call()
        self.clock.callLater(0.0, self.told.append, "cancelled too").cancel()
        self.clock.callLater(0.01, self.told.append, "called")
        while not self.told:
            self.run_next()
        self.assertEqual(["called"], self.told)

    def test_holds_nothing(self) -> None:
        """A timer that was cancelled or has been called lets go of its function, though somebody may keep it."""
        for cancel in (True, False):
            owner = set[object]()
            left = weakref.ref(owner)
            timer = self.clock.callLater(1000.0 if cancel else 0.0, owner.clear)
            del owner
            if cancel:
                timer.cancel()
            else:
                self.run_next()
            self.assertIsNone(left())

    def test_many_cancelled(self) -> None:
        """Timers far away that were cancelled do not pile up; those that stand are called in their order."""
        for _ in range(10 * MANY):
            self.clock.callLater(1000.0, self.told.append, None).cancel()
        self.assertLessEqual(len(self.clock._timers), MANY + 1)
        self.clock.callLater(0.02, self.told.append, "second")
        self.clock.callLater(0.01, self.told.append, "first")
        for _ in range(2):
            self.run_next()
        self.assertEqual(["first", "second"], self.told)

    def test_it_sleeps(self) -> None:
        """A timer far away does not keep the thread busy, and does not keep it from stopping."""
        self.clock.callLater(1e12, self.told.append, None)
        self.clock.stop()
        self.assertRaises(Empty, self.due.get_nowait)

    def test_steady(self) -> None:
        """Its time is the monotonic clock's."""
        before = time.monotonic()
        self.assertTrue(before <= self.clock.seconds() <= time.monotonic())
