"""A claim about any bytes, and what such claims are made of."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import attrs
from hypothesis.strategies import SearchStrategy
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

CORPUS = Path(__file__).parent / "corpus"


@attrs.frozen
class Target:
    """
    @ivar check: raises for bytes of which the claim does not hold; what it raises is the finding.
    @ivar inputs: bytes as something that reads them would like to have them, and not quite so.
    """

    name: str
    check: Callable[[bytes], None]
    inputs: SearchStrategy[bytes]

    def corpus(self) -> dict[str, bytes]:
        """What is tried first, by name."""
        return corpus(self.name)


def corpus(name: str) -> dict[str, bytes]:
    """The saved inputs of a target."""
    folder = CORPUS / name
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def cuts(data: bytes) -> list[list[bytes]]:
    """
    The same bytes in one piece, in single bytes if they are not too many, and twice in pieces: always the same ones
    for the same bytes, so that a saved input says all.
    """
    random = Random(zlib.crc32(data))
    ways = [[data]]
    if len(data) <= 2000:
        ways.append([data[place : place + 1] for place in range(len(data))])
    for count in (3, 12):
        places = sorted(random.randrange(len(data) + 1) for _ in range(count))
        ways.append([data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)])
    return ways


def same(results: Sequence[object]) -> None:
    """However the bytes came, what was made of them is the same."""
    for other in results[1:]:
        if other != results[0]:
            raise AssertionError(f"it matters where the bytes are cut: {_in_short(results[0])}\nor {_in_short(other)}")


def _in_short(result: object) -> str:
    shown = repr(result)
    return shown if len(shown) < 2000 else f"{shown[:1000]} ... {shown[-1000:]}"


@contextlib.contextmanager
def nothing_logged() -> Iterator[None]:
    """Nothing that went wrong inside is caught and logged with a traceback."""
    failures: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    if failures:
        raise AssertionError("a failure was logged: " + failures[0])
