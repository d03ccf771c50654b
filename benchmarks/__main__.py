"""C{python -m benchmarks}: measure, then tell."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, report, runner
from benchmarks.contender import Trouble
from benchmarks.works import WORKS, named

_BAR = 24
"""Characters of the progress bar."""


class Progress:
    """A bar on stderr, if a person is looking."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._begun = 0
        self._shown = sys.stderr.isatty()

    def tell(self, what: str) -> None:
        """The next step begins."""
        if self._shown:
            full = _BAR * self._begun // self._total
            print(f"\r\x1b[K[{'#' * full}{'.' * (_BAR - full)}] {what}", end="", file=sys.stderr, flush=True)
        self._begun += 1

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure jobd beside its peers: the same work, alternating, in one run.",
        epilog="Works: " + "; ".join(f"{work.name}, {work.what}" for work in WORKS),
    )
    parser.add_argument("--rounds", type=_rounds, metavar="N", help="turns of each side (default: 5, with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="few jobs: to see that it works, not how fast it is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file, too")
    parser.add_argument(
        "names", nargs="*", metavar="name", help="works, or how their names begin; all if none is named"
    )
    options = parser.parse_args(arguments)
    try:
        options.works = named(options.names)
    except LookupError as problem:
        parser.error(problem.args[0])
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def _rounds(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round is needed")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks asked for; return the exit status."""
    options = _options(arguments)
    lacking = {work.name: reason for work in options.works if (reason := work.lacking())}
    works = [work for work in options.works if work.name not in lacking]
    progress = Progress(1 + runner.steps(works, options.rounds))
    rows: list[runner.Row] = []
    try:
        progress.tell("the machine")
        found = machine.look(options.quick)
        for work in works:
            jobs = work.quick_jobs if options.quick else work.jobs
            rows += runner.run(work, options.rounds, jobs, progress.tell)
    except Trouble as problem:
        progress.clear()
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 1
    progress.clear()
    print("\n".join([*report.machine_lines(found), "", *report.table_lines(rows), *report.lacking_lines(lacking)]))
    if options.json:
        text = json.dumps(report.as_json(found, options.rounds, options.quick, rows, lacking), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
