"""
What can happen to the scheduler: requests that change something, reports from
the pool, connections that end, time that passes. All of them are past or present
facts; none of them holds a transport, a process or a file.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs
from msgspec import UNSET, UnsetType

from jobd.job import State
from jobd.spec import Submission


class Now(NamedTuple):
    """
    The time of an event, on two clocks.

    @ivar steady: seconds on a clock that nobody sets: for timeouts and pauses.
    @ivar wall: seconds since 1970: for stamps that people read.
    """

    steady: float
    wall: float


@attrs.define(slots=True, eq=False)
class Submit:
    """
    @ivar conn: the connection that asks; 0 is nobody.
    @ivar retry_of: for each job the one that it repeats; empty if none does.
    """

    conn: int
    tag: bytes
    jobs: list[Submission]
    retry_of: tuple[int, ...] = ()


@attrs.define(slots=True, eq=False)
class Wait:
    """Finish events wanted for these jobs, all of which exist."""

    conn: int
    tag: bytes
    ids: list[int]


@attrs.define(slots=True, eq=False)
class WaitGroup:
    """One event wanted when no job of the group is left."""

    conn: int
    tag: bytes
    group: str


@attrs.define(slots=True, eq=False)
class Cancel:
    """
    @ivar alone: the request named just one job: that it has ended already is an error.
    """

    conn: int
    tag: bytes
    ids: list[int]
    alone: bool


@attrs.define(slots=True, eq=False)
class SetQueue:
    """C{queue}, C{pause} and C{resume}. A name of None is the whole daemon, which can only be paused and resumed."""

    conn: int
    tag: bytes
    name: str | None
    limit: int | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET
    show: bool = False


@attrs.define(slots=True, eq=False)
class Drain:
    """
    Accept nothing more, start nothing more, stop once nothing runs.

    @ivar keep: stop at once, and let what runs run on, for the next daemon.
    """

    conn: int
    tag: bytes
    keep: bool = False


@attrs.define(slots=True, eq=False)
class InputEnded:
    """The client closed its sending half, or said C{quit}: it gets what is outstanding, then the connection ends."""

    conn: int


@attrs.define(slots=True, eq=False)
class Disconnected:
    conn: int


@attrs.define(slots=True, eq=False)
class Finished:
    """
    The pool's report of an attempt's end.

    @ivar outcome: JSON, as docs/protocol.md defines it.
    """

    job_id: int
    attempt: int
    state: State
    outcome: bytes


@attrs.define(slots=True, eq=False)
class Returned:
    """The pool gives an attempt back that it has not begun."""

    job_id: int
    attempt: int


@attrs.define(slots=True, eq=False)
class Long:
    """A call proved to take long: it takes a whole place from now on, and nothing shares it."""

    job_id: int
    attempt: int


@attrs.define(slots=True, eq=False)
class Stuck:
    """
    The pool could not kill an attempt: it hangs in the kernel, and keeps its place until it ends after all. May be told
    again.
    """

    job_id: int
    attempt: int


@attrs.define(slots=True, eq=False)
class Stopping:
    """The daemon stops: start nothing more."""


@attrs.define(slots=True, eq=False)
class Capacity:
    """
    What the pool has room for.

    @ivar cpus: places for work that needs a processor.
    @ivar depth: how many calls may share one place, because they are short: 1 to L{jobd.scheduler.UNIT}.
    @ivar ahead: the same for commands.
    """

    cpus: int
    depth: int
    ahead: int = 1


@attrs.define(slots=True, eq=False)
class Pruned:
    """The store no longer keeps these jobs, which had ended."""

    ids: list[int]


@attrs.define(slots=True, eq=False)
class Tick:
    """Time has passed: a deadline may have come."""


Event = (
    Submit
    | Wait
    | WaitGroup
    | Cancel
    | SetQueue
    | Drain
    | InputEnded
    | Disconnected
    | Finished
    | Returned
    | Long
    | Stuck
    | Stopping
    | Capacity
    | Pruned
    | Tick
)
