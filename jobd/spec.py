"""
Submissions: from the JSON of C{submit} and its short forms to checked
L{JobSpec}s, and back to what may be shown of them. No I/O.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from jobd import wire
from jobd.errors import BadField, BadJson, BadValue
from jobd.job import JobSpec, Plan, plan_of

QUEUE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}\Z")
"""What C{queue} must look like."""

CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
"""What C{call} must look like."""

FIELDS = tuple(JobSpec.__struct_fields__)

RULES: dict[str, str] = {
    "argv": "a list of strings, at least the program's name",
    "shell": "a line for the shell",
    "call": "write module:name or module:Class.method",
    "args": "a list",
    "kwargs": "an object",
    "pickle": "base64 of a pickled (callable, args, kwargs)",
    "cwd": "an absolute path",
    "env": "an object of strings, where null removes a variable",
    "stdin": 'a string, or {"file": PATH}',
    "stdout": "a path, or null for nowhere",
    "stderr": "a path, '&1' for where stdout goes, or null for nowhere",
    "queue": "1 to 64 of A-Z a-z 0-9 _ . -",
    "priority": "an integer from -1000 to 1000",
    "delay": "seconds, 0 to 315360000",
    "after": 'a list of ids, or an object as {"17": "ok", "18": "failed", "19": "any"}',
    "timeout": "seconds above 0, up to 315360000",
    "grace": "seconds, 0 to 86400",
    "attempts": "an integer from 1 to 1000",
    "backoff": "seconds, 0 to 86400",
    "key": "1 to 256 characters, none of them a control character",
    "group": "1 to 128 characters, none of them a control character",
    "label": "1 to 128 characters, none of them a control character",
    "cpus": "an integer from 0 to 1024",
    "lane": "'cpu' or 'io'",
    "notify": "true or false",
}
"""What each field has to be, in words: what an error says."""

DEEPEST = 100
"""Levels of lists and objects in a call's arguments: what every JSON reader can follow."""

COMMAND_ONLY = ("stdin", "stdout", "stderr")
CALL_ONLY = ("args", "kwargs")
SECONDS = ("delay", "timeout", "grace", "backoff")

