"""C{python -m tests.soak}: load a daemon, and say whether anything has grown."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.soak import judge, report
from tests.soak.run import soak
from tests.soak.samples import Sample


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Load a daemon; see whether it grows.")
    parser.add_argument("--minutes", type=float, default=20.0, metavar="N", help="for so long (20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured to this file")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it into this file")
    return parser.parse_args(arguments)


def _tell(sample: Sample) -> None:
    if sys.stderr.isatty():
        memory = sample.daemon_memory / judge.MIB
        text = f"{sample.seconds / 60:.1f} min, {sample.jobs:,} jobs, {memory:.0f} MiB, ping {sample.ping:.1f} ms"
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak for as long as was asked for; return the exit status."""
    options = _options(arguments)
    samples = soak(options.minutes * 60, _tell)
    verdicts = judge.judge(samples)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print("\n".join([report.summary(samples), "", *report.table(verdicts)]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(samples, verdicts), indent=1) + "\n", encoding="utf-8")
    if options.svg:
        options.svg.write_text(report.svg(samples), encoding="utf-8")
    return 0 if all(one.good for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
