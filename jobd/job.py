"""
What a job is: its states and their transitions, what a client submits
(L{JobSpec}), what the daemon remembers while it is not finished (L{Job}), and
how an attempt ended (L{Outcome}).

    submit -> waiting | queued -> running -> a final state

A final state is never left: C{retry} makes a new job.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import UNSET, Meta, UnsetType


class State(IntEnum):
    """The numbers are what the store keeps: never change one."""

    WAITING = 1
    QUEUED = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLED = 6
    TIMED_OUT = 7
    LOST = 8
    SKIPPED = 9

    __hash__ = int.__hash__
    """An enumeration's own is a function in Python, and every look-up by a state calls it."""

    @property
    def word(self) -> str:
        """The state as it stands on the wire."""
        return self.name.lower()

    @property
    def final(self) -> bool:
        return self >= State.SUCCEEDED


QUEUED, RUNNING, SUCCEEDED = State.QUEUED, State.RUNNING, State.SUCCEEDED
"""To look up a member of an enumeration takes 0.1 µs before Python 3.12: what every job comes by has it by these."""

WORDS: tuple[str, ...] = ("", *(state.word for state in State))
"""The wire's word for each state, by its number."""

WIRE_WORDS: tuple[bytes, ...] = tuple(word.encode() for word in WORDS)
"""The same, as bytes."""

BY_WORD: dict[str, State] = {state.word: state for state in State}

FINAL: frozenset[State] = frozenset(state for state in State if state.final)

TRANSITIONS: dict[State | None, frozenset[State]] = {
    None: frozenset({State.WAITING, State.QUEUED, State.SKIPPED}),
    State.WAITING: frozenset({State.QUEUED, State.CANCELLED, State.SKIPPED}),
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset(
        {
            State.WAITING,
            State.QUEUED,
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELLED,
            State.TIMED_OUT,
            State.LOST,
        }
    ),
}
"""
Every step a job may take; None is before its submission. (A job whose C{after} cannot
be had any more begins as skipped; one whose record the disk has damaged is lost, wherever it stood.)
"""

Policy = Literal["ok", "failed", "any"]

SATISFIED_BY: dict[str, frozenset[State]] = {
    "ok": frozenset({State.SUCCEEDED}),
    "failed": frozenset({State.FAILED, State.TIMED_OUT, State.LOST}),
    "any": FINAL,
}
"""The final states of the earlier job with which a policy of C{after} lets the later one run."""

WORTH_ANOTHER_ATTEMPT: frozenset[State] = frozenset({State.FAILED, State.TIMED_OUT, State.LOST})

BACKOFF_CAP = 3600.0
"""Seconds: the pause before an attempt never grows beyond this."""

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Line = Annotated[str, Meta(min_length=1, max_length=128)]
Key = Annotated[str, Meta(min_length=1, max_length=256)]
Seconds = Annotated[float, Meta(ge=0, le=315_360_000)]
Callable_ = Annotated[str, Meta(max_length=512)]


class StdinFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """C{{"file": PATH}} as a job's standard input."""

    file: Annotated[str, Meta(min_length=1)]


class JobSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False):
    """
    One job as a client submits it: the fields of docs/protocol.md. A msgspec
    Struct, because that checks types, ranges and unknown names while it
    decodes, at a cost below that of decoding into a dict. What its texts must look
    like is looked at by L{jobd.spec}: most are the same ones again.
    """

    argv: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    shell: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    call: Callable_ | UnsetType = UNSET
    args: list[Any] | UnsetType = UNSET
    kwargs: dict[str, Any] | UnsetType = UNSET
    pickle: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    cwd: Annotated[str, Meta(min_length=1)] | None = None
    env: dict[str, str | None] = {}
    stdin: str | StdinFile = ""
    stdout: Annotated[str, Meta(min_length=1)] | UnsetType | None = UNSET
    stderr: Annotated[str, Meta(min_length=1)] | UnsetType | None = UNSET
    queue: Name = "default"
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    delay: Seconds = 0.0
    after: list[int] | dict[str, Policy] = []
    timeout: Annotated[float, Meta(gt=0, le=315_360_000)] | None = None
    grace: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    attempts: Annotated[int, Meta(ge=1, le=1000)] = 1
    backoff: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    key: Key | None = None
    group: Line | None = None
    label: Line | None = None
    cpus: Annotated[int, Meta(ge=0, le=1024)] | UnsetType = UNSET
    lane: Literal["cpu", "io"] = "cpu"
    notify: bool = True


