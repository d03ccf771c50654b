"""
Run the test suite under coverage and say in the very last line how it went:
C{N passed, N failed}, with C{, N skipped} where some were.

    python tools/run_tests.py [--no-coverage] [--jobs N] [test ...]

Without names all of C{tests/} is run and the coverage of the pure core is
enforced. It ends with 0 only if nothing failed and, on Linux, nothing was
skipped: a check that did not run has shown nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PURE = [
    f"jobd/{name}.py"
    for name in (
        "actions",
        "after",
        "deadlines",
        "ended",
        "errors",
        "events",
        "far",
        "groups",
        "job",
        "options",
        "places",
        "ready",
        "scheduler",
        "selector",
        "snapshot",
        "spec",
        "subscriptions",
        "why",
        "wire",
    )
]
"""Modules without I/O: every branch of these is covered, or the run fails."""

_SUMMARY = re.compile(r"(?:PASSED|FAILED)(?: \((?P<counts>[^)]*)\))?\s*")


def run_trial(command: Sequence[str], environment: dict[str, str]) -> dict[str, int]:
    """
    Run trial, passing on what it prints.

    @return: the counts of its summary, such as C{successes} and C{failures};
        one of C{errors} if it came to no summary or ended badly without one.
    """
    counts: dict[str, int] | None = None
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if match := _SUMMARY.fullmatch(line):
                pairs = (item.split("=") for item in (match["counts"] or "").split(", ") if item)
                counts = {name: int(number) for name, number in pairs}
    if counts is None:
        return {"errors": 1}
    if process.returncode and not _failed(counts):
        counts["errors"] = 1
    return counts


def _failed(counts: dict[str, int]) -> int:
    return sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))


def report_coverage(environment: dict[str, str], enforce: bool) -> bool:
    """
    Print the coverage of the package.

    @return: whether the pure core is wholly covered, where that is enforced.
    """
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, env=environment, check=False)
    subprocess.run([*coverage, "report"], cwd=ROOT, env=environment, check=False)
    if not enforce:
        return True
    print("\nThe pure core:", flush=True)
    pure = [*coverage, "report", "--fail-under=100", "--include=" + ",".join(PURE)]
    return subprocess.run(pure, cwd=ROOT, env=environment, check=False).returncode == 0


def missing_packages() -> list[str]:
    """Folders of tests that trial would silently pass over, for want of an C{__init__.py}."""
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    return sorted(str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests named, or all; return the exit status."""
    parser = argparse.ArgumentParser(description="Run the tests of jobd.")
    parser.add_argument("--no-coverage", action="store_true", help="do not measure coverage")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="run tests in N processes at once")
    parser.add_argument("tests", nargs="*", help="test modules; all of them if none is named")
    options = parser.parse_args(arguments)

    work = Path(tempfile.mkdtemp(prefix="jobd-tests-"))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COVERAGE_FILE": str(work / "coverage")}
    measure = [] if options.no_coverage else ["-m", "coverage", "run", f"--rcfile={ROOT / 'setup.cfg'}"]
    jobs = [f"--jobs={options.jobs}"] if options.jobs else []
    trial = ["-m", "twisted.trial", f"--temp-directory={work / 'trial'}", *jobs]
    try:
        counts = run_trial([sys.executable, *measure, *trial, *(options.tests or ["tests"])], environment)
        covered = options.no_coverage or report_coverage(environment, enforce=not options.tests)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _conclude(counts, covered, [] if options.tests else missing_packages())


def _conclude(counts: dict[str, int], covered: bool, unseen: list[str]) -> int:
    passed, failed = counts.get("successes", 0), _failed(counts)
    skipped = counts.get("skips", 0) + counts.get("expectedFailures", 0)
    forbidden = skipped > 0 and sys.platform.startswith("linux")
    if not covered:
        print("\nA branch of the pure core is not covered.")
    if unseen:
        print("\nTests in folders without an __init__.py were not run: " + ", ".join(unseen))
    if forbidden:
        print("\nA test was skipped: on Linux none may be.")
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed or forbidden or unseen or not covered or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
