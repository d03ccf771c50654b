"""
Runs what the documents tell a person to type: one folder and one daemon for a
document, its blocks in their order.

    ```sh run            a script; it must end with 0
    ```console run       commands behind "$ ", and under each what it prints
    ```python run        a program; it must end with 0
    ```python file=x.py  a file, for the blocks after it

In what is printed C{...} stands for anything, and blanks for any number of them.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from .markdown import ROOT, Block

PATIENCE = 120
_BLANKS = re.compile(" +")
_MARK = "--- end of a command ---"

PROGRAMS = {
    "jobctl": "-m jobd.cli",
    "python": "",
    "python3": "",
    "twistd": "-c 'import sys; sys.argv[0] = \"twistd\"; from twisted.scripts.twistd import run; run()'",
}
"""Programs that an installed jobd puts on the path, as arguments of this Python."""


def make_programs(folder: Path) -> None:
    """Put the programs of this very Python into a folder, whether jobd is installed in it or not."""
    folder.mkdir()
    for name, arguments in PROGRAMS.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        program.chmod(0o755)


def environment_for(programs: Path, home: Path, **more: str) -> dict[str, str]:
    """What a person has who has installed jobd: its programs on the path, a home, a language."""
    path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    kept = {key: value for key, value in os.environ.items() if key.startswith(("COVERAGE", "LANG", "LC_", "TMPDIR"))}
    return {**kept, "PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def run_block(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """
    Do what a block says, if it is marked.

    @raise AssertionError: it failed, or printed something else.
    """
    files = [word.partition("=")[2] for word in block.words if word.startswith("file=")]
    for name in files:
        (folder / name).write_text(block.body)
    if "run" not in block.words:
        return
    if block.words[0] == "console":
        _console(block, folder, environment)
    elif block.words[0] == "python":
        _execute([sys.executable, "-"], block.body, block, folder, environment)
    else:
        _execute(["sh", "-eu"], block.body, block, folder, environment)


def _execute(command: list[str], text: str, block: Block, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        input=text,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise AssertionError(f"{block.place} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def _console(block: Block, folder: Path, environment: dict[str, str]) -> None:
    commands: list[tuple[str, list[str]]] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    # No command reads the script's own input; its exit status outlives the mark, for a following `echo $?`.
    ends = f"(status=$?; echo '{_MARK}'; exit $status)"
    script = "".join(f"{{ {command}\n}} </dev/null; {ends}\n" for command, _ in commands)
    printed = _execute(["sh", "-c", script + "true\n"], "", block, folder, environment).split(_MARK + "\n")
    for (command, expected), actual in zip(commands, printed, strict=False):
        if not matches("\n".join(expected), actual.rstrip("\n")):
            raise AssertionError(f"{block.place}: $ {command}\nexpected:\n" + "\n".join(expected) + f"\nbut:\n{actual}")


def matches(expected: str, actual: str) -> bool:
    """Whether the text is the one printed, where C{...} stands for anything and blanks for as many as a table needs."""
    parts = [re.escape(_BLANKS.sub(" ", part)) for part in expected.split("...")]
    return re.fullmatch(".*?".join(parts), _BLANKS.sub(" ", actual), re.DOTALL) is not None
