"""
What the runner knows of the sides of a comparison.

A new peer is a module in C{benchmarks/peers/} with a context manager that
makes it ready (processes started, modules imported, a first job done) and
gives a L{Measure}, and a L{Contender} that names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Generic, TypeAlias, TypeVar

import attrs
import msgspec

Measure: TypeAlias = Callable[[int], Sequence["float | None"]]
"""Do so many jobs, all of them, and give a figure for each metric of the work; None where this side has none."""

Held = TypeVar("Held")


class Unavailable(Exception):
    """A contender cannot be had on this machine; the message says what is missing."""


class Trouble(Exception):
    """A contender did not do the work it was given: its figures would mean nothing."""


@attrs.frozen
class Contender:
    """
    @ivar promises: what a client may rely on, and what not: what is kept
        where, who is told of what.
    @ivar ready: makes it ready, outside of what is measured; ends it again.
        It raises L{Unavailable} where it cannot be had.
    @ivar most: how many jobs it is given in a round at most: one that is very
        slow is not waited for longer than its rate needs to be known.
    """

    name: str
    promises: str
    ready: Callable[[], AbstractContextManager[Measure]]
    most: int | None = None

    def share(self, jobs: int) -> int:
        """How many jobs it is given where the others are given C{jobs}."""
        return jobs if self.most is None else min(jobs, self.most)


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


class Metric(msgspec.Struct, frozen=True):
    """
    @ivar name: what stands over its column, with the unit.
    @ivar more_is_better: as of a rate; otherwise less is, as of a time.
    """

    name: str
    unit: str
    more_is_better: bool

    def ratio(self, ours: float, peers: float) -> float | None:
        """How many times as good as the peer we are; above 1 we are ahead. None if there is none."""
        first, second = (ours, peers) if self.more_is_better else (peers, ours)
        return first / second if second else None


RATE = Metric("rate", "jobs/s", more_is_better=True)
P50 = Metric("p50", "µs", more_is_better=False)
P99 = Metric("p99", "µs", more_is_better=False)

TIMES = (P50, P99)
"""Of jobs done one at a time, from submission to the notice of the end."""

RATE_AND_TIMES = (RATE, *TIMES)
"""Many jobs at once, then one at a time: neither can be bought with the other unseen."""


@attrs.frozen
class Work:
    """
    What each contender is given to do.

    @ivar jobs: in one round; enough to take most sides more than a second.
    @ivar quick_jobs: the same when it is only to be seen that all works.
    @ivar lacking: says what it needs and this machine does not have; empty if it has all.
    @ivar rounds: at most so many, for works that take long.
    @ivar counted: what C{jobs} counts.
    @ivar ratios: whether sides are to be compared; some only stand beside each other.
    """

    name: str
    what: str
    metrics: tuple[Metric, ...]
    jobs: int
    quick_jobs: int
    ours: Contender
    peers: tuple[Contender, ...] = ()
    lacking: Callable[[], str] = lambda: ""
    rounds: int | None = None
    counted: str = "jobs"
    ratios: bool = True


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def times(seconds: Sequence[float]) -> tuple[float, float]:
    """The figures for L{TIMES}."""
    return percentile(seconds, 50) * 1e6, percentile(seconds, 99) * 1e6


def timed(one: Callable[[int], object], count: int) -> list[float]:
    """Do jobs one at a time, numbered from 0; seconds of each."""
    seconds = []
    for number in range(count):
        began = perf_counter()
        one(number)
        seconds.append(perf_counter() - began)
    return seconds


def samples(jobs: int) -> int:
    """How many jobs are done one at a time beside so many at once."""
    return max(20, min(1000, jobs // 20))


def rate_and_times(many: Callable[[int], float], one: Callable[[int], object], warm: int = 20) -> Measure:
    """
    The measure for L{RATE_AND_TIMES}, warmed up. One at a time comes first:
    what many jobs leave to tidy up is then done while others are measured.

    @param many: does so many jobs at once and returns the seconds.
    @param one: does one job and returns when it has ended.
    """

    def measure(jobs: int) -> tuple[float, float, float]:
        p50, p99 = times(timed(one, samples(jobs)))
        return jobs / many(jobs), p50, p99

    timed(one, warm)
    many(warm)
    return measure
