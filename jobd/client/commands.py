"""
The verbs as values: what to send, and what to make of the reply. Each client
turns a L{Command} into its own kind of waiting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar, Union

from jobd.client.core import Request
from jobd.client.ids import format_ids, parse_ids
from jobd.client.streams import output_bytes
from jobd.errors import BadValue

T = TypeVar("T")

PART = 524_288
"""The most bytes of output in one reply."""


class HasId(Protocol):
    """Any client's job object."""

    @property
    def id(self) -> int: ...


JobLike = Union[int, HasId]  # noqa: UP007 - the alias is evaluated, and HasId is a protocol
Selector = Union[int, HasId, str, Mapping[str, Any], Iterable[JobLike]]  # noqa: UP007
"""One job; ids as text (C{"17,19-30"}); a filter, a mapping with C{state}, C{group} and the like; or several jobs."""


class Command(Generic[T]):
    """One request and how its reply is read."""

    __slots__ = ("again", "argument", "read", "verb")

    def __init__(self, verb: str, argument: str, read: Callable[[str], T], *, again: bool = True) -> None:
        self.verb = verb
        self.argument = argument
        self.read = read
        self.again = again

    def request(self, context: Any = None) -> Request:
        return Request(self.verb, self.argument, again=self.again, context=context)


def job_id(job: JobLike) -> int:
    """The id of a job that is named by itself or by its id."""
    number = job if isinstance(job, int) else job.id
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BadValue(f"{job!r} is no job: a job or the id of one is needed")
    return number


def selector(jobs: Selector) -> str:
    """Jobs as the protocol names them."""
    if isinstance(jobs, str):
        return jobs
    if isinstance(jobs, Mapping):
        return json.dumps(dict(jobs))
    if isinstance(jobs, Iterable):
        ids = sorted({job_id(job) for job in jobs})
        if not ids:
            raise BadValue("no job is named")
        return format_ids(ids)
    return str(job_id(jobs))


def _nothing(text: str) -> None:
    return None


def _text(text: str) -> str:
    return text


def _objects(text: str) -> list[dict[str, Any]]:
    value = json.loads(text)
    return value if isinstance(value, list) else [value]


def _object(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value


def _with(name: str, options: Mapping[str, Any]) -> str:
    given = {key: value for key, value in options.items() if value is not None}
    return f"{name} {json.dumps(given)}" if given else name


def cancel(jobs: Selector) -> Command[int]:
    return Command("cancel", selector(jobs), int)


def retry(jobs: Selector) -> Command[list[int]]:
    return Command("retry", selector(jobs), parse_ids, again=False)


def why(job: JobLike) -> Command[str]:
    return Command("why", str(job_id(job)), _text)


def show(job: JobLike) -> Command[dict[str, Any]]:
    return Command("show", str(job_id(job)), _object)


def show_all(jobs: Selector) -> Command[list[dict[str, Any]]]:
    return Command("show", selector(jobs), _objects)


def list_jobs(filters: Mapping[str, Any]) -> Command[dict[str, Any]]:
    return Command("list", json.dumps(dict(filters)), _object)


def output(job: JobLike, stream: str, start: int, limit: int | None, attempt: int | None) -> Command[dict[str, Any]]:
    options = {"stream": stream, "from": start, "limit": limit, "attempt": attempt}
    return Command("output", _with(str(job_id(job)), options), _object)


def progress(job: JobLike, done: float | None, total: float | None, text: str | None) -> Command[None]:
    # An empty object, too, is a report.
    given = {"done": done, "total": total, "text": text}
    report = json.dumps({key: value for key, value in given.items() if value is not None})
    return Command("progress", f"{job_id(job)} {report}", _nothing)


def queue(name: str, settings: Mapping[str, Any]) -> Command[dict[str, Any]]:
    return Command("queue", f"{name} {json.dumps(dict(settings))}" if settings else name, _object)


def pause(name: str) -> Command[None]:
    return Command("pause", name, _nothing)


def resume(name: str) -> Command[None]:
    return Command("resume", name, _nothing)


def stats() -> Command[dict[str, Any]]:
    return Command("stats", "", _object)


def hello() -> Command[dict[str, Any]]:
    return Command("hello", "", _object)


def drain(keep_running: bool = False) -> Command[int]:
    return Command("drain", '{"keep_running": true}' if keep_running else "", int)


def ping(text: str) -> Command[str]:
    return Command("ping", text, _text)


class Listing:
    """
    A list over as many replies as it takes: while L{next} has a command, give its reply to L{take}.

    @param limit: no more jobs than this.
    """

    def __init__(self, filters: Mapping[str, Any], limit: int | None = None) -> None:
        self._filters = dict(filters)
        self._limit = limit
        self._more = True

    def next(self) -> Command[dict[str, Any]] | None:
        if not self._more or self._limit == 0:
            return None
        most = 1000 if self._limit is None else min(self._limit, 1000)
        return list_jobs({**self._filters, "limit": most})

    def take(self, page: dict[str, Any]) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = page["jobs"]
        self._more = page["more"] and bool(jobs)
        if self._limit is not None:
            self._limit -= len(jobs)
        if self._more:
            last = jobs[-1]["id"]
            self._filters["from"] = last - 1 if self._filters.get("newest") else last + 1
        return jobs


class Reading:
    """
    What a job has written so far, over as many replies as it takes; used as L{Listing}.

    @param start: the byte to begin at; negative: from the end.
    @param limit: no more bytes than this.
    """

    def __init__(
        self, job: JobLike, stream: str = "stdout", start: int = 0, limit: int | None = None, attempt: int | None = None
    ) -> None:
        self._job = job
        self._stream = stream
        self._start = start
        self._left = limit
        self._attempt = attempt
        self._more = True

    def next(self) -> Command[dict[str, Any]] | None:
        if not self._more or self._left == 0:
            return None
        most = PART if self._left is None else min(self._left, PART)
        return output(self._job, self._stream, self._start, most, self._attempt)

    def take(self, part: dict[str, Any]) -> bytes:
        data = output_bytes(part)
        self._start = part["next"]
        self._more = bool(data) and self._start < part["size"]
        if self._left is not None:
            self._left -= len(data)
        return data
