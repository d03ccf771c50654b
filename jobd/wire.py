"""
Bytes to requests, replies and events to bytes. No I/O.

    request   = [ "#" tag " " ] verb [ " " argument ]
    reply     = [ "#" tag " " ] "ok" [ " " argument ]
              | [ "#" tag " " ] "error " CODE " " text
    event     = "* " cursor " " job-id " " state [ " " json ]

Rules this module keeps, whatever bytes come in and wherever they are cut:

- every line but an empty one becomes one L{Request} or one error;
- a line over the limit is never kept in memory: it is skipped up to its end;
- what has no C{\\n} yet is not a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from jobd.errors import BadField, BadJson, BadValue, JobdError, SyntaxProblem, TooLong, UnknownVerb

PROTOCOL = 1

MAX_LINE = 1 << 20
"""
Bytes, with the line's end. Large enough for some thousands of jobs in one
submission, small enough that many clients can send one at the same time.
"""

MAX_LINE_BEFORE_AUTH = 4096
"""Bytes: before C{auth} nothing longer than a token is needed."""

MAX_RESULT = 512 * 1024
"""Bytes of a call's result, and of one part of an output."""

VERBS: dict[str, tuple[str, str]] = {
    "submit": ("a job, or a list of jobs", "accept jobs: all of them or none"),
    "run": ("words", "short for `argv`; split as a shell splits words, but no shell runs"),
    "sh": ("a line", "short for `shell`"),
    "call": ("`module:name` and JSON", "short for `call`; a list is `args`, an object `kwargs`"),
    "wait": ("SELECTOR", "a finish event for each, at once where it has finished"),
    "watch": ("options", "every finish event, from a cursor on"),
    "show": ("SELECTOR", "all there is to know"),
    "list": ("filter", "jobs in short"),
    "cancel": ("SELECTOR", "end jobs that have not ended"),
    "retry": ("SELECTOR", "submit ended jobs again, as new jobs"),
    "why": ("ID", "in one line: what it waits for, or how it ended"),
    "output": ("ID and options", "read a part of a job's output"),
    "follow": ("SELECTOR and options", "output as it is written, as events"),
    "progress": ("ID and a report", "from inside a job: how far it is"),
    "queue": ("NAME and settings", "look at a queue, set its limit"),
    "pause": ("NAME or nothing", "start no more jobs of this queue, or of any"),
    "resume": ("NAME or nothing", "undo `pause`"),
    "stats": ("", "what the daemon is doing"),
    "drain": (
        "options",
        "accept and start nothing more; stop once the COUNT running jobs have ended, "
        'or at once with {"keep_running": true}: they run on, and the next daemon takes them over',
    ),
    "hello": ("", "version, limits, who you are"),
    "auth": ("TOKEN", "prove who you are"),
    "ping": ("anything", "all requests before it have been handled"),
    "help": ("a verb or nothing", "this table, a line at a time"),
    "quit": ("", "close"),
}
"""Each verb's argument and what it does: the table of docs/protocol.md, and what C{help} says."""

EXAMPLES: dict[str, str] = {
    "submit": ', as: submit {"argv": ["gzip", "-k", "a.log"], "cwd": "/data"}',
    "run": ', as: run sort -u "my file.txt"',
    "sh": ", as: sh make all > build.log",
    "call": ", as: call math:factorial [20]",
    "wait": ', as: wait 17-20, or: wait {"group": "nightly"}',
    "watch": ', as: watch {"since": 0}',
    "show": ", as: show 17",
    "list": ', as: list {"state": "failed", "limit": 10}',
    "cancel": ', as: cancel 17, or: cancel {"group": "nightly"}',
    "retry": ", as: retry 17",
    "why": ", as: why 17",
    "output": ', as: output 17 {"stream": "stderr", "from": -1000}',
    "follow": ", as: follow 17-20",
    "progress": ', as: progress 17 {"done": 3, "total": 10}',
    "queue": ', as: queue gpu {"limit": 1}',
    "pause": ", as: pause gpu",
    "resume": ", as: resume gpu",
}
"""What C{help VERB} adds."""

HTTP_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"})
"""A connection that begins so is a browser: no verb is spelled like one of these."""

LONGEST_GUESS = 64
"""Characters of a word that is compared with the known ones: the comparison takes time that grows with its length."""

LONGEST_ERROR = 900
"""Characters of an error's text, whatever of the input it repeats."""

_TAG = re.compile(rb"#([A-Za-z0-9_.\-]{1,32})(?: |\Z)")
_VERBS = {verb.encode(): verb for verb in VERBS}


class Request(msgspec.Struct, frozen=True, gc=False):
    """
    One request line. C{tag} is what its reply begins with: empty, or with C{#} and the
    space behind it, as bytes. C{argument} is UTF-8.
    """

    tag: bytes
    verb: str
    argument: bytes


