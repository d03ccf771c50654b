"""Telling again, from the store, how jobs and groups have ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred

from jobd import wire
from jobd.job import WIRE_WORDS, State
from jobd.listener import Listener
from jobd.pages import Pages
from jobd.store import KeptEvent, Reader

T = TypeVar("T")


class Source(Protocol):
    """Whoever asks the store."""

    def read(self, ask: Callable[[Reader], T]) -> Deferred[T]: ...


async def tell_finishes(source: Source, listener: Listener, ids: Sequence[int]) -> None:
    """How these jobs have ended, as fast as the client takes it."""
    pages = Pages()
    begun = 0
    while begun < len(ids) and not listener.gone:
        some = ids[begun : begun + pages.size]
        begun += len(some)
        found = await source.read(_finishes(some))
        pages.read(found)
        await listener.drained()
        _send(listener, found)


def _finishes(ids: Sequence[int]) -> Callable[[Reader], list[KeptEvent]]:
    return lambda reader: reader.finishes(ids)


async def tell_group(source: Source, listener: Listener, name: str) -> None:
    """How the group has ended; nothing, if that is no longer kept."""
    event = await source.read(lambda reader: reader.group_event(name))
    _send(listener, [] if event is None else [event])


def _send(listener: Listener, found: Sequence[KeptEvent]) -> None:
    for event in found:
        listener.send(kept_line(event))
    listener.flush()


def kept_line(event: KeptEvent) -> bytes:
    return event_line(event.cursor, event.job_id, event.state, event.json)


def event_line(cursor: int, job_id: int, state: State | None, outcome: bytes) -> bytes:
    return wire.event(cursor, job_id, b"group" if state is None else WIRE_WORDS[state], outcome)
