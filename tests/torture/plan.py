"""
Which daemon dies how, and when. All of it follows from the seed; when is told in acknowledged jobs, so that on
every machine each daemon dies under load.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Point(NamedTuple):
    """
    A place in the daemon, see C{victim.py}.

    @ivar passage: at which passage from then on it dies.
    """

    name: str
    passage: int = 1


class Death(NamedTuple):
    """
    @ivar how: C{point}: by itself, at a point; C{kill}: C{kill -9} from outside; C{drain}: by itself at a point after a
        TERM; C{stop}: in good order after a TERM; C{keep}: in good order by C{drain}, and what runs is to run on;
        C{machine}: together with its workers and their jobs.
    """

    how: str
    point: Point | None = None


class Cycle(NamedTuple):
    """
    A daemon's life.

    @ivar stillborn: where daemons die before it that were to begin it.
    @ivar hurt: what happens to it on the way: C{runner}, C{call}, C{io}: such a worker is killed; C{pause}: it is
        halted for a while with all clients waiting; or nothing.
    @ivar hurt_after: so many jobs that it has acknowledged.
    @ivar dies_after: likewise, or after so many.
    @ivar bereft: which of its workers is killed after it.
    @ivar pause: seconds without a daemon after it.
    """

    stillborn: Point | None
    hurt: str
    hurt_after: int
    death: Death
    dies_after: int
    bereft: str
    pause: float


UNDER_LOAD = {
    "batch given": 10,
    "in transaction": 5,
    "syncing": 5,
    "committed": 10,
    "replying": 20,
    "replied": 10,
    "starting": 20,
    "started": 10,
    "reported": 30,
    "announcing": 30,
    "kept": 10,
}
"""The points a daemon with work to do passes, and at which passage it dies at most."""

AT_START = {"store opened": 1, "reported": 20, "batch given": 2, "committed": 2, "pool opened": 1}
WHEN_STOPPING = {"stopping": 1, "handed back": 10, "store closing": 1}

LONG = 2.5
"""Seconds: longer than any job that ends by itself."""

HOWS = ("kill", "kill", "machine", "stop", "keep")
HURTS = ("", "", "", "", "runner", "call", "io", "pause")
BEREFT = ("", "", "", "", "", "runner", "call", "io")


def schedule(seed: int, cycles: int, jobs: int) -> list[Cycle]:
    """So many lives, dealt from decks: in a run that is long enough every card comes up, and about as often."""
    draw = random.Random(seed)
    deaths = deal(draw, [*UNDER_LOAD, *(f"drain {name}" for name in WHEN_STOPPING), *HOWS])
    stillborn = deal(draw, [*AT_START, *[""] * (2 * len(AT_START))])
    hurts, bereft = deal(draw, HURTS), deal(draw, BEREFT)
    pauses = deal(draw, [0.0, 0.0, 0.0, 0.0, draw.uniform(0.2, 1), draw.uniform(0.2, 1), LONG])
    found = []
    for _ in range(cycles):
        found.append(
            Cycle(
                stillborn=_point(draw, next(stillborn), AT_START),
                hurt=next(hurts),
                hurt_after=round(jobs / cycles * draw.uniform(0.1, 0.5)),
                death=_death(draw, next(deaths)),
                dies_after=round(jobs / cycles * draw.uniform(0.5, 1.5)),
                bereft=next(bereft),
                pause=next(pauses),
            )
        )
    return found


def deal(draw: random.Random, deck: Sequence[T]) -> Iterator[T]:
    """Cards without end, one shuffled deck after the other."""
    while True:
        yield from draw.sample(deck, len(deck))


def _point(draw: random.Random, name: str, points: dict[str, int]) -> Point | None:
    return Point(name, draw.randint(1, points[name])) if name else None


def _death(draw: random.Random, card: str) -> Death:
    if card in UNDER_LOAD:
        return Death("point", _point(draw, card, UNDER_LOAD))
    if card.startswith("drain "):
        return Death("drain", _point(draw, card.removeprefix("drain "), WHEN_STOPPING))
    return Death(card)
