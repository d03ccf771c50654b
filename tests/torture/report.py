"""The verdict as a table for people, for a document, and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.torture.judge import Verdict
from tests.torture.loop import Options

ZERO = (
    "acknowledged and lost",
    "double runs of one attempt",
    "overlaps",
    "notifications missing",
    "notifications duplicated",
    "orphans",
    "zombies",
)
"""What the promises are about."""


def passed(verdict: Verdict) -> bool:
    return not verdict.problems and not any(verdict.counts[name] for name in ZERO)


def rows(options: Options, verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Names and figures."""
    yield "seed", str(options.seed)
    yield "cycles", f"{options.cycles:,}"
    for name, value in verdict.counts.items():
        yield name, f"{value:.1f} s" if name == "slowest recovery" else f"{value:,}"
        if name == "re-executions":
            for cause, count in sorted(verdict.causes.items()):
                yield f"because {cause}", f"{count:,}"


def text(options: Options, verdict: Verdict) -> str:
    """For a terminal."""
    lines = [f"{name:45} {value:>12}" for name, value in rows(options, verdict)]
    lines += [f"NOT KEPT: {problem}" for problem in verdict.problems]
    return "\n".join(lines)


def markdown(options: Options, verdict: Verdict) -> str:
    """For docs/reliability.md."""
    lines = ["| | |", "| --- | ---: |"]
    for name, value in rows(options, verdict):
        lines.append(f"| **{name}** | **{value}** |" if name in ZERO else f"| {name} | {value} |")
    return "\n".join(lines)


def as_json(options: Options, verdict: Verdict) -> str:
    """For programs."""
    found: dict[str, Any] = {
        **options._asdict(),
        "passed": passed(verdict),
        "counts": verdict.counts,
        "causes": dict(verdict.causes),
        "problems": verdict.problems,
    }
    return json.dumps(found, indent=2)
