"""
What the scheduler wants done. The daemon performs the actions of all events in
their order; those that speak to a client or start a process only after every
change to be kept that stands before them is safe in the store.

They are msgspec's structs, which cost a quarter of what other classes cost to
make, and without a part in cycles, so that the collector need not know them.
"""

from __future__ import annotations

import msgspec

from jobd.errors import JobdError
from jobd.far import Block
from jobd.job import Job, JobSpec, Lane, State

# To be kept.


class Insert(msgspec.Struct, eq=False, gc=False):
    """
    Keep a new job, in the state it has when the batch is written.

    @ivar spec: its fields; None if it has neither key nor group nor label. (Most have none of them, and then
        what is under way takes half the room, of which a processor's cache has little.)
    @ivar fingerprint: of the job, where it has a key.
    @ivar retry_of: the job that it repeats.
    """

    job: Job
    spec: JobSpec | None
    fingerprint: int | None = None
    retry_of: int | None = None


class Update(msgspec.Struct, eq=False, gc=False):
    """Keep what has changed of a job: state, attempt, times, cursor, outcome."""

    job: Job


class KeepGroupEvent(msgspec.Struct, eq=False, gc=False):
    """
    @ivar counts: JSON, the event's.
    """

    cursor: int
    group: str
    json: bytes


class KeepQueue(msgspec.Struct, eq=False, gc=False):
    """A queue's settings. The name C{*} is the whole daemon."""

    name: str
    limit: int | None
    paused: bool


# To be done once that is kept.


class Reply(msgspec.Struct, eq=False, gc=False):
    """
    C{ok}, with a text.

    @ivar plain: it promises nothing, and need not wait for what stands before it to be kept, only
        for earlier replies to the same client.
    """

    conn: int
    tag: bytes
    text: bytes = b""
    plain: bool = False


class Refuse(msgspec.Struct, eq=False):  # An exception may be part of a cycle.
    """C{error}. C{plain} as in L{Reply}."""

    conn: int
    tag: bytes
    error: JobdError
    plain: bool = False


class Start(msgspec.Struct, eq=False, gc=False):
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


class Fetch(msgspec.Struct, eq=False, gc=False):
    """Ask the store for jobs that come near their turn, for L{jobd.events.Fetched}."""

    block: Block


class Kill(msgspec.Struct, eq=False, gc=False):
    """End an attempt that has been started: ask, and after C{grace} seconds force."""

    job_id: int
    attempt: int
    lane: Lane
    grace: float


class Announce(msgspec.Struct, eq=False, gc=False):
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


class Recall(msgspec.Struct, eq=False, gc=False):
    """Tell again, from the store, how these jobs ended."""

    conn: int
    ids: list[int]


class RecallGroup(msgspec.Struct, eq=False, gc=False):
    """Tell again, from the store, how the group ended; it exists."""

    conn: int
    group: str


class Close(msgspec.Struct, eq=False, gc=False):
    """Nothing is outstanding for this connection, which has ended its input."""

    conn: int


class Halt(msgspec.Struct, eq=False, gc=False):
    """
    Stop the daemon: it is drained, or is to let what runs run on.
    """

    keep: bool = False


class Note(msgspec.Struct, eq=False, gc=False):
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
    | Fetch
    | Kill
    | Announce
    | Recall
    | RecallGroup
    | Close
    | Halt
    | Note
)
