"""Programs that are built when they are needed, and removed when this process ends."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.contender import Trouble


def compiler(variable: str, usual: str) -> str | None:
    """The compiler that a variable of the environment names, or the usual one; None if it is not there."""
    return shutil.which(os.environ.get(variable) or usual)


@functools.cache
def built(compiler: str, source: Path, *flags: str) -> Path:
    """
    The program; built once.

    @raise Trouble: it does not compile.
    """
    folder = Path(tempfile.mkdtemp(prefix="jobd-bench-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = folder / source.stem
    # Libraries stand behind what needs them.
    command = [compiler, "-O2", str(source), "-o", str(program), *flags]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Trouble(f"{source.name} does not compile:\n{done.stderr}")
    return program
