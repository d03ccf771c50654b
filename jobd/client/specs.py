"""
From what a caller of a client says to the JSON object of a job. The daemon
checks the fields; here only Python's own kinds of values are translated.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from jobd.client.commands import JobLike, job_id
from jobd.client.core import MAX_LINE, Request
from jobd.errors import BadValue, TooLong

Spec = Mapping[str, Any]
"""One job, with the fields of docs/protocol.md."""

BATCH_BYTES = MAX_LINE // 2
BATCH_JOBS = 1000


class Keys:
    """
    Random keys: with one, a submission may be sent again when nobody knows
    whether it has arrived.
    """

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = count(1)

    def next(self) -> str:
        return f"{self._prefix}.{next(self._numbers)}"


def argv(words: Sequence[Any]) -> list[str]:
    """
    The words of a command, given one by one or as a single list; paths may be path objects.

    @raise BadValue: there is none, or one is neither text nor a path.
    """
    if len(words) == 1 and isinstance(words[0], list | tuple):
        words = words[0]
    if not words:
        raise BadValue("run needs a program and its arguments, as run('gzip', '-k', 'a.log')")
    try:
        return [_path(word) for word in words]
    except TypeError:
        raise BadValue(f"the words of a command are text or paths, not {words!r}") from None


def call(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """
    A call: of something named as C{"module:name"}, with JSON arguments and a
    JSON result; or of a Python callable, with anything that can be pickled.

    @raise BadValue: it can be neither.
    """
    if isinstance(func, str):
        spec: dict[str, Any] = {"call": func}
        if args:
            spec["args"] = list(args)
        if kwargs:
            spec["kwargs"] = dict(kwargs)
        return spec
    if not callable(func):
        raise BadValue(f"{func!r} is neither a callable nor the name of one, as 'module:name'")
    from jobd.client.pickling import dump

    return {"pickle": dump(func, args, kwargs)}


def finish(spec: Spec, defaults: Spec, keys: Keys | None, cwd: str | None) -> dict[str, Any]:
    """
    The job as it is sent: with the defaults, jobs in C{after} as ids, paths as text.

    @param keys: where a key comes from if the job has none.
    @param cwd: the folder it runs in if it names none: this process's own
        where the daemon is on the same machine.
    """
    if not isinstance(spec, Mapping):
        raise BadValue(f"a job is a mapping with the fields of docs/protocol.md, not {spec!r}")
    job = {**defaults, **spec}
    if "after" in job:
        job["after"] = _after(job["after"])
    for field in ("cwd", "stdout", "stderr"):
        if isinstance(job.get(field), os.PathLike):
            job[field] = _path(job[field])
    if cwd is not None:
        given = job.get("cwd", "")
        if isinstance(given, str):
            job["cwd"] = os.path.join(cwd, given) if given else cwd
    if keys is not None and job.get("key") is None:
        job["key"] = keys.next()
    return job


def _path(value: Any) -> str:
    return os.fsdecode(os.fspath(value))


def _after(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(job if isinstance(job, int | str) else job_id(job)): policy for job, policy in value.items()}
    if isinstance(value, str):
        raise BadValue(f"after takes jobs or their ids in a list, not {value!r}")
    jobs: Iterable[JobLike] = value if isinstance(value, Iterable) else [value]
    # A negative number counts back in the list of jobs.
    return [job if isinstance(job, int) and job < 0 else job_id(job) for job in jobs]


def encode(spec: Spec) -> str:
    """
    The job as JSON.

    @raise BadValue: a value is not JSON.
    """
    try:
        return json.dumps(spec, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadValue(f"this job cannot be written as JSON: {error}") from None


class Batch(NamedTuple):
    """Jobs to submit in one line, all or none."""

    texts: list[str]
    notified: list[bool]

    def request(self, context: Any = None, *, again: bool = True) -> Request:
        body = self.texts[0] if len(self.texts) == 1 else "[" + ", ".join(self.texts) + "]"
        try:
            return Request("submit", body, again=again, notified=self.notified, context=context)
        except TooLong as error:
            raise TooLong(f"{error}; give large data in files, or submit in several parts") from None


def batch(specs: Iterable[Spec]) -> Batch:
    """All of these in one line."""
    jobs = list(specs)
    return Batch([encode(spec) for spec in jobs], [spec.get("notify", True) is not False for spec in jobs])


def batches(specs: Iterable[Spec], most: int = BATCH_JOBS) -> Iterator[Batch]:
    """Any number of jobs in as many lines as it takes."""
    size, part = 0, Batch([], [])
    for spec in specs:
        text = encode(spec)
        if part.texts and (size + len(text) > BATCH_BYTES or len(part.texts) >= most):
            yield part
            size, part = 0, Batch([], [])
        part.texts.append(text)
        part.notified.append(spec.get("notify", True) is not False)
        size += len(text)
    if part.texts:
        yield part