_PART = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<plain>[^ \t\r\n'"\\]+|\\.|'[^']*'|"(?:[^"\\]|\\.)*")|(?P<bad>['"\\])""", re.DOTALL
)
_SPECIAL = re.compile(r"""['"\\]""")
_WORD = re.compile(r"[^ \t\r\n]+")
_ESCAPED = re.compile(r'\\(["\\])')


_one = msgspec.json.Decoder(JobSpec)
_raw = msgspec.json.Decoder(msgspec.Raw)
_many = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode
_FIELD_OF = {b"": b"", b"[": b', "args": ', b"{": b', "kwargs": '}
_defaults = msgspec.structs.asdict(JobSpec())
_BACKSLASH, _NEWLINE = b"\\\n"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMES = 10_000
"""How many callables are remembered as well named: to compare one with its pattern takes longer than all the rest."""
_well_named: set[str] = set()


class Submission(msgspec.Struct, frozen=True, gc=False):
    """
    A job as it was submitted: its fields, and the JSON they came in, which
    goes to the worker and the store as it is; how it is to be scheduled.
    (Of the verb C{call} these are the fields that all calls of one callable have: the arguments, which
    nobody asks for here, are in the JSON only.)
    C{fingerprint} is the L{digest} of a job that has a key. C{plain}: it has
    nothing to do with other jobs or with the time, so it is ready at once.
    """

    spec: JobSpec
    json: bytes
    plan: Plan
    fingerprint: int | None = None
    plain: bool = True


def parse_submission(argument: bytes) -> list[Submission]:
    """
    The argument of C{submit}: an object, or a list of them.

    @raise BadJson, BadField, BadValue: with the place in the list, from 1, where there are several.
    """
    text = argument.strip()
    if text[:1] == b"{":
        return [parse_job(text)]
    if text[:1] != b"[":
        raise BadJson('submit takes a JSON object, as {"argv": ["echo", "hello"]}, or a list of them')
    raws = wire.decode(_many, text)
    if not raws:
        raise BadValue("the list of jobs is empty")
    jobs = []
    for place, raw in enumerate(raws, 1):
        try:
            jobs.append(parse_job(bytes(raw)))
        except (BadJson, BadField, BadValue) as problem:
            raise type(problem)(f"job {place} of {len(raws)}: {problem}") from None
    return jobs


def parse_job(json: bytes) -> Submission:
    """One job."""
    try:
        spec = _one.decode(json)
    except (ValueError, RecursionError):
        spec = wire.decode(_one, json, FIELDS, RULES)
    _check_texts(spec)
    _check(spec)
    # A byte is found several times as fast as a text of several.
    if json.find(_BACKSLASH) >= 0 and json.find(b"\\u0000") >= 0:
        _refuse_nul(json)
    if len(json) > DEEPEST and json.count(b"[") + json.count(b"{") > DEEPEST:
        _refuse_depth(spec.args, spec.kwargs)
    if json.find(_NEWLINE) >= 0:
        json = wire.to_json(_any.decode(json))
    plain = spec.key is None and not spec.after and not spec.delay and spec.group is None
    return Submission(spec, json, plan_of(spec), None if spec.key is None else digest(json), plain)


def parse_kept(json: bytes) -> JobSpec:
    """
    A job that was accepted once. The rules it passed then are not gone through again: names, types and ranges of
    its fields, and that it is of one kind, tell whether it can still be read.

    @raise ValueError, RecursionError: it cannot.
    """
    spec = _one.decode(json)
    if (spec.call is UNSET) + (spec.argv is UNSET) + (spec.shell is UNSET) + (spec.pickle is UNSET) != 3:
        raise ValueError("it is of no kind")
    if json.find(_NEWLINE) >= 0:
        raise ValueError("it is more than a line")
    return spec


def parse_run(argument: bytes) -> list[Submission]:
    """C{run sort -u "my file.txt"}"""
    words = split_words(argument.decode())
    if not words:
        raise BadValue("run takes a program and its arguments, as: run echo hello")
    return [parse_job(wire.to_json({"argv": words}))]


def split_words(text: str) -> list[str]:
    """
    The words of a line, as C{shlex.split} finds them, which takes a quarter of a minute for a word of a megabyte.

    @raise BadValue: a quotation has no end, or nothing follows a backslash.
    """
    if not _SPECIAL.search(text):
        return _WORD.findall(text)
    words: list[list[str]] = []
    open_word = False
    for part in _PART.finditer(text):
        if part.lastgroup == "space":
            open_word = False
            continue
        if part.lastgroup == "bad":
            why = "no escaped character" if part[0] == "\\" else "no closing quotation"
            raise BadValue(f"the words cannot be split: {why}")
        if not open_word:
            words.append([])
            open_word = True
        words[-1].append(_unquoted(part[0]))
    return ["".join(word) for word in words]


def _unquoted(part: str) -> str:
    if part[0] == '"':
        return _ESCAPED.sub(r"\1", part[1:-1])
    return part[1:-1] if part[0] == "'" else part[1:] if part[0] == "\\" else part


def parse_sh(argument: bytes) -> list[Submission]:
    """C{sh make all > build.log}"""
    if not argument.strip():
        raise BadValue("sh takes a line for the shell, as: sh make all > build.log")
    return [parse_job(wire.to_json({"shell": argument.decode()}))]


def parse_call(argument: bytes) -> list[Submission]:
    """C{call math:factorial [20]}"""
    name, _, rest = argument.strip().partition(b" ")
    rest = rest.lstrip()
    field = _FIELD_OF.get(rest[:1])
    if not name:
        raise BadValue("call takes a callable and its arguments, as: call math:factorial [20]")
    if field is None:
        raise BadJson("the arguments of a call are a JSON list or object, as: call math:factorial [20]")
    called = _called.get(name)
    if called is None:
        called = _call(name)
    json = b"".join((called.json, field, rest, b"}"))
    try:
        arguments = _any.decode(rest) if rest else None
    except (ValueError, RecursionError):
        # Not one value with nothing behind it that would become another field; or one that no job may have.
        wire.decode(_raw, rest)
        return [parse_job(json)]
    if len(rest) > DEEPEST and rest.count(b"[") + rest.count(b"{") > DEEPEST:
        _refuse_depth(arguments)
    return [Submission(called.spec, json, called.plan)]


class _Called(msgspec.Struct, frozen=True):
    """
    What all calls of one callable have in common, if nothing else is said of them.

    @ivar json: the beginning of such a job.
    """

    spec: JobSpec
    plan: Plan
    json: bytes


_called: dict[bytes, _Called] = {}


def _call(name: bytes) -> _Called:
    json = b'{"call": %s' % _encode(name.decode())
    job = parse_job(json + b"}")
    if len(_called) >= _NAMES:
        _called.clear()
    called = _called[name] = _Called(job.spec, job.plan, json)
    return called


def _check_texts(spec: JobSpec) -> None:
    """What names and lines may hold."""
    call, queue = spec.call, spec.queue
    if call is not UNSET and call not in _well_named:
        if CALLABLE.match(call) is None:
            raise _wrong_text("call", call)
        if len(_well_named) >= _NAMES:
            _well_named.clear()
        _well_named.add(call)
    if queue != "default" and QUEUE_NAME.match(queue) is None:
        raise _wrong_text("queue", queue)
    if spec.key is not None:
        _check_line("key", spec.key)
    if spec.group is not None:
        _check_line("group", spec.group)
    if spec.label is not None:
        _check_line("label", spec.label)


def _check_line(name: str, text: str) -> None:
    # What can be printed holds no control character; that is found out in no time.
    if not text.isprintable() and _CONTROL.search(text):
        raise _wrong_text(name, text)


def _wrong_text(name: str, text: str) -> BadValue:
    return BadValue(f"{name}: {RULES[name]}, not {wire.excerpt(text.encode())}")


def _check(spec: JobSpec) -> None:
    """The rules that concern more than one field. Most jobs have few fields: test for the rare ones first."""
    command = spec.argv is not UNSET or spec.shell is not UNSET
    kinds = (spec.argv is not UNSET) + (spec.shell is not UNSET) + (spec.call is not UNSET) + (spec.pickle is not UNSET)
    if kinds != 1:
        raise BadValue(
            "a job has exactly one of argv, shell, call, pickle; this one has " + ("none" if not kinds else "several")
        )
    if spec.cwd is not None and not _absolute(spec.cwd):
        raise BadValue(f"cwd: must be an absolute path, not {spec.cwd!r}")
    if command:
        if spec.lane != "cpu" or spec.args is not UNSET or spec.kwargs is not UNSET:
            raise BadValue("args, kwargs and lane belong to call, not to a command")
        if spec.argv is not UNSET and not spec.argv[0]:
            raise BadValue("argv: the program's name is empty")
    else:
        _check_call(spec)
    for name in spec.env:
        if not name or "=" in name:
            raise BadValue(f"env: {name!r} is not the name of a variable")


def _check_call(spec: JobSpec) -> None:
    if spec.stdin != "" or spec.stdout is not UNSET or spec.stderr is not UNSET:
        raise BadValue("stdin, stdout and stderr belong to commands, not to a call")
    if spec.pickle is not UNSET and (spec.args is not UNSET or spec.kwargs is not UNSET):
        raise BadValue("args and kwargs belong to call: a pickle carries its own")
    if spec.lane == "io":
        if spec.env:
            raise BadValue("env: jobs of lane io share one process and cannot have an environment each")
    elif spec.cpus == 0:
        raise BadValue("cpus: a call takes a place of its own; 0 is for commands and for lane io")


def _refuse_depth(*values: Any) -> None:
    level = list(values)
    for _ in range(DEEPEST):
        level = [part for value in level for part in _parts(value)]
    if any(isinstance(value, (list, dict)) for value in level):
        raise BadValue(f"args and kwargs: lists and objects in them are more than {DEEPEST} levels deep")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _absolute(path: str) -> bool:
    """POSIX, or a Windows drive or share: the daemon's system decides later whether the folder is there."""
    return path[:1] == "/" or path[1:3] in (":\\", ":/") or path[:2] == "\\\\"


def _refuse_nul(json: bytes) -> None:
    """A NUL cannot stand in an argument, a path or a variable; in a call's own arguments it may."""
    value = _any.decode(json)
    for name, part in value.items():
        if (
            name not in CALL_ONLY
            and not (name == "stdin" and isinstance(part, str))
            and any("\0" in text for text in _strings(part))
        ):
            raise BadValue(f"{name}: holds a NUL character")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _strings(part)


def digest(json: bytes) -> int:
    """
    A fingerprint of a job that has a key: equal for equal jobs, whatever the
    order of their fields, whether a default is spelled out and whether they
    want a notification.
    """
    value = _any.decode(json)
    value.pop("notify", None)
    for name in SECONDS:
        if name in value and value[name] is not None:
            value[name] = float(value[name])
    special = {name: part for name, part in value.items() if part != _defaults[name]}
    canonical = msgspec.json.encode(special, order="sorted")
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=8).digest(), "big", signed=True)


def with_after(json: bytes, after: dict[int, str]) -> bytes:
    """The same job, with all ids in C{after} counted from the beginning of time."""
    value = _any.decode(json)
    alike = isinstance(value["after"], list)
    value["after"] = list(after) if alike else {str(number): policy for number, policy in after.items()}
    return wire.to_json(value)


def for_show(json: bytes) -> dict[str, Any]:
    """The submitted object, fit to be shown: of C{env} only the names."""
    value: dict[str, Any] = _any.decode(json)
    if "env" in value:
        value["env"] = sorted(value["env"])
    return value


def for_retry(json: bytes) -> bytes:
    """The same job once more: without what belonged to its first submission."""
    value = _any.decode(json)
    for name in ("key", "after", "delay", "notify"):
        value.pop(name, None)
    return wire.to_json(value)


def what(json: bytes, most: int = 80) -> str:
    """What a job does, in one short line for people."""
    value = _any.decode(json)
    if "argv" in value:
        text = shlex.join(value["argv"])
    elif "pickle" in value:
        text = "a pickled call"
    else:
        text = value.get("shell") or value.get("call") or "(its record cannot be read)"
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
