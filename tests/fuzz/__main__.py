"""C{python -m tests.fuzz}: fuzz for a while, say with which seed, and keep what was found."""

from __future__ import annotations

import argparse
import secrets
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import engine, guided
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Bytes nobody meant to send.")
    parser.add_argument("--seconds", type=float, default=600.0, metavar="N", help="for all targets together (600)")
    parser.add_argument("--seed", type=int, metavar="N", help="as a run before has printed it; else a new one")
    parser.add_argument("--found", type=Path, default=FOUND, metavar="DIR", help=f"where to save what fails ({FOUND})")
    parser.add_argument("--guided", action="store_true", help="by coverage; needs atheris (pip install atheris)")
    parser.add_argument("targets", nargs="*", metavar="target", help="of " + ", ".join(TARGETS) + "; all if none")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown:
        parser.error(f"there is no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    return options


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _fuzz(target: Target, seconds: float, seed: int, found: Path) -> bool:
    """Whether nothing was found."""
    count = [0]

    def tell(inputs: int) -> None:
        count[0] = inputs
        _tell(f"{target.name}: {inputs} inputs")

    finding = engine.replay(target) or engine.run(target, seconds, seed, tell)
    _tell("")
    saved = len(target.corpus())
    if finding is None:
        print(f"{target.name}: {saved} saved inputs and {count[0]} new ones, nothing found", flush=True)
        return True
    path = finding.save(found)
    print(f"{target.name}: FOUND after {count[0]} inputs, seed {seed}, saved as {path}: {finding.data[:500]!r}")
    print("".join(traceback.format_exception(finding.problem)), flush=True)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz what was asked for; return the exit status."""
    options = _options(arguments)
    targets = [TARGETS[name] for name in options.targets or TARGETS]
    seed = options.seed if options.seed is not None else secrets.randbelow(1 << 32)
    share = options.seconds / len(targets)
    print(f"seed {seed}, {share:.0f} s for each of {len(targets)} targets", flush=True)
    if options.guided:
        return max(guided.run(target.name, share, seed, options.found) for target in targets)
    good = [_fuzz(target, share, seed, options.found) for target in targets]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
