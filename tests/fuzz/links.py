"""What the daemon reads from its workers, they from it, and the next daemon from what a worker wrote down."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st
from twisted.internet.task import Clock

from jobd.actions import Start
from jobd.events import Finished, Returned
from jobd.job import Lane
from jobd.pool import Report
from jobd.pool.journals import Journals
from jobd.pool.processes import ProcessPool
from jobd.worker import journal
from jobd.worker.link import Link
from tests.fuzz import material
from tests.fuzz.target import Target, cuts, nothing_logged, same
from tests.unit.test_pool_workers import Program, Programs

_WALL = re.compile(r'"wall":[0-9.]+')
"""How long a lost one took is told by the clock."""

GIVEN = (Start(7, 1, Lane.CPU, b"{}"), Start(8, 2, Lane.COMMAND, b"{}"), Start(9, 1, Lane.IO, b"{}"))


Deliver = Callable[[Program, bytes], None]


def deliver(program: Program, part: bytes) -> None:
    """The pool reads what a worker has written."""
    program.worker.outReceived(part)


def check_worker_says(data: bytes, to_pool: Deliver = deliver) -> None:
    """Whatever a worker says, wherever it is cut: each attempt is reported once in the end, and nothing breaks."""
    with nothing_logged(), tempfile.TemporaryDirectory(prefix="jobd-fuzz-") as folder:
        same([_hear(way, folder, to_pool) for way in cuts(data)])


def _hear(parts: Sequence[bytes], folder: str, to_pool: Deliver) -> list[str]:
    programs, reports = Programs(), list[Report]()
    pool = ProcessPool(programs, Clock(), 1, folder, {})  # type: ignore[arg-type]
    told: list[tuple[int, int, bytes]] = []
    pool.open(lambda *said: reports.extend(said), lambda *said: told.append(said), [])
    for start in GIVEN:
        pool.start(start)
    pool.flush()
    workers = list(programs.all)
    for program in workers:
        for part in parts:
            to_pool(program, part)
    pool.stats()
    for program in workers:
        program.exit(0, 9)
    # What it has been told there was no room for it would try again later.
    pool.close()
    for program in programs.all[len(workers) :]:
        program.exit()
    ends = Counter(_attempt(report) for report in reports if isinstance(report, (Finished, Returned)))
    assert ends == Counter((start.job_id, start.attempt) for start in GIVEN), f"reported: {ends}"
    for report in reports:
        if isinstance(report, Finished):
            assert report.state.final
            if report.state.word == "lost":
                json.loads(report.outcome)
    return [_WALL.sub("", repr(report)) for report in reports]


def _attempt(report: Finished | Returned) -> tuple[int, int]:
    return report.job_id, report.attempt


def check_link(data: bytes) -> None:
    """A worker reads whole lines from its link wherever they are cut; one that is cut off is none."""
    expected = data.split(b"\n")[:-1]
    for way in cuts(data):
        found = _read(way)
        assert expected == found, f"{expected!r} became {found!r}"


def _read(parts: Sequence[bytes]) -> list[bytes]:
    reader, writer = os.pipe()
    found: list[bytes] = []
    try:
        link = Link(reader, -1)
        for part in parts:
            os.write(writer, part)
            if b"\n" in part:
                found += link.read()
        os.close(writer)
        writer = -1
        found += link.read()
        return found
    finally:
        for descriptor in (reader, writer):
            if descriptor != -1:
                os.close(descriptor)


def check_journal(data: bytes) -> None:
    """
    Any bytes are the lines of a journal up to where they are none. What was written into one is in it; cut anywhere, it
    ends before the cut, and never with another line.
    """
    lines = journal.decode(data)
    _check_found(data, lines)
    lines = data.split(b"\n")
    whole = journal.encode(lines)
    assert journal.decode(whole) == lines
    ends = [len(journal.encode(lines[:count])) for count in range(len(lines) + 1)]
    for place in range(0, len(whole), max(1, len(whole) // 50)):
        assert journal.decode(whole[:place]) == lines[: sum(end <= place for end in ends) - 1]
        torn = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        good = sum(end <= place for end in ends) - 1
        assert journal.decode(torn)[:good] == lines[:good] and set(journal.decode(torn)) <= set(lines)


def _check_found(data: bytes, lines: list[bytes]) -> None:
    """The next daemon, too, makes of it what it can."""
    with nothing_logged(), tempfile.TemporaryDirectory(prefix="jobd-fuzz-") as folder:
        Path(folder, "cpu-1-1").write_bytes(data)
        journals = Journals(folder)
        (found,) = journals.find()
        journals.remove([found.name])
    assert not found.alive and found.whole <= (b"E" in [line[:1] for line in lines])
    assert len(found.begun) + len(found.reports) <= len(lines)


_NUMBERS = st.sampled_from([b"7", b"8", b"9", b"1", b"2", b"0", b"-1", b"x", b"", b"1_0", b"9" * 30, b"inf", b"nan"])

_SAID = st.one_of(
    st.builds(
        lambda which, state, wall, outcome: b"D " + which + b" " + state + b" " + wall + b" " + outcome + b"\n",
        st.sampled_from([b"7 1", b"8 2", b"9 1", b"7 2", b"7"]),
        st.sampled_from([b"succeeded", b"failed", b"cancelled", b"running", b"x"]),
        st.sampled_from([b"0.5", b"20", b"nan", b"inf", b"-1", b"1e999", b"x"]),
        st.sampled_from([b'{"exit_code": 0, "attempt": 1}', b"{}", b"", b"{", b"\xff"]),
    ),
    st.builds(
        lambda kind, words: kind + b" " + b" ".join(words) + b"\n",
        st.sampled_from([b"H", b"R", b"F", b"T", b"U", b"P", b"L", b"A", b"E", b"D", b"X", b""]),
        st.lists(_NUMBERS, max_size=6),
    ),
    st.sampled_from([b"R 7 1\n", b"R 8 2\n", b"H 1\n", b"E\n", b"\n", b"L \xff\x1b[2J\n", b"P 7 1 {}\n", b"R 9 1"]),
)

SAID = Target("worker", check_worker_says, material.inputs("worker", material.pieces(_SAID)))
LINK = Target(
    "link", check_link, material.inputs("link", material.pieces(st.sampled_from([b"S 1 1 {}\n", b"Q\n", b"C"])))
)
_WRITTEN = st.lists(
    _SAID.map(lambda line: line.rstrip(b"\n"))
    | st.sampled_from([b"W 5", b"W x", b"E", b"B 7 1", b"B 7", b"G /x", b"G \xff"]),
    max_size=6,
).map(journal.encode)

JOURNAL = Target("journal", check_journal, material.inputs("journal", material.pieces(_SAID), _WRITTEN))
