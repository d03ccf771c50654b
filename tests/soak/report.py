"""How it went: a table for people, JSON for programs, a plot for the documents."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from html import escape
from typing import Any

import attrs

import jobd
from tests.soak.judge import QUANTITIES, WARM_UP, Quantity, Verdict
from tests.soak.samples import Sample

_HEAD = ("", "early", "late", "highest", "limit", "grown by", "limit", "per 1,000 jobs", "")


def summary(samples: Sequence[Sample]) -> str:
    """The run in a line."""
    last = samples[-1]
    return f"{last.seconds / 60:.1f} minutes, {len(samples)} cycles, {last.jobs:,} jobs"


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each quantity."""
    rows = [_HEAD, *(_row(one) for one in verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cells(row, widths)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _row(verdict: Verdict) -> tuple[str, ...]:
    quantity = verdict.quantity
    name = f"{quantity.name}, {quantity.unit}" if quantity.unit else quantity.name
    return (
        name,
        _figure(verdict.first),
        _figure(verdict.last),
        _figure(verdict.highest),
        "-" if quantity.most is None else _figure(quantity.most),
        _figure(verdict.grown),
        _figure(quantity.growth),
        f"{verdict.slope.value * 1000:+.3f}",
        "good" if verdict.good else "TOO MUCH",
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def as_json(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything that was measured, and what is said of it."""
    return {
        "jobd": jobd.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "verdicts": [
            {
                "quantity": one.quantity.name,
                "unit": one.quantity.unit,
                "early": one.first,
                "late": one.last,
                "highest": one.highest,
                "most": one.quantity.most,
                "grown": one.grown,
                "growth": one.quantity.growth,
                "per_job": attrs.asdict(one.slope),
                "good": one.good,
            }
            for one in verdicts
        ],
        "samples": [attrs.asdict(sample) for sample in samples],
    }


_WIDTH, _HEIGHT, _LEFT, _GAP, _COLUMNS = 330, 110, 60, 44, 2

_POINTS = 250
"""Of a line, at most."""

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f } .axis { font-size: 10px; fill: #57606a }
  .frame { fill: none; stroke: #d0d7de } .line { fill: none; stroke: #bc4c00; stroke-width: 1.5 }
  .warm { fill: #6e7781; fill-opacity: .12 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .axis { fill: #9198a1 } .frame { stroke: #3d444d } .line { stroke: #f0883e }
  }"""


def svg(samples: Sequence[Sample]) -> str:
    """A small plot for each quantity over the minutes of the run; the warm-up is shaded."""
    rows = -(-len(QUANTITIES) // _COLUMNS)
    width = _COLUMNS * (_LEFT + _WIDTH) + 20
    height = rows * (_HEIGHT + _GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{_STYLE}</style>",
    ]
    for place, quantity in enumerate(QUANTITIES):
        left = _LEFT + (place % _COLUMNS) * (_LEFT + _WIDTH)
        top = 30 + (place // _COLUMNS) * (_HEIGHT + _GAP)
        parts += _plot(quantity, samples, left, top)
    return "\n".join([*parts, "</svg>", ""])


def _plot(quantity: Quantity, samples: Sequence[Sample], left: int, top: int) -> list[str]:
    warm = samples[int(len(samples) * WARM_UP)].seconds
    samples = samples[:: -(-len(samples) // _POINTS)]
    values = [quantity.get(sample) for sample in samples]
    # From nothing: a wave of one in a thousand shall not look like a mountain.
    highest = max(*values, 1.0) * 1.1
    longest = max(samples[-1].seconds, 1e-9)
    points = " ".join(
        f"{left + _WIDTH * sample.seconds / longest:.1f},{top + _HEIGHT * (1 - value / highest):.1f}"
        for sample, value in zip(samples, values, strict=True)
    )
    title = f"{quantity.name}, {quantity.unit}" if quantity.unit else quantity.name
    return [
        f'<rect class="warm" x="{left}" y="{top}" width="{warm / longest * _WIDTH:.1f}" height="{_HEIGHT}"/>',
        f'<rect class="frame" x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text x="{left}" y="{top - 6}">{escape(title)}</text>',
        f'<text class="axis" x="{left - 4}" y="{top + 10}" text-anchor="end">{_figure(round(highest, 1))}</text>',
        f'<text class="axis" x="{left - 4}" y="{top + _HEIGHT}" text-anchor="end">0</text>',
        f'<text class="axis" x="{left + _WIDTH}" y="{top + _HEIGHT + 12}" text-anchor="end">'
        f"{longest / 60:.1f} min</text>",
        f'<polyline class="line" points="{points}"/>',
    ]
