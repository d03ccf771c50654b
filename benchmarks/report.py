"""How it went: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import attrs

from benchmarks.machine import Machine
from benchmarks.runner import Row, median

_HEAD = ("work", "jobd", "peer", "unit", "ratio", "spread", "the peer")
_TO_THE_LEFT = (0, 3, 6)
_MIB = 1 << 20


def machine_lines(machine: Machine) -> list[str]:
    """The machine, a fact or two in a line."""
    lines = [
        f"{machine.cores} cores, {machine.processor}, {machine.system}",
        f"jobd {machine.jobd}, {machine.python}, Twisted {machine.twisted}, SQLite {machine.sqlite}",
        f"the disk's own fsync of 4 KiB: p50 {machine.fsync_p50:,.0f} µs, p99 {machine.fsync_p99:,.0f} µs",
    ]
    if machine.load is not None:
        lines.insert(1, f"load before the run: {machine.load:.1f}")
    if machine.daemon_rss is not None and machine.all_pss is not None:
        lines.append(
            f"an idle daemon: {machine.daemon_rss / _MIB:.0f} MiB; "
            f"with its workers, {machine.processes} processes in all: {machine.all_pss / _MIB:.0f} MiB"
        )
    return lines


def table_lines(rows: Sequence[Row]) -> list[str]:
    """An aligned table; below each work what either side promises."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_align(_HEAD, widths), "  ".join("-" * width for width in widths)]
    for work, group in groupby(rows, lambda row: row.work):
        mine = list(group)
        lines += [_align(_cells(row), widths) for row in mine]
        lines.append(f"    {work.what}")
        contenders = {contender.name: contender.promises for contender in (work.ours, *(row.peer for row in mine))}
        lines += [f"    {name}: {promises}" for name, promises in contenders.items()]
        lines += sorted({f"    no comparison with {row.peer.name}: {row.missing}" for row in mine if row.missing})
    return lines


def lacking_lines(lacking: Mapping[str, str]) -> list[str]:
    """Works that were left out, those for the same reason in one line."""
    reasons: dict[str, list[str]] = {}
    for work, reason in lacking.items():
        reasons.setdefault(reason, []).append(work)
    return [f"left out: {', '.join(works)}: {reason}" for reason, works in reasons.items()]


def as_json(
    machine: Machine, rounds: int, quick: bool, rows: Sequence[Row], lacking: Mapping[str, str]
) -> dict[str, Any]:
    """Everything, with the figures of each round; C{lacking}: works that were left out, and why."""
    return {
        "machine": attrs.asdict(machine),
        "rounds": rounds,
        "quick": quick,
        "rows": [_row_as_json(row, quick) for row in rows],
        "left_out": dict(lacking),
    }


def _cells(row: Row) -> tuple[str, ...]:
    ratios = row.ratios
    return (
        f"{row.work.name} {row.metric.name}".rstrip(),
        _figure(median(row.ours)),
        _figure(median(row.peers)),
        row.metric.unit,
        f"{median(ratios):.2f}" if ratios else "-",
        f"{min(ratios):.2f}-{max(ratios):.2f}" if ratios else "-",
        row.peer.name,
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
        cell.ljust(width) if place in _TO_THE_LEFT else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()


def _row_as_json(row: Row, quick: bool) -> dict[str, Any]:
    ratios = row.ratios
    return {
        "work": row.work.name,
        "what": row.work.what,
        "metric": row.metric.name,
        "unit": row.metric.unit,
        "better": "more" if row.metric.more_is_better else "less",
        "jobs": row.work.quick_jobs if quick else row.work.jobs,
        "jobd": {"promises": row.work.ours.promises, "median": median(row.ours), "rounds": list(row.ours)},
        "peer": {
            "name": row.peer.name,
            "promises": row.peer.promises,
            "median": median(row.peers),
            "rounds": list(row.peers),
        },
        "ratio": {
            "median": median(ratios),
            "low": min(ratios, default=None),
            "high": max(ratios, default=None),
            "rounds": ratios,
        },
        "missing": row.missing or None,
    }
