"""
Fresh virtual environments in a fraction of a second: what jobd depends on is
linked from the running environment, file by file, so that Twisted lies in each
of them as pip would have put it there and nothing is fetched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 300.0

_NOT_SOURCE = shutil.ignore_patterns(
    ".git",
    ".venv*",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    "_trial_temp*",
    "dropin.cache",
    ".coverage*",
)
_TWISTED_PROGRAMS = {
    "twistd": "from twisted.scripts.twistd import run; run()",
    "twist": "import sys; from twisted.application.twist._twist import Twist; sys.exit(Twist.main())",
}


def copy_source(target: Path) -> Path:
    """A copy of this project's source, for a build to write into."""
    shutil.copytree(ROOT, target, ignore=_NOT_SOURCE)
    return target


def build(source: Path, kind: str, target: Path) -> Path:
    """
    Build what a build front end would.

    @param kind: C{wheel} or C{sdist}.
    @return: the file made, in the folder C{target}.
    """
    target.mkdir(exist_ok=True)
    run([sys.executable, "-c", f"import setuptools.build_meta as b; b.build_{kind}({str(target)!r})"], cwd=source)
    return next(target.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


def requirements_of(wheel: Path) -> list[str]:
    """What the wheel says it needs, extras aside."""
    unpacked = next(wheel.parent.joinpath("unpacked").glob("*.dist-info"), None)
    if unpacked is None:
        shutil.unpack_archive(wheel, wheel.parent / "unpacked", "zip")
        unpacked = next(wheel.parent.joinpath("unpacked").glob("*.dist-info"))
    return PathDistribution(unpacked).requires or []


def closure(requirements: Iterable[str]) -> list[Distribution]:
    """The installed distributions that the requirements name, and what these need in turn."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    ahead = [(Requirement(text), "") for text in requirements]
    for requirement, extra in ahead:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                found[name] = distribution(name)
                ahead += [(Requirement(text), wanted) for text in found[name].requires or []]
    return list(found.values())


def run(command: list[str], cwd: Path) -> str:
    """
    Run a command as a person would who has nothing set up.

    @return: what it printed, errors included.
    @raise AssertionError: if it fails, with what it printed.
    """
    quiet = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "JOBD", "COV", "PIP_"))}
    done = subprocess.run(
        command, cwd=cwd, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class Environment:
    """A virtual environment with the given distributions, and setuptools to build with."""

    def __init__(self, folder: Path, distributions: Iterable[Distribution]) -> None:
        self.folder = folder
        run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
        self.programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = self.programs / ("python.exe" if sys.platform == "win32" else "python")
        paths = json.loads(run([str(self.python), "-c", _PURELIB], folder))
        self.site = Path(paths["purelib"])
        for one in distributions:
            self._link(one)

    def _link(self, one: Distribution) -> None:
        for file in one.files or []:
            if ".." in file.parts or "test" in file.parts or file.suffix == ".pyc":
                continue
            source, target = Path(str(one.locate_file(file))), self.site / file
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    target.hardlink_to(source)
                except OSError:
                    shutil.copy2(source, target)

    def pip(self, *arguments: str) -> str:
        """Run pip, which need not be in the environment, on it."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        return run([*command, *arguments], self.folder)

    def install(self, *what: str) -> str:
        """Install from files at hand alone."""
        return self.pip("install", "--no-deps", "--no-index", "--no-build-isolation", *what)

    def twisted(self, program: str, *arguments: str) -> str:
        """Run C{twistd} or C{twist}; return what it printed."""
        code = f"import sys; sys.argv[0] = {program!r}; {_TWISTED_PROGRAMS[program]}"
        return run([str(self.python), "-c", code, *arguments], self.folder)

    def program(self, name: str, *arguments: str) -> str:
        """Run a program that pip has made; return what it printed."""
        return run([str(self.programs / name), *arguments], self.folder)


_PURELIB = "import json, sysconfig; print(json.dumps(sysconfig.get_paths()))"
