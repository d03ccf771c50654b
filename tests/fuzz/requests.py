"""What the daemon reads from clients: lines, requests, submissions, selectors, whole conversations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import msgspec
from hypothesis import strategies as st
from twisted.internet.interfaces import IAddress

from jobd import spec, wire
from jobd.errors import JobdError
from jobd.selector import MOST, take_json, take_selector
from jobd.testing import LOCAL, REMOTE, FakePool, MemoryDaemon
from tests.fuzz import material
from tests.fuzz.target import Target, cuts, nothing_logged, same

LIMIT = 300
"""Bytes of a line, here: short enough to be passed often."""

LONGEST_ERROR = 1000
"""Characters of an error's line, whatever it is about."""

_PASSING = re.compile(r'"instance":"[0-9a-f]+"|"cursor":[0-9]+')
"""Each daemon has a name of its own; how much of what is certain has been announced already is a matter of turns."""

_ERROR = re.compile(r"(#[A-Za-z0-9_.\-]{1,32} )?error [A-Z_]+ .")


def check_error(said: bytes) -> None:
    """It is one line that may be shown to a person as it is."""
    text = said.decode()
    assert text.endswith("\n") and text[:-1].isprintable(), f"not fit to be shown: {text!r}"
    assert _ERROR.match(text) and len(text) <= LONGEST_ERROR, f"not an error's line: {text!r}"


Cutter = Callable[[], Callable[[bytes], Sequence[bytes | None]]]


def check_lines(data: bytes, cutter: Cutter | None = None) -> None:
    """Lines are the same wherever they are cut, none is longer than the limit, and each is a request or an error."""
    make = cutter or (lambda: wire.Lines(LIMIT).feed)
    found = []
    for way in cuts(data):
        feed = make()
        found.append([line for part in way for line in feed(part)])
    same(found)
    expected = [None if len(line) >= LIMIT else line.removesuffix(b"\r") for line in data.split(b"\n")[:-1]]
    assert expected == found[0], f"{expected!r} were made {found[0]!r}"
    for line in found[0]:
        try:
            if line is None:
                raise wire.too_long(LIMIT)
            assert wire.parse_request(line).verb in wire.VERBS
        except JobdError as problem:
            check_error(wire.error(problem.tag, problem))


def check_submission(data: bytes) -> None:
    """What follows C{submit}, C{run}, C{sh} or C{call} is jobs that can be kept, shown and tried again, or an error."""
    if b"\n" in data or not _is_text(data):
        return
    for parse in (spec.parse_submission, spec.parse_run, spec.parse_sh, spec.parse_call):
        try:
            jobs = parse(data)
        except JobdError as problem:
            check_error(wire.error(b"", problem))
            continue
        assert jobs
        for job in jobs:
            _check_job(job)


def _check_job(job: spec.Submission) -> None:
    assert b"\n" not in job.json
    json.loads(job.json)
    assert spec.digest(job.json) == spec.digest(b" " + job.json)
    shown = wire.to_json(spec.for_show(job.json))
    assert b"\n" not in shown
    again = spec.parse_job(spec.for_retry(job.json))
    assert again.spec.key is None
    assert "\n" not in spec.what(job.json) and len(spec.what(job.json)) <= 80
    if job.spec.after:
        spec.parse_job(spec.with_after(job.json, {1: "ok"}))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_selector(data: bytes) -> None:
    """An argument begins with a selector for a bounded number of jobs, or it is an error."""
    if b"\n" in data or not _is_text(data):
        return
    for take in (take_selector, take_json):
        try:
            first, rest = take(data)
        except JobdError as problem:
            check_error(wire.error(b"", problem))
            continue
        assert len(rest) <= len(data)
        if isinstance(first, bytes):
            json.loads(first)
        else:
            assert sum(last - start + 1 for start, last in first.ranges) <= MOST
            if first.filter is not None:
                first.filter.states(), first.filter.ranges()


Daemons = Callable[[], MemoryDaemon]


def a_daemon() -> MemoryDaemon:
    """One job runs in it and one waits; nothing ends by itself."""
    daemon = MemoryDaemon(pool=FakePool(obedient=False))
    client = daemon.connect()
    client.send('submit [{"argv": ["true"], "group": "g"}, {"call": "m:f", "key": "k"}]', "quit")
    return daemon


def check_session(data: bytes, address: IAddress = LOCAL, make: Daemons = a_daemon) -> None:
    """A conversation: the same however it is cut, one reply for each line, and in step after it."""
    with nothing_logged():
        same([_converse(way, address, make()) for way in cuts(data)])


def check_stranger(data: bytes) -> None:
    """The same of one that has not said the token."""
    check_session(data, REMOTE)


def _converse(parts: Sequence[bytes], address: IAddress, daemon: MemoryDaemon) -> list[str]:
    client = daemon.connect(address)
    if address is LOCAL:
        client.transport.session._lines.limit = LIMIT
    for part in parts:
        # One whose connection is closed does not get through.
        if not client.gone:
            client.feed(part)
    daemon.advance(10)
    said = client.take()
    lines = [line for line in b"".join(parts).split(b"\n")[:-1] if line not in (b"", b"\r")]
    replies = [line for line in said if not line.startswith("* ")]
    for line in replies:
        if "error " in line[:40]:
            check_error(line.encode() + b"\n")
            assert "INTERNAL" not in line
    if client.gone:
        assert len(replies) <= len(lines)
    else:
        assert len(replies) == len(lines), f"{len(replies)} replies to {len(lines)} lines: {replies}"
        client.feed(b"\n#in.step ping\n")
        replied = [line for line in client.take() if line.startswith("#in.step ")]
        assert replied == ["#in.step ok"] or b"".join(parts)[-1:] != b"\n", replied
    _check_others(daemon)
    # When an event comes among the replies, and what is told only as it happens, is a matter of turns.
    ends = sorted(line for line in said if line.startswith("* ") and not line.startswith("* 0 "))
    return [_PASSING.sub("", line) for line in replies] + ends


def _check_others(daemon: MemoryDaemon) -> None:
    """Nobody else has noticed, and every job there is can be looked at."""
    other = daemon.connect()
    assert other.ask("ping x") == "ok x"
    answer = other.ask("list")
    jobs = msgspec.json.decode(answer.removeprefix("ok "))["jobs"]
    for job in jobs:
        assert other.ask(f"show {job['id']}").startswith("ok {")
        assert other.ask(f"why {job['id']}").startswith("ok job")


LINES = Target("lines", check_lines, material.inputs("lines", material.pieces(material.REQUESTS)))

SUBMISSION = Target(
    "submission",
    check_submission,
    material.inputs("submission", material.ARGUMENTS, words=[field.encode() for field in material.FIELDS]),
)

SELECTOR = Target(
    "selector",
    check_selector,
    material.inputs("selector", material.ARGUMENTS, material.pieces(st.sampled_from([b"1", b"-", b",", b" ", b"99"]))),
)

SESSION = Target("session", check_session, material.inputs("session", material.pieces(material.REQUESTS)))

STRANGER = Target(
    "stranger",
    check_stranger,
    material.inputs(
        "stranger",
        material.pieces(material.REQUESTS | st.sampled_from([b"auth secret\n", b"auth x\n", b"x" * 4096, b"y" * 4000])),
    ),
)
