"""C{python -m tests.torture}: run the kill loop, then tell."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.torture import judge, report
from tests.torture.loop import Loop, Options
from tests.torture.mortal import Trouble
from tests.torture.plan import schedule


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="Kill a loaded daemon again and again, and see whether it keeps what it promises.",
    )
    parser.add_argument("--cycles", type=int, default=200, metavar="N", help="daemons that die (default: 200)")
    parser.add_argument("--jobs", type=int, default=100_000, metavar="N", help="acknowledged jobs (default: 100000)")
    parser.add_argument("--seed", type=int, metavar="N", help="what all follows from (default: a new one)")
    parser.add_argument("--clients", type=int, default=4, metavar="N", help="submitting over the wire (default: 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown to this file, too")
    parser.add_argument(
        "--folder", type=Path, help="where to work; kept (default: a new one, kept if something is wrong)"
    )
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="only judge what a run has left there")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.randrange(1_000_000)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the loop; return the exit status."""
    given = _options(arguments)
    options = Options(given.cycles, given.jobs, given.seed, given.clients)
    print(f"seed {options.seed}", flush=True)
    folder = given.judge or given.folder or Path(tempfile.mkdtemp(prefix="jobd-torture-"))
    if not given.judge:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            plan = schedule(options.seed, options.cycles, options.jobs)
            Loop(options, plan, folder, lambda line: print(line, flush=True)).run()
        except Trouble as problem:
            print(f"seed {options.seed}: {problem}; all files are in {folder}", file=sys.stderr)
            return 1
    verdict = judge.judge(judge.load(folder))
    print(report.text(options, verdict))
    for path, write in ((given.json, report.as_json), (given.markdown, report.markdown)):
        if path is not None:
            path.write_text(write(options, verdict) + "\n")
    if not report.passed(verdict):
        print(f"seed {options.seed}: something was not kept; all files are in {folder}", file=sys.stderr)
        return 1
    if not given.judge and not given.folder:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
