"""The jobs of the kill loop: a mixture of short and long ones, of all lanes, each made to show something."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jobd.job import Lane

ROOT = Path(__file__).resolve().parent.parent.parent

NUMBERS = 10_000_000
"""Jobs a client may submit; with its own number each job has a number, and a byte of the witness file to lock."""

FOREVER = 20_000
"""Milliseconds of a job that is to be ended from outside."""


class Kind(NamedTuple):
    """
    @ivar share: how many of a thousand jobs.
    @ivar milliseconds: the shortest and the longest.
    @ivar fails: in so many first attempts.
    @ivar slow: a client has few of these at a time.
    @ivar how: for calls the function in C{calls.py}.
    """

    share: int
    lane: Lane
    milliseconds: tuple[int, int] = (0, 0)
    fails: int = 0
    attempts: tuple[int, ...] = (1, 3)
    slow: bool = False
    how: str = ""
    timeout: float | None = None
    cancelled: bool = False
    child: bool = False


KINDS = {
    "command": Kind(400, Lane.COMMAND),
    "pause": Kind(170, Lane.COMMAND, (1, 60)),
    "long": Kind(30, Lane.COMMAND, (300, 2000), slow=True),
    "again": Kind(40, Lane.COMMAND, (100, 300), fails=1, attempts=(3,), slow=True),
    "fail": Kind(20, Lane.COMMAND, (0, 20), fails=9, attempts=(1, 2)),
    "timed": Kind(5, Lane.COMMAND, (FOREVER, FOREVER), attempts=(1,), slow=True, timeout=0.4),
    "cancelled": Kind(10, Lane.COMMAND, (FOREVER, FOREVER), slow=True, cancelled=True),
    "child": Kind(10, Lane.COMMAND, (0, 30), child=True, slow=True),
    "call": Kind(160, Lane.CPU, how="call"),
    "busy": Kind(40, Lane.CPU, (1, 40), how="call"),
    "retried": Kind(15, Lane.CPU, (0, 100), fails=1, attempts=(3,), how="call"),
    "longcall": Kind(5, Lane.CPU, (200, 700), slow=True, how="call"),
    "task": Kind(50, Lane.IO, (0, 200), how="coroutine"),
    "thread": Kind(30, Lane.IO, (0, 100), how="thread"),
    "longtask": Kind(15, Lane.IO, (500, 2000), slow=True, how="coroutine"),
}

BACKOFF = 0.05


class Tools(NamedTuple):
    """Where jobs find what they need: the witness file, and the program made from C{job.c}."""

    witness: str
    program: str


class Job(NamedTuple):
    """
    @ivar name: unique; the job's label, and its key if it has one.
    @ivar number: the byte of the witness file that it locks.
    """

    name: str
    number: int
    kind: str
    keyed: bool
    attempts: int
    milliseconds: int

    @property
    def slow(self) -> bool:
        return KINDS[self.kind].slow

    @property
    def cancelled(self) -> bool:
        return KINDS[self.kind].cancelled

    def spec(self, tools: Tools) -> dict[str, Any]:
        """The job as it is submitted."""
        kind = KINDS[self.kind]
        fields: dict[str, Any] = {"label": self.name, "attempts": self.attempts}
        if self.attempts > 1:
            fields["backoff"] = BACKOFF
        if self.keyed:
            fields["key"] = self.name
        if kind.timeout is not None:
            fields["timeout"] = kind.timeout
        if kind.lane is Lane.COMMAND:
            words = (tools.witness, self.name, self.number, self.milliseconds, kind.fails, int(kind.child))
            # A slow one takes no place, so that the others go on beside it.
            return {
                **fields,
                "argv": [tools.program, *map(str, words)],
                "grace": 1,
                **({"cpus": 0} if kind.slow else {}),
            }
        args = [tools.witness, self.name, self.number, self.milliseconds]
        fields["call"] = f"tests.torture.calls:{kind.how}"
        fields["cwd"] = str(ROOT)
        if kind.lane is Lane.IO:
            return {**fields, "args": args, "lane": "io"}
        return {**fields, "args": [*args, kind.fails]}

    def json(self, tools: Tools) -> str:
        return json.dumps(self.spec(tools), separators=(",", ":"))


class Source:
    """
    New jobs for one client, without end.

    @param client: its number.
    """

    def __init__(self, seed: int, client: int) -> None:
        self._random = random.Random(f"{seed}/{client}")
        self._client = client
        self._made = 0

    def job(self, keyed: bool, slow: bool) -> Job:
        """
        @param slow: whether it may be a slow one.
        """
        kinds = [name for name, kind in KINDS.items() if slow or not kind.slow]
        kind = self._random.choices(kinds, [KINDS[name].share for name in kinds])[0]
        self._made += 1
        return Job(
            f"{self._client}-{self._made}",
            self._client * NUMBERS + self._made,
            kind,
            keyed,
            self._random.choice(KINDS[kind].attempts),
            self._random.randint(*KINDS[kind].milliseconds),
        )

    def batch(self, keyed: bool, most: int, slow: int) -> Iterator[Job]:
        """
        Some jobs, C{most} at most.

        @param slow: how many of them may be slow.
        """
        for _ in range(self._random.randint(1, most)):
            job = self.job(keyed, slow > 0)
            slow -= job.slow
            yield job

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def seconds(self, most: float) -> float:
        return self._random.uniform(0, most)
