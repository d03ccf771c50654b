"""
Runs a target: first what is saved, then, for a time, inputs that Hypothesis makes up. What fails is made as small as
it can be.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import attrs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.fuzz.target import Target

ROUND = 50
"""Inputs between two looks at the clock."""


@attrs.frozen
class Finding:
    """
    @ivar data: an input of which the target's claim does not hold, the smallest that was found.
    @ivar problem: what it raised.
    """

    target: Target
    data: bytes
    problem: BaseException

    @property
    def name(self) -> str:
        """What a file with this input is called."""
        return hashlib.sha256(self.data).hexdigest()[:12]

    def save(self, folder: Path) -> Path:
        """Write the input to a file in the target's part of a folder."""
        path = folder / self.target.name / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return path


def replay(target: Target) -> Finding | None:
    """The first saved input of which the claim does not hold."""
    return next((found for data in target.corpus().values() if (found := _try(target, data)) is not None), None)


def run(
    target: Target,
    seconds: float,
    seed: int,
    tell: Callable[[int], None] = lambda inputs: None,
    clock: Callable[[], float] = time.monotonic,
) -> Finding | None:
    """
    Look for an input that fails, for so long, but one round in any case. The rounds of a seed are always the same ones.

    @param tell: called after each round with the number of inputs so far.
    """
    end, rounds = clock() + seconds, 0
    while not rounds or clock() < end:
        finding = _round(target, seed * 1_000_003 + rounds)
        if finding is not None:
            return finding
        rounds += 1
        tell(rounds * ROUND)
    return None


def _round(target: Target, seed: int) -> Finding | None:
    last: list[Finding] = []

    def claim(data: bytes) -> None:
        finding = _try(target, data)
        if finding is not None:
            last[:] = [finding]
            raise finding.problem

    options = settings(
        max_examples=ROUND,
        phases=[Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        seeded(seed)(options(given(target.inputs)(claim)))()
    except Exception:
        # The last input that it tries is the smallest one.
        if not last:
            raise
    return last[0] if last else None


def _try(target: Target, data: bytes) -> Finding | None:
    try:
        target.check(data)
    except Exception as problem:
        return Finding(target, data, problem)
    return None
