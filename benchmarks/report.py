"""How it went, in words and tables: aligned for a terminal, in Markdown for a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.contender import RATE
from benchmarks.figures import Floor, Machine, Report, Side, Table, median
from benchmarks.goals import GOALS, Goal

_MIB = 1 << 20
_HEAD = "side"
_STAGES = (
    "µs of processor time for each job, many at once, by the system's account of each of our processes; beside them "
    "the p50, on the clock, of the step that this part cannot do without. A commit with its sync is shared by a batch."
)

Grid = Sequence[Sequence[str]]
"""Rows of cells; the first row is the head, the first column holds names."""


def text(report: Report) -> str:
    """All of it, for a terminal."""
    parts = ["\n".join(machine_lines(report.machine))]
    if report.floors:
        parts.append("The machine's own, in µs:\n" + aligned(_floors(report.floors)))
    for table in report.tables:
        promises = [f"    {side.name}: {_words(side)}" for side in (table.ours, *table.peers)]
        parts.append("\n".join([f"{table.work}: {_what(table)}", aligned(_grid(table)), *promises]))
    reached = _goals(report)
    if len(reached) > 1 and not report.quick:
        parts.append(aligned(reached))
    parts += lacking_lines(report.left_out)
    return "\n\n".join(parts)


def markdown(report: Report) -> str:
    """All of it, as a part of a document."""
    parts = ["\n".join(f"* {line}" for line in machine_lines(report.machine))]
    if report.quick:
        parts.append("**A quick run: that it works is all these figures say.**")
    reached = _goals(report)
    if len(reached) > 1 and not report.quick:
        parts += ["### Goals", pipes(reached)]
    if report.floors:
        parts += ["### The machine itself", "In µs, of a thousand each.", pipes(_floors(report.floors))]
    stages = _stages(report)
    if stages:
        parts += ["### Where a job's microseconds go", _STAGES, pipes(stages)]
    for table in report.tables:
        rows = [(*row, _words(side)) for row, side in zip(_grid(table)[1:], (table.ours, *table.peers), strict=True)]
        grid = [(*_grid(table)[0], "what it promises, and what not"), *rows]
        parts += [f"### `{table.work}`", f"{_what(table)}.", pipes(grid)]
    parts += [f"* {line}" for line in lacking_lines(report.left_out)]
    return "\n\n".join(parts) + "\n"


def machine_lines(machine: Machine) -> list[str]:
    """The machine, a fact or two in a line."""
    lines = [
        f"{machine.cores} cores, {machine.processor}, {machine.system}",
        f"jobd {machine.jobd}, {machine.python}, Twisted {machine.twisted}, SQLite {machine.sqlite}",
    ]
    if machine.load is not None:
        lines.append(f"load before the run: {machine.load:.1f}")
    if machine.daemon_rss is not None and machine.all_pss is not None:
        lines.append(
            f"an idle daemon: {machine.daemon_rss / _MIB:.0f} MiB; "
            f"with its workers, {machine.processes} processes in all: {machine.all_pss / _MIB:.0f} MiB"
        )
    return lines


def lacking_lines(lacking: Mapping[str, str]) -> list[str]:
    """Works that were left out, those for the same reason in one line."""
    reasons: dict[str, list[str]] = {}
    for work, reason in lacking.items():
        reasons.setdefault(reason, []).append(work)
    return [f"left out: {', '.join(works)}: {reason}" for reason, works in reasons.items()]


def aligned(grid: Grid) -> str:
    """Columns of equal width: figures to the right, words to the left."""
    columns = [list(column) for column in zip(*grid, strict=True)]
    justified = [_justified(column) for column in columns]
    return "\n".join("  " + "  ".join(row).rstrip() for row in zip(*justified, strict=True))


def _justified(column: Sequence[str]) -> list[str]:
    width = max(map(len, column))
    words = any(cell[:1].isalpha() for cell in column[1:])
    return [cell.ljust(width) if words else cell.rjust(width) for cell in column]


def pipes(grid: Grid) -> str:
    """A Markdown table."""
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in grid)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def figure(value: float | None) -> str:
    """A figure with as many digits as say something."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else "0"


def _what(table: Table) -> str:
    rounds = len(table.ours.rounds)
    return f"{table.what}; {table.ours.jobs:,} {table.counted}, {'once' if rounds == 1 else f'{rounds} rounds'}"


def _words(side: Side) -> str:
    return f"no figures: {side.missing}" if side.missing else side.promises


def _grid(table: Table) -> list[tuple[str, ...]]:
    """A row for each side; beside each figure of a peer how many times as good as it we were."""
    head = [_HEAD]
    for place, metric in enumerate(table.metrics):
        head.append(f"{metric.name}, {metric.unit}" if metric.unit else metric.name)
        if _compared(table, place):
            head.append("ratio (spread)")
    return [tuple(head), *(tuple(_cells(table, side)) for side in (table.ours, *table.peers))]


def _cells(table: Table, side: Side) -> Iterable[str]:
    fewer = side.jobs != table.ours.jobs and not side.missing
    yield f"{side.name} ({side.jobs:,} {table.counted})" if fewer else side.name
    for place in range(len(table.metrics)):
        yield figure(side.median(place))
        if _compared(table, place):
            yield "" if side is table.ours else _spread(table.ratios(side, place))


def _compared(table: Table, place: int) -> bool:
    """Whether ratios are shown for this metric."""
    return table.compared and any(peer.figures(place) or peer.missing for peer in table.peers)


def _spread(ratios: Sequence[float]) -> str:
    middle = median(ratios)
    return "-" if middle is None else f"{middle:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _floors(floors: Sequence[Floor]) -> list[tuple[str, ...]]:
    rows = [(floor.name, f"{floor.p50:,.1f}", f"{floor.p99:,.1f}", floor.what) for floor in floors]
    return [("step", "p50", "p99", "what was done"), *rows]


def _stages(report: Report) -> list[tuple[str, ...]]:
    """The parts of jobd on a job's way, each with what the machine takes for the step it cannot do without."""
    table = report.table("stages")
    if table is None:
        return []

    def floor(name: str) -> str:
        found = report.floor(name)
        return f"{name} {figure(found.p50)}" if found else ""

    steps = {"client": floor("unix"), "store": floor("fsync"), "workers": f"{floor('pipe')}; {floor('spawn')}"}
    sides = (table.ours, *table.peers)
    rows = [
        (metric.name, *(figure(side.median(place)) for side in sides), steps.get(metric.name, ""))
        for place, metric in enumerate(table.metrics)
        if metric.name != RATE.name
    ]
    return [("part", *(side.name for side in sides), "the machine's own step"), *rows]


def _goals(report: Report) -> list[tuple[str, ...]]:
    rows = [(goal.work, goal.text, *_verdict(goal, report)) for goal in GOALS if report.table(goal.work)]
    return [("work", "goal", "measured", "reached"), *rows]


def _verdict(goal: Goal, report: Report) -> tuple[str, str]:
    value = goal.measured(report)
    return ("-", "not measured") if value is None else (f"{value:.3g}", "yes" if goal.reached(value) else "**no**")
