"""
What the kill loop writes down, each party for itself: lines of words, and in a
client's record a word that says what the line is. Times are nanoseconds of
the monotonic clock, which all processes of a machine share.

    witness     NAME JOB-ID ATTEMPT PID start|end|overlap TIME STATUS     (id and attempt 0 where a job cannot know)
    client      sent NAME KIND KEYED ATTEMPTS TIME
                acked NAME JOB-ID TIME
                refused NAME CODE TIME
                unknown NAME TIME                       the connection broke before the reply
                cancelled JOB-ID TIME                   the daemon said that it will be
                asked CONNECTION JOB-ID                 for a finish event, by a submission or a C{wait}
                event CONNECTION CURSOR JOB-ID STATE TIME JSON
    faults      KIND BEGAN OVER                         what was done to the daemon and its workers
    looks       TIME PID JOB-ID ATTEMPT                 a job's process that was seen alive
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

T = TypeVar("T")


class Witnessed(NamedTuple):
    name: str
    job_id: int
    attempt: int
    pid: int
    what: str
    at: int
    status: int


class Sent(NamedTuple):
    name: str
    kind: str
    keyed: bool
    attempts: int
    at: int


class Acked(NamedTuple):
    name: str
    job_id: int
    at: int


class Refused(NamedTuple):
    name: str
    code: str
    at: int


class Unknown(NamedTuple):
    name: str
    at: int


class Cancelled(NamedTuple):
    job_id: int
    at: int


class Asked(NamedTuple):
    connection: int
    job_id: int


class Told(NamedTuple):
    """A finish event."""

    connection: int
    cursor: int
    job_id: int
    state: str
    at: int
    json: str

    @property
    def outcome(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.json)
        return found


class Fault(NamedTuple):
    kind: str
    began: int
    over: int


class Look(NamedTuple):
    at: int
    pid: int
    job_id: int
    attempt: int


Record = Sent | Acked | Refused | Unknown | Cancelled | Asked | Told
_WORDS = {Sent: "sent", Acked: "acked", Refused: "refused", Unknown: "unknown", Cancelled: "cancelled"}
_WORDS |= {Asked: "asked", Told: "event"}
_READ: dict[type, Callable[[str], Any]] = {str: str, int: int, bool: lambda word: word == "1"}
_READERS = {
    type_: [_READ[kind] for kind in get_type_hints(type_).values()] for type_ in (*_WORDS, Witnessed, Fault, Look)
}
_TYPES = {word: type_ for type_, word in _WORDS.items()}


def now() -> int:
    return time.monotonic_ns()


class Book:
    """A client's record. What was L{kept} is on disk."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lines: list[str] = []

    def note(self, record: Record) -> None:
        self._lines.append(f"{_WORDS[type(record)]} {words(record)}\n")

    def keep(self) -> None:
        if self._lines:
            os.write(self._handle, "".join(self._lines).encode())
            os.fsync(self._handle)
            self._lines = []

    def close(self) -> None:
        os.close(self._handle)


def words(record: tuple[Any, ...]) -> str:
    """A record as a line without its end."""
    return " ".join(str(int(word)) if isinstance(word, bool) else str(word) for word in record)


def write(path: Path, record: tuple[Any, ...]) -> None:
    """Append one record of the kinds that need no word."""
    with path.open("a") as file:
        file.write(words(record) + "\n")


def read_book(path: Path) -> Iterator[Record]:
    for line in path.read_text().split("\n")[:-1]:
        word, _, rest = line.partition(" ")
        yield _from_words(_TYPES[word], rest)


def read(path: Path, type_: type[T]) -> list[T]:
    """All records of a file that holds only one kind; none if there is no file."""
    return [_from_words(type_, line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def _from_words(type_: type[Any], line: str) -> Any:
    readers = _READERS[type_]
    return type_(*(read(word) for read, word in zip(readers, line.split(" ", len(readers) - 1), strict=True)))
