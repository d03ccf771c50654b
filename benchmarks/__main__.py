"""C{python -m benchmarks}: measure, then tell."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import documents, figures, floors, machine, runner
from benchmarks.contender import Trouble
from benchmarks.figures import Report
from benchmarks.report import text
from benchmarks.works import WORKS, beside, named

_BAR = 24
"""Characters of the progress bar."""


class Progress:
    """A bar on stderr, if a person is looking."""

    def __init__(self) -> None:
        self._total = 1
        self._begun = 0
        self._shown = sys.stderr.isatty()

    def expect(self, steps: int) -> None:
        """So many steps will come."""
        self._total = steps

    def tell(self, what: str) -> None:
        """The next step begins."""
        if self._shown:
            full = _BAR * min(self._begun, self._total) // self._total
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
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="WORK", help="these works, or those whose names begin so")
    add("--peers", nargs="*", metavar="PEER", help="beside these only, or those whose names contain this; beside none")
    add("--rounds", type=_positive, metavar="N", help="turns of each side (default: 5, with --quick 2)")
    add("--jobs", type=_positive, metavar="N", help="so many in a round, instead of each work's own number")
    add("--quick", action="store_true", help="few jobs: to see that it works, not how fast it is")
    add("--json", type=Path, metavar="FILE", help="write all figures to this file, too")
    add("--docs", action="store_true", help="write tables and plots into docs/, too")
    add("--read", nargs="+", type=Path, metavar="FILE", help="measure nothing: take the figures from these files")
    options = parser.parse_args(arguments)
    try:
        options.works = named(options.only)
        if options.peers is not None:
            options.works = beside(options.works, options.peers)
    except LookupError as problem:
        parser.error(problem.args[0])
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def _measured(options: argparse.Namespace, progress: Progress) -> Report:
    """
    @raise Trouble: our side did not do its work.
    """
    lacking = {work.name: reason for work in options.works if (reason := work.lacking())}
    works = [work for work in options.works if work.name not in lacking]
    progress.expect(2 + runner.steps(works, options.rounds))
    progress.tell("the machine")
    found = machine.look()
    progress.tell("what its steps take")
    steps = floors.measure(options.quick)
    report = Report(found, steps, options.rounds, options.quick, [], lacking)
    for work in works:
        jobs = options.jobs or (work.quick_jobs if options.quick else work.jobs)
        report.tables.append(runner.run(work, options.rounds, jobs, progress.tell))
        if options.json:
            # It takes long: what has been measured is not lost if the rest does not come.
            figures.write(report, options.json)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks asked for; return the exit status."""
    options = _options(arguments)
    # Daemons and servers that were started are ended on the way out, which a signal must not cut short.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress()
    try:
        report = figures.read(options.read) if options.read else _measured(options, progress)
    except Trouble as problem:
        progress.clear()
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.clear()
        return 130
    progress.clear()
    print(text(report))
    if options.json:
        figures.write(report, options.json)
    if options.docs:
        documents.write(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
