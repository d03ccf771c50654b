"""Functions that tests have called in workers."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Weird(Exception):
    """An exception that can be pickled, but not unpickled."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("weird")


def square(number: int) -> int:
    return number * number


def add(first: int, second: int) -> int:
    return first + second


def fail(text: str) -> None:
    raise LookupError(text)


def fail_weirdly() -> None:
    raise Weird(1, 2)


def leave(code: int) -> None:
    os._exit(code)


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_for(path: str) -> str:
    """Return once a file is there."""
    while not Path(path).exists():
        time.sleep(0.01)
    return path


def unpicklable() -> object:
    return lambda: None


class Greeter:
    """Something with state, whose methods can be called."""

    def __init__(self, word: str) -> None:
        self.word = word

    def greet(self, name: str) -> str:
        return f"{self.word} {name}"
