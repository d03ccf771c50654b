"""
Time for the daemon that does not depend on anybody's clock being set.

The reactor's own timers follow the wall clock: when that is set back by a day,
they fire a day late. A thread that sleeps on the monotonic clock has no such
trouble, and costs nothing while nothing is due.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

MANY = 1000
"""So many timers may be there, cancelled ones included, before it is looked which ones stand."""


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Do not call. Only before it has been called."""


class Clock(Protocol):
    """The part of Twisted's C{IReactorTime} that the daemon uses: in tests L{twisted.internet.task.Clock} is one."""

    def seconds(self) -> float:
        """Steady time, in seconds since nobody knows when."""

    def callLater(self, delay: float, function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Timer:
        """Call the function that many seconds from now."""


class SteadyTimer:
    """One entry of a L{SteadyClock}."""

    __slots__ = ("_call", "when")

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.when = when
        self._call: Callable[[], object] | None = call

    def __lt__(self, other: SteadyTimer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        # It stays where it is for a while, but what it would have called need not.
        self._call = None

    @property
    def stands(self) -> bool:
        """It has been neither cancelled nor called."""
        return self._call is not None

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class SteadyClock:
    """
    @param call_from_thread: calls a function in the thread that the timers belong to, as the
        reactor's C{callFromThread}.
    """

    def __init__(self, call_from_thread: Callable[..., object]) -> None:
        self._call_from_thread = call_from_thread
        self._timers: list[SteadyTimer] = []
        self._many = MANY
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="jobd clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def seconds(self) -> float:
        return time.monotonic()

    def callLater(self, delay: float, function: Callable[..., object], /, *args: Any, **kwargs: Any) -> SteadyTimer:
        timer = SteadyTimer(self.seconds() + delay, lambda: function(*args, **kwargs))
        with self._changed:
            heapq.heappush(self._timers, timer)
            if len(self._timers) > self._many:
                self._tidy()
            if self._timers[0] is timer:
                self._changed.notify()
        return timer

    def _tidy(self) -> None:
        """Timers far away that were cancelled would else stay until their time."""
        self._timers = [timer for timer in self._timers if timer.stands]
        heapq.heapify(self._timers)
        self._many = max(MANY, 2 * len(self._timers))

    def _watch(self) -> None:
        with self._changed:
            while not self._stopped:
                if not self._timers:
                    self._changed.wait()
                    continue
                left = self._timers[0].when - self.seconds()
                if left > 0:
                    self._changed.wait(min(left, threading.TIMEOUT_MAX))
                    continue
                self._call_from_thread(heapq.heappop(self._timers).fire)
