"""What the tests of the C++ client share: where things are, and what is built once and used by several of them."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

ROOT = Path(__file__).resolve().parent.parent.parent
CPP = ROOT / "cpp"
INCLUDE = CPP / "include"
EXAMPLES = ROOT / "examples"

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
PATIENCE = 600
"""Seconds for one build on a busy machine; never reached when all is well."""


class CppTestCase(TestCase):
    """Tests that need g++ and clang++, with all their sanitizers and libFuzzer."""

    timeout = 900

    def setUp(self) -> None:
        if not sys.platform.startswith("linux"):
            raise SkipTest("these compilers and their tools are together on Linux only")

    def run_program(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        text: str = "",
        code: int = 0,
        patience: float = PATIENCE,
    ) -> str:
        """Run it to its end, see that it ends with C{code}; what it printed."""
        done = run(command, environment=environment, cwd=cwd, text=text, patience=patience)
        self.assertEqual(code, done.returncode, f"{command}:\n{done.stdout}")
        return done.stdout


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str = "",
    patience: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a program with nothing of jobd's in its environment but what is given; errors and output in one."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean_environment(environment or {}),
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=patience,
    )


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "CMAKE_", "CXX"))}
    return {**mine, **more}


def must(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> str:
    """Run it and fail with what it printed if it does not end well."""
    done = run(command, environment=environment)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def all_of(commands: Sequence[Sequence[str | Path]]) -> None:
    """Run commands side by side, and fail with what those printed that did not end well."""
    running = [
        subprocess.Popen(
            [str(word) for word in command],
            env=clean_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for command in commands
    ]
    printed = [process.communicate(timeout=PATIENCE)[0] for process in running]
    bad = [text for process, text in zip(running, printed, strict=True) if process.returncode]
    if bad:
        raise AssertionError("\n".join(bad))


@functools.cache
def work() -> Path:
    """A folder for this run's builds."""
    folder = Path(tempfile.mkdtemp(prefix="jobd-cpp-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def configure(source: Path, build: Path, *options: str, compiler: str = "g++") -> str:
    """Let CMake configure a build; what it said."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    return must(["cmake", *generator, "-S", source, "-B", build, f"-DCMAKE_CXX_COMPILER={compiler}", *options])


def build(folder: Path, *targets: str) -> None:
    chosen = ["--target", *targets] if targets else []
    must(["cmake", "--build", folder, "--parallel", str(os.cpu_count() or 2), *chosen])


@functools.cache
def installed() -> Path:
    """A prefix with the package installed by CMake."""
    prefix, folder = work() / "prefix", work() / "install"
    configure(CPP, folder, "-DJOBD_BUILD_TESTS=OFF", f"-DCMAKE_INSTALL_PREFIX={prefix}")
    must(["cmake", "--install", folder])
    return prefix


@functools.cache
def examples() -> Path:
    """The folder of examples/cpp, built against the installed package."""
    folder = work() / "examples"
    configure(EXAMPLES / "cpp", folder, f"-DCMAKE_PREFIX_PATH={installed()}")
    build(folder)
    return folder


@functools.cache
def probe() -> Path:
    """The program that speaks with real daemons, TLS included."""
    folder = work() / "probe"
    configure(CPP, folder)
    build(folder, "jobd_probe")
    return folder / "tests" / "jobd_probe"
