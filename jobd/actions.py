"""
What the scheduler wants done. The daemon performs the actions of all events in
their order; those that speak to a client or start a process only after every
change to be kept that stands before them is safe in the store.
"""

from __future__ import annotations

import attrs

from jobd.errors import JobdError
from jobd.job import Job, JobSpec, Lane, State

# To be kept.


@attrs.define(slots=True, eq=False)
class Insert:
    """
    Keep a new job, in the state it has when the batch is written.

    @ivar fingerprint: of the job, where it has a key.
    @ivar retry_of: the job that it repeats.
    """

    job: Job
    spec: JobSpec
    fingerprint: int | None = None
    retry_of: int | None = None


@attrs.define(slots=True, eq=False)
class Update:
    """Keep what has changed of a job: state, attempt, times, cursor, outcome."""

    job: Job


@attrs.define(slots=True, eq=False)
class KeepGroupEvent:
    """
    @ivar counts: JSON, the event's.
    """

    cursor: int
    group: str
    json: bytes


@attrs.define(slots=True, eq=False)
class KeepQueue:
    """A queue's settings. The name C{*} is the whole daemon."""

    name: str
    limit: int | None
    paused: bool


# To be done once that is kept.


@attrs.define(slots=True, eq=False)
class Reply:
    """
    C{ok}, with a text.

    @ivar plain: it promises nothing, and need not wait for what stands before it to be kept, only
        for earlier replies to the same client.
    """

    conn: int
    tag: bytes
    text: bytes = b""
    plain: bool = False


@attrs.define(slots=True, eq=False)
class Refuse:
    """C{error}. C{plain} as in L{Reply}."""

    conn: int
    tag: bytes
    error: JobdError
    plain: bool = False


@attrs.define(slots=True, eq=False)
class Start:
    """
    Begin an attempt.

    @ivar spec: the job as submitted, JSON.
    @ivar cpus: how many places it takes.
    @ivar began: when, in seconds since 1970.
    """

    job_id: int
    attempt: int
    lane: Lane
    spec: bytes
    cpus: int = 1
    began: float = 0.0


@attrs.define(slots=True, eq=False)
class Kill:
    """End an attempt that has been started: ask, and after C{grace} seconds force."""

    job_id: int
    attempt: int
    lane: Lane
    grace: float


@attrs.define(slots=True, eq=False)
class Announce:
    """
    Tell that a job has ended, or with C{job_id} 0 that a group has.

    @ivar state: None for a group.
    @ivar conns: who asked for just this event. Whoever watches gets it anyway.
    """

    cursor: int
    job_id: int
    state: State | None
    outcome: bytes
    conns: list[int]


@attrs.define(slots=True, eq=False)
class Recall:
    """Tell again, from the store, how these jobs ended."""

    conn: int
    ids: list[int]


@attrs.define(slots=True, eq=False)
class RecallGroup:
    """Tell again, from the store, how the group ended; it exists."""

    conn: int
    group: str


@attrs.define(slots=True, eq=False)
class Close:
    """Nothing is outstanding for this connection, which has ended its input."""

    conn: int


@attrs.define(slots=True, eq=False)
class Halt:
    """
    Stop the daemon: it is drained, or is to let what runs run on.
    """

    keep: bool = False


@attrs.define(slots=True, eq=False)
class Note:
    """A line for the log."""

    text: str


Kept = Insert | Update | KeepGroupEvent | KeepQueue
Action = (
    Insert
    | Update
    | KeepGroupEvent
    | KeepQueue
    | Reply
    | Refuse
    | Start
    | Kill
    | Announce
    | Recall
    | RecallGroup
    | Close
    | Halt
    | Note
)
