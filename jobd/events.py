"""
What can happen to the scheduler: requests that change something, reports from
the pool, connections that end, time that passes. All of them are past or present
facts; none of them holds a transport, a process or a file. What they are made of
is said in L{jobd.actions}.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from jobd.far import Block
from jobd.job import State
from jobd.spec import Submission


class Now(msgspec.Struct, frozen=True, gc=False):
    """
    The time of an event, on two clocks.

    @ivar steady: seconds on a clock that nobody sets: for timeouts and pauses.
    @ivar wall: seconds since 1970: for stamps that people read.
    """

    steady: float
    wall: float


class Submit(msgspec.Struct, eq=False, gc=False):
    """
    @ivar conn: the connection that asks; 0 is nobody.
    @ivar retry_of: for each job the one that it repeats; empty if none does.
    """

    conn: int
    tag: bytes
    jobs: list[Submission]
    retry_of: tuple[int, ...] = ()


class Wait(msgspec.Struct, eq=False, gc=False):
    """Finish events wanted for these jobs, all of which exist."""

    conn: int
    tag: bytes
    ids: list[int]


class WaitGroup(msgspec.Struct, eq=False, gc=False):
    """One event wanted when no job of the group is left."""

    conn: int
    tag: bytes
    group: str


class Cancel(msgspec.Struct, eq=False, gc=False):
    """
    @ivar alone: the request named just one job: that it has ended already is an error.
    """

    conn: int
    tag: bytes
    ids: list[int]
    alone: bool


class SetQueue(msgspec.Struct, eq=False, gc=False):
    """C{queue}, C{pause} and C{resume}. A name of None is the whole daemon, which can only be paused and resumed."""

    conn: int
    tag: bytes
    name: str | None
    limit: int | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET
    show: bool = False


class Drain(msgspec.Struct, eq=False, gc=False):
    """
    Accept nothing more, start nothing more, stop once nothing runs.

    @ivar keep: stop at once, and let what runs run on, for the next daemon.
    """

    conn: int
    tag: bytes
    keep: bool = False


class InputEnded(msgspec.Struct, eq=False, gc=False):
    """The client closed its sending half, or said C{quit}: it gets what is outstanding, then the connection ends."""

    conn: int


class Disconnected(msgspec.Struct, eq=False, gc=False):
    conn: int


class Finished(msgspec.Struct, eq=False, gc=False):
    """
    The pool's report of an attempt's end.

    @ivar outcome: JSON, as docs/protocol.md defines it.
    """

    job_id: int
    attempt: int
    state: State
    outcome: bytes


class Returned(msgspec.Struct, eq=False, gc=False):
    """The pool gives an attempt back that it has not begun."""

    job_id: int
    attempt: int


class Long(msgspec.Struct, eq=False, gc=False):
    """A call proved to take long: it takes a whole place from now on, and nothing shares it."""

    job_id: int
    attempt: int


class Stuck(msgspec.Struct, eq=False, gc=False):
    """
    The pool could not kill an attempt: it hangs in the kernel, and keeps its place until it ends after all. May be told
    again.
    """

    job_id: int
    attempt: int


class Stopping(msgspec.Struct, eq=False, gc=False):
    """The daemon stops: start nothing more."""


class Capacity(msgspec.Struct, eq=False, gc=False):
    """
    What the pool has room for.

    @ivar cpus: places for work that needs a processor.
    @ivar depth: how many calls may share one place, because they are short: 1 to L{jobd.scheduler.UNIT}.
    @ivar ahead: the same for commands.
    """

    cpus: int
    depth: int
    ahead: int = 1


class Pruned(msgspec.Struct, eq=False, gc=False):
    """The store no longer keeps these jobs, which had ended."""

    ids: list[int]


class Fetched(msgspec.Struct, eq=False, gc=False):
    """
    The store has found the jobs of a block.

    @ivar found: by id, when each was submitted, and its spec.
    """

    block: Block
    found: dict[int, tuple[float, bytes]]


class Tick(msgspec.Struct, eq=False, gc=False):
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
    | Fetched
    | Tick
)
