"""Somebody who only asks for a sign of life, over and over, and notes how long it takes."""

from __future__ import annotations

import threading
import time

from tests.daemon import Daemon
from tests.functional.conversation import Talk

PAUSE = 0.02
"""Seconds between two pings."""


class Bystander:
    """A connection of its own, served in a thread."""

    def __init__(self, daemon: Daemon) -> None:
        self._talk = Talk.unix(daemon)
        self._times: list[float] = []
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(PAUSE):
                begun = time.perf_counter()
                self._talk.ok("ping")
                with self._guard:
                    self._times.append(time.perf_counter() - begun)
        except BaseException as problem:
            self._problem = problem

    def take(self) -> list[float]:
        """
        Milliseconds of the pings since the last time, one at least.

        @raise AssertionError: there was no answer to one.
        """
        while True:
            with self._guard:
                if self._times:
                    times, self._times = self._times, []
                    return [one * 1000 for one in times]
            if self._problem is not None:
                raise AssertionError("the bystander had no answer") from self._problem
            time.sleep(PAUSE)

    def close(self) -> None:
        """The last ping is answered first."""
        self._stop.set()
        self._thread.join()
        self._talk.close()
