"""
What the runner knows of the two sides of a comparison.

A new peer is a module with a context manager that makes it ready (processes
started, modules imported, a first job done) and gives a L{Measure}, and a
L{Contender} that names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, TypeAlias, TypeVar

import attrs

Measure: TypeAlias = Callable[[int], Sequence[float]]
"""Do so many jobs, all of them, and give a figure for each metric of the work."""


Held = TypeVar("Held")


class Unavailable(Exception):
    """A contender cannot be had on this machine; the message says what is missing."""


class Trouble(Exception):
    """A contender did not do the work it was given: its figures would mean nothing."""


@attrs.frozen
class Contender:
    """
    @ivar promises: what a client may rely on: what is kept where, who is told of what.
    @ivar ready: makes it ready, outside of what is measured; ends it again.
        It raises L{Unavailable} where it cannot be had.
    """

    name: str
    promises: str
    ready: Callable[[], AbstractContextManager[Measure]]


class Shared(Generic[Held]):
    """
    What several contenders of a work use together. The one that is ready first
    makes it and ends it: contenders end in the opposite order.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Held]]) -> None:
        self._make = make
        self._held: list[Held] = []

    @contextmanager
    def ready(self) -> Iterator[Held]:
        """It, made if it is not there."""
        if self._held:
            yield self._held[0]
            return
        with self._make() as held:
            self._held.append(held)
            try:
                yield held
            finally:
                self._held.clear()


@attrs.frozen
class Metric:
    """
    @ivar name: empty where a work has only one.
    @ivar more_is_better: as of a rate; otherwise less is, as of a time.
    """

    name: str
    unit: str
    more_is_better: bool

    def ratio(self, ours: float, peers: float) -> float:
        """How many times as good as the peer we are; above 1 we are ahead."""
        return ours / peers if self.more_is_better else peers / ours


RATE = (Metric("", "jobs/s", more_is_better=True),)
TIMES = (Metric("p50", "µs", more_is_better=False), Metric("p99", "µs", more_is_better=False))


@attrs.frozen
class Work:
    """
    What each contender is given to do.

    @ivar jobs: in one round; enough to take all sides more than a second.
    @ivar quick_jobs: the same when it is only to be seen that all works.
    @ivar lacking: says what it needs and this machine does not have; empty if it has all.
    """

    name: str
    what: str
    metrics: tuple[Metric, ...]
    jobs: int
    quick_jobs: int
    ours: Contender
    peers: tuple[Contender, ...]
    lacking: Callable[[], str] = lambda: ""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def times(seconds: Sequence[float]) -> tuple[float, float]:
    """The figures for L{TIMES}."""
    return percentile(seconds, 50) * 1e6, percentile(seconds, 99) * 1e6
