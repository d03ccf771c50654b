"""
Plots as SVG: bars, written by hand, whose colours can be read on light and on
dark paper. The axis is logarithmic: the sides differ by factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import attrs

from benchmarks.figures import Report, Table

_WIDTH, _LEFT, _RIGHT = 760, 230, 90
_TOP, _BAR, _STEP, _BOTTOM = 44, 16, 24, 34

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px } .axis { font-size: 11px; fill: #57606a }
  .grid { stroke: #d0d7de } .ours { fill: #bc4c00 } .peer { fill: #6e7781 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .axis { fill: #9198a1 } .grid { stroke: #3d444d }
    .ours { fill: #f0883e } .peer { fill: #8b949e }
  }"""


@attrs.frozen
class Chart:
    """
    One metric of one or more works.

    @ivar name: of the file, without C{.svg}.
    @ivar works: the works and how our side of each is called here; a peer is
        shown as it was measured in the first that has it.
    """

    name: str
    title: str
    metric: str
    works: tuple[tuple[str, str], ...]


CHARTS = (
    Chart("speed-calls", "Calls that do nothing, a second", "rate", (
        ("calls-durable", "jobd, on disk"), ("calls-memory", "jobd, in memory"))),
    Chart("speed-latency", "One call from submission to notice, µs (p50)", "p50", (
        ("calls-durable", "jobd, on disk"), ("calls-memory", "jobd, in memory"))),
    Chart("speed-commands", "Commands that do nothing, a second", "rate", (("commands", "jobd, on disk"),)),
    Chart("speed-map", "Executor.map, calls a second", "rate", (
        ("map-durable", "jobd, on disk"), ("map-memory", "jobd, in memory"))),
)  # fmt: skip


@attrs.frozen
class Bar:
    """One side: the median of its rounds, the lowest and the highest of them."""

    name: str
    value: float
    low: float
    high: float
    ours: bool


def draw(report: Report, folder: Path) -> list[Path]:
    """Write every chart of which something was measured; return the files."""
    written = []
    for chart in CHARTS:
        found = bars(report, chart)
        if found:
            path = folder / f"{chart.name}.svg"
            path.write_text(svg(chart.title, found), encoding="utf-8")
            written.append(path)
    return written


def bars(report: Report, chart: Chart) -> list[Bar]:
    """The sides of a chart, the best first."""
    found: dict[str, Bar] = {}
    sign = 1
    for work, ours in chart.works:
        table = report.table(work)
        if table is None:
            continue
        place = table.place(chart.metric)
        sign = -1 if table.metrics[place].more_is_better else 1
        for name, figures, mine in _sides(table, ours, place):
            if figures and min(figures) > 0:
                middle = sorted(figures)[len(figures) // 2]
                found.setdefault(name, Bar(name, middle, min(figures), max(figures), mine))
    return sorted(found.values(), key=lambda bar: sign * bar.value)


def _sides(table: Table, ours: str, place: int) -> list[tuple[str, list[float], bool]]:
    peers = [(peer.name, peer.figures(place), False) for peer in table.peers]
    return [(ours, table.ours.figures(place), True), *peers]


def svg(title: str, found: Sequence[Bar]) -> str:
    """
    @param found: at least one bar, all above 0.
    """
    first = math.floor(math.log10(min(bar.low for bar in found)))
    last = math.ceil(math.log10(max(bar.high for bar in found)))
    first, last = min(first, last - 1), last

    def across(value: float) -> float:
        share = (math.log10(value) - first) / (last - first)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    bottom = _TOP + _STEP * len(found)
    height = bottom + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}\n</style>",
        f'<text class="title" x="12" y="24">{escape(title)}</text>',
    ]
    for power in range(first, last + 1):
        x = across(10.0**power)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{10**power:,g}</text>')
    for row, bar in enumerate(found):
        parts += _bar(bar, _TOP + row * _STEP, across)
    note = "median of the rounds, the thin line from the lowest to the highest; logarithmic"
    parts.append(f'<text class="axis" x="{_WIDTH - 12}" y="24" text-anchor="end">{note}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _bar(bar: Bar, y: int, across: Callable[[float], float]) -> list[str]:
    end, low, high = across(bar.value), across(bar.low), across(bar.high)
    middle = y + _BAR / 2
    kind = "ours" if bar.ours else "peer"
    return [
        f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{max(end - _LEFT, 1):.1f}" height="{_BAR}" rx="2"/>',
        f'<line class="grid" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke-width="3"/>',
        f'<text x="{max(end, high) + 6:.1f}" y="{y + 13}">{bar.value:,.0f}</text>',
    ]