class Lines:
    """
    Cuts a stream into lines.

    @ivar limit: bytes that a line may have, with its end. It may be set anew between two calls.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self.limit = limit
        self._held = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """
        The lines that are whole now, without their ends; None stands for one
        that was over the limit.
        """
        pieces = data.split(b"\n")
        tail = pieces.pop()
        if not pieces:
            self._hold(tail)
            return []
        if self._held or self._skipping:
            pieces[0] = self._join(pieces[0])
            self._held, self._skipping = bytearray(), False
        if tail:
            self._hold(tail)
        limit = self.limit - 1
        return [
            None if line is None or len(line) > limit else line[:-1] if line[-1:] == b"\r" else line for line in pieces
        ]

    def _hold(self, tail: bytes) -> None:
        """Keep the beginning of a line until its end comes; drop it once it is too long."""
        if self._skipping:
            return
        if len(self._held) + len(tail) >= self.limit:
            self._held, self._skipping = bytearray(), True
        else:
            self._held += tail

    def _join(self, end: bytes) -> Any:
        return None if self._skipping else bytes(self._held) + end


def parse_request(line: bytes) -> Request:
    """
    Read one line.

    @raise SyntaxProblem: it is not UTF-8, or its tag is not well formed.
    @raise UnknownVerb: there is no such verb. Either error carries the tag in its C{tag} attribute.
    """
    tag = b""
    if line[:1] == b"#":
        match = _TAG.match(line)
        if match is None:
            raise SyntaxProblem("a tag is '#' and 1 to 32 of A-Z a-z 0-9 _ . -, then a space")
        line = line[match.end() :]
        tag = b"#" + match.group(1) + b" "
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError:
            raise tagged(tag, SyntaxProblem("the line is not UTF-8")) from None
    word, _, argument = line.partition(b" ")
    verb = _VERBS.get(word)
    if verb is None:
        raise tagged(
            tag, UnknownVerb(f"there is no verb {excerpt(word)}{did_you_mean(word.decode(), VERBS)}; 'help' lists them")
        )
    return Request(tag, verb, argument)


def tagged(tag: bytes, error: JobdError) -> JobdError:
    """The same error, which remembers the tag its reply must carry."""
    error.tag = tag
    return error


def too_long(limit: int) -> JobdError:
    return TooLong(f"the line is over {limit} bytes and was skipped")


def excerpt(word: bytes, most: int = 40) -> str:
    """A word from outside, fit for an error line: quoted, on one line, not too long."""
    text = word.decode("utf-8", "replace")
    return repr(text if len(text) <= most else text[:most] + "…")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    if len(word) > LONGEST_GUESS:
        return ""
    close = get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


# What the daemon says.


def ok(tag: bytes, text: bytes = b"") -> bytes:
    return tag + b"ok " + text + b"\n" if text else tag + b"ok\n"


def error(tag: bytes, problem: JobdError) -> bytes:
    text = plain(str(problem)) or type(problem).__doc__ or ""
    if len(text) > LONGEST_ERROR:
        text = text[: LONGEST_ERROR - 1] + "…"
    return b"%serror %s %s\n" % (tag, problem.code.encode(), text.encode("utf-8", "replace"))


def plain(text: str) -> str:
    """A text on one line, with no character that does something to a terminal instead of being shown."""
    text = " ".join(text.split())
    return text if text.isprintable() else "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def event(cursor: int, job_id: int, word: bytes, json: bytes = b"") -> bytes:
    if json:
        return b"* %d %d %b %b\n" % (cursor, job_id, word, json)
    return b"* %d %d %b\n" % (cursor, job_id, word)


def to_json(value: Any) -> bytes:
    """JSON on one line."""
    return msgspec.json.encode(value)


def format_ids(ids: Iterable[int]) -> str:
    """IDS: consecutive ones as ranges, in the order given: C{5,18-19}."""
    runs: list[list[int]] = []
    for number in ids:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


# What structured arguments are made of.

_UNKNOWN = "Object contains unknown field `"
_WHERE = re.compile(r" - at `\$?([^`]*)`\Z")
_TYPE = re.compile(r"`([a-z| ]+)`")
_TYPES = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "array": "list"}
_raws = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


def decode(
    decoder: msgspec.json.Decoder[Any], data: bytes, known: Iterable[str] = (), rules: Mapping[str, str] | None = None
) -> Any:
    """
    Decode JSON into the decoder's type, with errors for the person who wrote it.

    @param known: the names there are, to guess what an unknown one was meant to be.
    @param rules: what fields have to be, in words.
    @raise BadJson: it cannot be read at all.
    @raise BadField: it has a field that is not known.
    @raise BadValue: a value has the wrong type or is out of range.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as problem:
        raise explain(str(problem), data, known, rules or {}) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BadJson(f"this is not JSON: {str(problem).removeprefix('JSON is malformed: ')}") from None


def explain(message: str, data: bytes, known: Iterable[str], rules: Mapping[str, str]) -> JobdError:
    """Turn msgspec's message about some JSON into one in the protocol's own words."""
    unknown = message.startswith(_UNKNOWN)
    where = _WHERE.search(message)
    place = where.group(1).lstrip(".") if where else ""
    message = _WHERE.sub("", message)
    if unknown:
        # The name may hold anything, even what looks like a place: then the guess is wrong, but it is still no value.
        name = message[len(_UNKNOWN) :].removesuffix("`")
        inside = f" in {place}" if place else ""
        return BadField(f"unknown field {excerpt(name.encode())}{inside}{did_you_mean(name, known)}")
    field = re.split(r"[.\[]", place)[0]
    if place and place == field and field in rules:
        return BadValue(f"{field}: {rules[field]}, not {_shown(decode(_raws, data)[field])}")
    message = _TYPE.sub(lambda types: re.sub(r"[a-z]+", lambda one: _TYPES.get(one[0], one[0]), types[1]), message)
    message = message[:1].lower() + message[1:].replace("`", "")
    if field in rules:
        message += f"; {field}: {rules[field]}"
    return BadValue(f"{place}: {message}" if place else message)


def _shown(value: bytes | msgspec.Raw) -> str:
    """A JSON value, fit for an error line."""
    raw = bytes(value)
    if raw[:1] == b'"':
        return excerpt(decode(_text, raw).encode())
    return raw.decode() if len(raw) <= 40 else excerpt(raw)
