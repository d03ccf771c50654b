"""
Replays a transcript: what stands behind C{>} is sent, and what comes back is
compared with what stands behind C{<}.

Replies come in the order printed and hold what is printed. So do events, but
those of independent jobs may come in another order: they are compared as a
set, and the cursors they carry may be exchanged among them, consistently. A
job's reply comes before its events. Measured values count by their type alone.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

MEASURED = {"wall", "user", "sys", "max_rss", "submitted", "started", "ended"}
PATIENCE = 120.0

_EVENT = re.compile(r"\* (?P<cursor>\d+) (?P<job>\d+) (?P<state>\S+)(?: (?P<json>.*))?")
_IDS = re.compile(r"ok ([\d,-]+)")


class Mismatch(AssertionError):
    """The daemon said something else than the transcript."""


class Step(NamedTuple):
    """Lines sent together, and what is said before the next ones are sent."""

    sent: list[str]
    said: list[str]


def steps(body: str) -> Iterator[Step]:
    """The steps of a transcript; other lines than C{> } and C{< } are an error."""
    sent: list[str] = []
    said: list[str] = []
    for line in body.splitlines():
        if line.startswith("> "):
            if said:
                yield Step(sent, said)
                sent, said = [], []
            sent.append(line[2:])
        elif line.startswith("< ") and sent:
            said.append(line[2:])
        else:
            raise Mismatch(f"not a line of a transcript: {line!r}")
    if sent:
        yield Step(sent, said)


def replay(body: str, connection: socket.socket) -> None:
    """
    Play the client's part of a transcript, half-close, and see the daemon
    close without another word.

    @raise Mismatch: what came back is not what is printed.
    """
    connection.settimeout(PATIENCE)
    cursors: dict[int, int] = {}
    with connection.makefile("rb") as lines:
        for step in steps(body):
            connection.sendall("".join(line + "\n" for line in step.sent).encode())
            said = [_next(lines.readline(), step) for _ in step.said]
            compare(step.said, said, cursors)
        connection.shutdown(socket.SHUT_WR)
        rest = lines.read()
    if rest:
        raise Mismatch(f"after the end of the transcript the daemon said {rest!r}")


def _next(line: bytes, step: Step) -> str:
    if not line.endswith(b"\n"):
        raise Mismatch(f"the daemon closed the connection instead of answering {step.sent}")
    return line[:-1].decode()


def compare(expected: list[str], said: list[str], cursors: dict[int, int]) -> None:
    """
    Compare what was said in one step.

    @param cursors: the cursors seen so far, those printed to those that came.
    @raise Mismatch: they differ by more than the measured and the order of events.
    """
    context = "\nexpected\n  " + "\n  ".join(expected) + "\nbut the daemon said\n  " + "\n  ".join(said)
    replies = [line for line in said if not line.startswith("*")]
    wanted = [line for line in expected if not line.startswith("*")]
    if [reply_shape(line) for line in replies] != [reply_shape(line) for line in wanted]:
        raise Mismatch("another reply:" + context)
    coming = [event_parts(line) for line in said if line.startswith("*")]
    for line in expected:
        if line.startswith("*"):
            cursor, shape = event_parts(line)
            match = next((one for one in coming if one[1] == shape), None)
            if match is None:
                raise Mismatch(f"no event like {line!r}:" + context)
            coming.remove(match)
            if (cursor == 0) != (match[0] == 0) or cursors.setdefault(cursor, match[0]) != match[0]:
                raise Mismatch(f"the cursor of {line!r} does not fit:" + context)
    if len(set(cursors.values())) < len(cursors) or max(cursors.values(), default=0) > max(cursors, default=0):
        raise Mismatch("the cursors are not those printed, in any order:" + context)
    _reply_first(said, context)


def _reply_first(said: list[str], context: str) -> None:
    """A job's events come after the reply that named it."""
    told: set[int] = set()
    for line in said:
        if match := _EVENT.fullmatch(line):
            told.add(int(match["job"]))
        elif (ids := _IDS.fullmatch(line)) and told & set(_expand(ids[1])):
            raise Mismatch("an event came before its job's reply:" + context)


def _expand(ids: str) -> Iterator[int]:
    for part in ids.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def reply_shape(line: str) -> Any:
    """A reply as it is compared: its JSON, if it has any, without the measured values."""
    start, _, rest = line.partition(" ")
    if rest[:1] in ("{", "["):
        return start, _typed(json.loads(rest))
    return line


def event_parts(line: str) -> tuple[int, Any]:
    """An event's cursor, and all else of it as it is compared."""
    match = _EVENT.fullmatch(line)
    if match is None:
        raise Mismatch(f"not an event: {line!r}")
    return int(match["cursor"]), (match["job"], match["state"], _typed(json.loads(match["json"] or "null")))


def _typed(value: Any) -> Any:
    """JSON in which a measured number stands as the word C{number}; C{true} is not 1 here."""
    if isinstance(value, dict):
        return {
            name: "number" if name in MEASURED and type(part) in (int, float) else _typed(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_typed(part) for part in value]
    return type(value).__name__, value
