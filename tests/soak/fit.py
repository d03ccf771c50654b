"""How much a quantity grows, in spite of noise: the median of the slopes between all points (Theil and Sen)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import attrs

Z = 2.326
"""Standard deviations: growth is claimed only where chance would show it once in a hundred times."""


@attrs.frozen
class Slope:
    """
    Growth for each unit of x.

    @ivar value: the best guess.
    @ivar low: it is at least this, with 99 % confidence, if the points are independent.
    @ivar high: it is at most this, likewise.
    """

    value: float
    low: float
    high: float


def theil_sen(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """
    The slope of a line through the points. A third of them may be far off without doing harm.

    @raise ValueError: there are not two points with different x.
    """
    slopes = sorted((ys[j] - ys[i]) / (xs[j] - xs[i]) for j in range(len(xs)) for i in range(j) if xs[j] != xs[i])
    if not slopes:
        raise ValueError("a slope needs two points")
    count = len(xs)
    # Kendall's: how many of the pairs chance may turn round.
    spread = Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    off = max(0, round((len(slopes) - spread) / 2))
    return Slope(median(slopes), slopes[off], slopes[-1 - off])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of all values is, from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
