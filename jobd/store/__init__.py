"""
Where jobs are kept: a seam with two sides.

A L{Store} takes batches of changes, in order, and tells when each is safe; it
is read through a L{Reader}. Both are told by a call, so that nothing above
this floor needs to know whether there is a file, a thread or a network behind
it. Every store passes C{tests/unit/test_store.py}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec

from jobd.actions import Kept
from jobd.job import State
from jobd.selector import Filter
from jobd.snapshot import Snapshot

T = TypeVar("T")


RETRY_FULL = 1.0
"""Seconds before whoever found no room in the store asks it again."""

Specs = dict[int, tuple[float, bytes]]
"""By id, when a job was submitted, and its spec. One is missing where that can no longer be read."""


class Record(msgspec.Struct, gc=False):
    """A job as it is kept. Times are seconds since 1970; C{outcome} and C{spec} are JSON."""

    id: int
    state: State
    attempt: int
    submitted: float
    started: float | None
    ended: float | None
    due: float | None
    cursor: int | None
    outcome: bytes | None
    spec: bytes
    retry_of: int | None


class KeptEvent(msgspec.Struct, gc=False):
    """
    An event as it was announced.

    @ivar state: None for a group's, which has C{job_id} 0.
    @ivar json: its outcome.
    """

    cursor: int
    job_id: int
    state: State | None
    json: bytes


class Reader(Protocol):
    """What can be asked of a store. All of it sees every batch that was told to be safe."""

    def records(self, ids: Sequence[int]) -> list[Record]:
        """The jobs with these ids that are there, in the order of the ids."""

    def select(self, chosen: Filter, start: int, limit: int, newest: bool) -> list[Record]:
        """
        Jobs that pass the filter, by id.

        @param start: the first id to look at; 0 is the end where that order begins.
        @param newest: the highest id first.
        """

    def ids(self, chosen: Filter, limit: int) -> list[int]:
        """The ids of the jobs that pass the filter, the oldest first, at most C{limit}."""

    def events(self, after: int, limit: int) -> list[KeptEvent]:
        """Events with a cursor above the given one, in their order."""

    def finishes(self, ids: Sequence[int]) -> list[KeptEvent]:
        """The finish events of these jobs, those that there are, by cursor."""

    def group_event(self, group: str) -> KeptEvent | None:
        """The newest event of a group."""

    def floor(self) -> int:
        """The highest cursor whose event is no longer kept."""


class Store(Protocol):
    def open(self) -> Snapshot:
        """
        Read all that the scheduler must know.

        @raise jobd.errors.StoreError: it cannot be read; nothing was changed.
        """

    def commit(self, batch: Iterable[Kept], done: Callable[[Exception | None], None]) -> None:
        """
        Keep a batch, all or nothing, after all batches before it. The values are taken
        before this returns.

        @param done: called with None once it is safe; else with
            L{jobd.errors.Full}, when the same batch may be given again, or
            L{jobd.errors.StoreError}, after which the store must not be used.
        """

    def read(self, ask: Callable[[Reader], T], done: Callable[[T | Exception], None]) -> None:
        """Ask the reader, and call C{done} with the answer or the exception."""

    def fetch(self, ids: Sequence[int], done: Callable[[Specs | Exception], None]) -> None:
        """
        Call C{done} with the specs of these jobs, of batches that were told to be safe, or with the exception. It
        waits for no batch and for no question.
        """

    def prune(self, keep: int, before: float, done: Callable[[list[int] | Exception], None]) -> None:
        """
        Forget ended jobs, those that ended first: all but the newest C{keep}, and those that ended
        before a time, with all that were told before them.
        """

    def close(self) -> None:
        """Finish what was given, then let go."""
