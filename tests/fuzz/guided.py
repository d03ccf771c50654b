"""
The same targets by coverage: atheris changes inputs and keeps those that reach something new. It is not among what
the tests need: C{pip install atheris}.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

LONGEST = 4096
"""Bytes of an input."""


def run(name: str, seconds: float, seed: int, found: Path) -> int:
    """
    Fuzz one target in a process of its own, as atheris wants it.

    @return: 0, or 1 if something was found, which stands in the folder C{found} then.
    """
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 1
    folder = found / name
    folder.mkdir(parents=True, exist_ok=True)
    corpus = ROOT / "tests" / "fuzz" / "corpus" / name
    with tempfile.TemporaryDirectory(prefix="jobd-fuzz-") as new:
        limits = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=60"]
        where = [f"-artifact_prefix={folder}/", new, *([str(corpus)] if corpus.is_dir() else [])]
        command = [sys.executable, "-m", "tests.fuzz.guided", name, *limits, *where]
        return 1 if subprocess.run(command, cwd=ROOT, check=False).returncode else 0


def main() -> None:
    """The process of its own."""
    atheris = importlib.import_module("atheris")
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["jobd"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup(sys.argv, TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
