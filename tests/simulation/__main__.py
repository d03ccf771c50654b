"""C{python -m tests.simulation}: many walks, each with a seed of its own."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from twisted.logger import globalLogBeginner

from .run import STEPS, Visits, simulate

_BAR = 24
"""Characters of the progress bar."""


class Progress:
    """A bar on stderr, if a person is looking."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = sys.stderr.isatty()

    def tell(self, done: int, failed: int) -> None:
        if self._shown:
            full = _BAR * done // self._total
            text = f"{done} of {self._total} walks, {failed} failed"
            print(f"\r\x1b[K[{'#' * full}{'.' * (_BAR - full)}] {text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Walk the whole daemon through what can go wrong, in virtual time. A walk replays from its seed.",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the first walk; the next ones follow (default: any)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"of each walk (default: {STEPS})")
    parser.add_argument("--runs", type=int, metavar="N", help="walks (default: 1 with --seed, else 200)")
    options = parser.parse_args(arguments)
    options.runs = options.runs or (200 if options.seed is None else 1)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**9)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 if all that was promised held in all walks."""
    options = _options(arguments)
    # Daemons that die in the middle of everything have a lot to say.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    progress, visits, failed = Progress(options.runs), Visits(), 0
    for run in range(options.runs):
        progress.tell(run, failed)
        seed = options.seed + run
        try:
            world = simulate(seed, options.steps)
        except AssertionError as problem:
            failed += 1
            progress.clear()
            print(f"seed {seed}: {problem}\nreplay: {_replay(seed, options.steps)}\n", flush=True)
            continue
        visits.add(world)
        if options.runs == 1:
            print(f"seed {seed}: {world.story.lines} lines, digest {world.story.digest}")
    progress.clear()
    _report(options, visits, failed)
    return int(failed > 0)


def _replay(seed: int, steps: int) -> str:
    return f"python -m tests.simulation --seed {seed}" + (f" --steps {steps}" if steps != STEPS else "")


def _report(options: argparse.Namespace, visits: Visits, failed: int) -> None:
    last = options.seed + options.runs - 1
    kinds = visits.kinds
    jobs = sum(count for kind, count in kinds.items() if kind.startswith("ended ") and "no daemon" not in kind)
    daemons = kinds["started"] + kinds["started on running jobs"]
    print(f"seeds {options.seed} to {last}, {options.steps} steps each: {options.runs} walks, {failed} failed")
    print(f"{jobs} ends of jobs told, {daemons} daemons, {kinds['started on running jobs']} of them found jobs running")
    if not failed:
        rare = visits.rare(1)
        print("never met: " + ", ".join(rare) if rare else "every state, every step between two, every fault was met")


if __name__ == "__main__":
    sys.exit(main())
