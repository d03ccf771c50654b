"""
The rounds. In each, every contender does the same work once, one after the
other, and the ratios are taken within the round: what else the machine is
doing, and how warm it is, then falls on all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks.contender import Contender, Measure, Trouble, Unavailable, Work
from benchmarks.figures import Side, Table

Tell = Callable[[str], None]
"""Is told before each step what comes now."""


def rounds_of(work: Work, rounds: int) -> int:
    """How many rounds this work has where so many are asked for."""
    return rounds if work.rounds is None else min(rounds, work.rounds)


def steps(works: Sequence[Work], rounds: int) -> int:
    """How many steps it takes to run these, at most."""
    return sum((1 + len(work.peers)) * (1 + rounds_of(work, rounds)) for work in works)


def run(work: Work, rounds: int, jobs: int, tell: Tell) -> Table:
    """
    @param jobs: for each contender in each round.
    @return: all figures. A peer that cannot be had, or that fails at its
        work, has none but a reason.
    @raise benchmarks.contender.Trouble: our side did not do its work.
    """
    measures: dict[Contender, Measure] = {}
    figures: dict[Contender, list[list[float | None]]] = {}
    missing: dict[Contender, str] = {}
    with ExitStack() as stack:
        for contender in (*work.peers, work.ours):
            tell(f"{work.name}: {contender.name} gets ready")
            with _Excused(contender, work, missing):
                measures[contender] = stack.enter_context(contender.ready())
        for number in range(rounds_of(work, rounds)):
            for contender in _turns(list(measures), number):
                tell(f"{work.name}: {contender.name}, round {number + 1} of {rounds_of(work, rounds)}")
                with _Excused(contender, work, missing):
                    figures.setdefault(contender, []).append([*measures[contender](contender.share(jobs))])
                if contender in missing:
                    del measures[contender]

    def side(contender: Contender) -> Side:
        reason = missing.get(contender, "")
        found = [] if reason else figures.get(contender, [])
        return Side(contender.name, contender.promises, contender.share(jobs), found, reason)

    sides = [side(peer) for peer in work.peers]
    return Table(work.name, work.what, work.counted, [*work.metrics], side(work.ours), sides, work.ratios)


class _Excused:
    """Writes down why a contender has no figures, and lets the others go on; but not without ours."""

    def __init__(self, contender: Contender, work: Work, missing: dict[Contender, str]) -> None:
        self._contender, self._ours, self._missing = contender, contender is work.ours, missing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> bool:
        if isinstance(problem, Unavailable):
            self._missing[self._contender] = str(problem)
            return True
        if isinstance(problem, Trouble) and not self._ours:
            self._missing[self._contender] = f"it did not do the work: {problem}"
            return True
        return False


def _turns(contenders: list[Contender], number: int) -> list[Contender]:
    """Another one begins in each round: none always comes after the same one."""
    first = number % len(contenders) if contenders else 0
    return contenders[first:] + contenders[:first]
