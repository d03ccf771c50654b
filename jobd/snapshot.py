"""What a store gives back when it is opened: all that the scheduler must know again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import msgspec

from jobd.job import State


class Kept(msgspec.Struct, gc=False):
    """
    A job that had not ended, as it was kept. The fields are those of L{jobd.job.Job}.

    @ivar group: the job's group, where C{spec} cannot be read either.
    @ivar unreadable: which field cannot be read, if one cannot; then no other is to be trusted.
    """

    id: int
    state: State
    attempt: int
    submitted: float
    started: float | None
    due: float | None
    ending: State | None
    spec: bytes
    outcome: bytes | None
    group: str | None = None
    unreadable: str = ""


@attrs.define(slots=True)
class Snapshot:
    """
    @ivar instance: names what was kept: another one knows other jobs by the same ids.
    @ivar next_id: above every id ever given out.
    @ivar cursor: of the newest event ever kept.
    @ivar changes: how many batches with neither a new id nor an event there ever were.
    @ivar jobs: those that had not ended, by growing id. They, and those that had, may be read only as they are gone
        through: do so before the first batch.
    @ivar ended: id and final state of those that had.
    @ivar keys: each key with its job's id and fingerprint.
    @ivar queues: name, limit, paused.
    @ivar mended: jobs that have ended, nobody knows any more how.
    @ivar notes: what else there is to say of it, for the log.
    @ivar groups: for groups with jobs that have not ended: how many ended in which state.
    """

    instance: str = ""
    next_id: int = 1
    cursor: int = 0
    changes: int = 0
    jobs: Iterable[Kept] = ()
    ended: Iterable[tuple[int, int]] = ()
    keys: Iterable[tuple[str, int, int]] = ()
    queues: Iterable[tuple[str, int | None, bool]] = ()
    mended: Sequence[int] = ()
    notes: Sequence[str] = ()
    groups: dict[str, dict[str, int]] = attrs.Factory(dict)