class Lane(IntEnum):
    """Which kind of worker runs a job."""

    COMMAND = 0
    CPU = 1
    IO = 2

    __hash__ = int.__hash__


COMMAND, CPU, IO = Lane.COMMAND, Lane.CPU, Lane.IO
"""As with the states."""


@attrs.frozen(slots=True)
class Plan:
    """
    How a job is to be scheduled: all that most jobs share with many others,
    so that one instance serves them all.
    """

    lane: Lane
    queue: str
    priority: int
    cpus: int
    timeout: float | None
    grace: float
    attempts: int
    backoff: float


class Job(msgspec.Struct, eq=False, gc=False):
    """
    A job that has not ended, as the scheduler knows it.

    @ivar spec: the JSON object that was submitted, as it came: what the worker
        and the store get.
    @ivar attempt: the number of the newest attempt, 0 before the first.
    @ivar submitted: wall clock time, seconds since 1970; so are C{started} and C{due}.
    @ivar due: when a delayed job or a further attempt may start, or None.
    @ivar ending: why it is being ended, while it still runs.
    @ivar deadline: when it has waited or run long enough, on the steady clock, or None.
    @ivar cost: the part of the processors its running attempt holds.
    @ivar notify: the id of the connection that submitted it, or 0.
    @ivar outcome: of the newest attempt, JSON; None until one has ended.
    @ivar cursor: of its finish event; 0 until then.
    """

    id: int
    state: State
    plan: Plan
    spec: bytes
    submitted: float
    notify: int = 0
    attempt: int = 0
    started: float | None = None
    ended: float | None = None
    due: float | None = None
    ending: State | None = None
    deadline: float | None = None
    cost: int = 0
    cursor: int = 0
    outcome: bytes | None = None


class Outcome(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """
    How an attempt ended: the JSON of a finish event. Units are seconds and
    bytes; what does not apply is UNSET and left out.
    """

    exit_code: int | UnsetType = UNSET
    signal: str | UnsetType = UNSET
    wall: float | UnsetType = UNSET
    user: float | UnsetType = UNSET
    sys: float | UnsetType = UNSET
    max_rss: int | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    error: str | UnsetType = UNSET
    traceback: str | UnsetType = UNSET
    result: Any = UNSET
    pickle: str | UnsetType = UNSET
    because: int | UnsetType = UNSET
    left: int | UnsetType = UNSET
    cut: bool | UnsetType = UNSET


_plans: dict[tuple[Any, ...], Plan] = {}


def plan_of(spec: JobSpec) -> Plan:
    """The plan of a job that has passed the checks of L{jobd.spec}."""
    is_command = spec.call is UNSET and spec.pickle is UNSET
    lane = COMMAND if is_command else IO if spec.lane == "io" else CPU
    cpus = spec.cpus if spec.cpus is not UNSET else int(lane is not IO)
    traits = (lane, spec.queue, spec.priority, cpus, spec.timeout, spec.grace, spec.attempts, spec.backoff)
    plan = _plans.get(traits)
    if plan is None:
        if len(_plans) >= 10_000:
            _plans.clear()
        plan = _plans[traits] = Plan(*traits)
    return plan


def backoff_before(plan: Plan, attempt: int) -> float:
    """Seconds of pause before the given attempt (2 or more)."""
    return float(min(BACKOFF_CAP, plan.backoff * 2 ** min(attempt - 2, 30)))
