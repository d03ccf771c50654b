"""The headers compile without a warning, and their tests pass under every sanitizer and fuzzer."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from .building import CPP, INCLUDE, WARNINGS, CppTestCase, all_of, build, configure, work

COMPILERS = ("g++", "clang++")
STANDARDS = ("17", "20", "2b")
FUZZERS = ("json", "lines")
FUZZED_FOR = min(500, int(os.environ.get("JOBD_FUZZ_SECONDS", "8")))
"""Seconds for each fuzzer, on top of running its whole corpus; C{make fuzz} gives them more."""


def headers() -> list[Path]:
    return sorted((INCLUDE / "jobd").glob("*.hpp"))


class WarningTests(CppTestCase):
    """C{-Wall -Wextra -Wconversion -Wshadow -Werror}"""

    def test_everything_with_every_compiler_and_standard(self) -> None:
        """All headers and a program that uses them compile without a warning, with TLS and without."""
        everything = work() / "everything.cpp"
        names = [*headers(), CPP / "tests" / "test_client.cpp"]
        everything.write_text("".join(f'#include "{name}"\n' for name in names))
        commands: list[list[str | Path]] = []
        for (number, compiler), standard in itertools.product(enumerate(COMPILERS), STANDARDS):
            tls = ["-DJOBD_WITH_OPENSSL"] if (number + STANDARDS.index(standard)) % 2 else []
            output = work() / f"{compiler}-{standard}.o"
            options = [f"-std=c++{standard}", *WARNINGS, *tls, f"-I{INCLUDE}", f"-I{CPP / 'tests'}"]
            commands.append([compiler, *options, "-c", everything, "-o", output])
        for pair in zip(commands[::2], commands[1::2], strict=True):
            all_of(pair)

    def test_each_header_alone(self) -> None:
        """Each header can be included first."""
        alone = "-Wno-pragma-once-outside-header"
        command = ["clang++", "-std=c++17", "-fsyntax-only", *WARNINGS, alone, f"-I{INCLUDE}", "-x", "c++"]
        all_of([[*command, *headers()[::2]], [*command, *headers()[1::2]]])


class SanitizerTests(CppTestCase):
    """The tests of the headers, with the tools that see what a passing test does not."""

    def sanitized(self, name: str, flags: str, standard: str) -> str:
        folder = work() / name
        configure(CPP, folder, f"-DCMAKE_CXX_FLAGS={flags}", f"-DCMAKE_CXX_STANDARD={standard}", compiler="clang++")
        build(folder, "jobd_tests")
        return self.run_program([folder / "tests" / "jobd_tests"], patience=300)

    def test_address_and_undefined(self) -> None:
        """No test touches memory it must not, leaks, or does what C++ leaves undefined."""
        flags = "-g -fsanitize=address,undefined -fno-sanitize-recover=all"
        self.assertIn(" 0 failed", self.sanitized("asan", flags, "20"))

    def test_thread(self) -> None:
        """No test has a race between threads."""
        self.assertIn(" 0 failed", self.sanitized("tsan", "-g -fsanitize=thread", "17"))


class FuzzTests(CppTestCase):
    """libFuzzer, from a saved corpus, for a short time; whoever changes a reader runs it for longer."""

    def test_readers(self) -> None:
        """The readers of JSON and of lines take whatever comes: a value, an event, or a clear error."""
        source = CPP / "tests" / "fuzz"
        sanitize = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
        flags = ["-std=c++17", "-g", *sanitize, f"-I{INCLUDE}"]
        all_of([["clang++", *flags, source / f"fuzz_{name}.cpp", "-o", work() / f"fuzz_{name}"] for name in FUZZERS])
        commands: list[list[str | Path]] = []
        for name in FUZZERS:
            found = work() / f"found_{name}"
            found.mkdir()
            limits = [f"-max_total_time={FUZZED_FOR}", "-max_len=1000", "-timeout=20", "-verbosity=0"]
            artifacts = f"-artifact_prefix={work()}/"
            words = f"-dict={source / f'{name}.dict'}"
            commands.append([work() / f"fuzz_{name}", *limits, artifacts, words, found, source / "corpus" / name])
        all_of(commands)
