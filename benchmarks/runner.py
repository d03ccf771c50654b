"""
The rounds. In each, every contender does the same work once, one after the
other, and the ratios are taken within the round: what else the machine is
doing, and how warm it is, then falls on all of them alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import attrs

from benchmarks.contender import Contender, Measure, Metric, Unavailable, Work

Tell = Callable[[str], None]
"""Is told before each step what comes now."""


@attrs.frozen
class Row:
    """
    One metric of one work, ours beside one peer's.

    @ivar ours: our figure in each round.
    @ivar peers: the peer's.
    @ivar missing: why there are no figures of one of the two; empty if there are.
    """

    work: Work
    metric: Metric
    peer: Contender
    ours: Sequence[float] = ()
    peers: Sequence[float] = ()
    missing: str = ""

    @property
    def ratios(self) -> list[float]:
        """In each round, how many times as good as the peer we were."""
        return [self.metric.ratio(mine, theirs) for mine, theirs in zip(self.ours, self.peers, strict=False)]


def steps(works: Sequence[Work], rounds: int) -> int:
    """How many steps it takes to run these."""
    return sum((1 + len(work.peers)) * (1 + rounds) for work in works)


def run(work: Work, rounds: int, jobs: int, tell: Tell) -> list[Row]:
    """
    @param jobs: for each contender in each round.
    @return: a row for each peer and metric.
    @raise benchmarks.contender.Trouble: a contender did not do its work.
    """
    figures: dict[Contender, list[Sequence[float]]] = {}
    missing: dict[Contender, str] = {}
    measures: dict[Contender, Measure] = {}
    with ExitStack() as stack:
        # Ours comes last: some peers fork, which is safe only while this process has one thread.
        for contender in (*work.peers, work.ours):
            tell(f"{work.name}: {contender.name} gets ready")
            try:
                measures[contender] = stack.enter_context(contender.ready())
                figures[contender] = []
            except Unavailable as reason:
                missing[contender] = str(reason)
        for number in range(rounds):
            for contender in _turns(list(measures), number):
                tell(f"{work.name}: {contender.name}, round {number + 1} of {rounds}")
                figures[contender].append(measures[contender](jobs))
    return [
        Row(
            work,
            metric,
            peer,
            [values[place] for values in figures.get(work.ours, ())],
            [values[place] for values in figures.get(peer, ())],
            missing.get(peer) or missing.get(work.ours, ""),
        )
        for peer in work.peers
        for place, metric in enumerate(work.metrics)
    ]


def _turns(contenders: list[Contender], number: int) -> list[Contender]:
    """Another one begins in each round: none always comes after the same one."""
    first = number % len(contenders) if contenders else 0
    return contenders[first:] + contenders[:first]


def median(values: Sequence[float]) -> float | None:
    """The middle of the values, if there are any."""
    return statistics.median(values) if values else None
