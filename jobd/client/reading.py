"""What the blocking client reads from a stream: finish events, output as it is written, output that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jobd.client import commands
from jobd.client.commands import Command, JobLike
from jobd.client.core import Event, Reply, Request
from jobd.client.outcome import FINAL, Outcome
from jobd.client.session import Session
from jobd.client.streams import Follow, output_bytes


class Output(NamedTuple):
    """A piece of a job's output: C{data} was written at byte C{start} of C{stream}."""

    job: int
    stream: str
    start: int
    data: bytes


def told(event: Event) -> Output | Outcome | Event:
    """An event as the user of a client sees it."""
    if event.state in FINAL:
        return Outcome(event.job, event.cursor, event.state, event.data)
    if event.state == "output":
        return Output(event.job, event.data["stream"], event.data["from"], output_bytes(event.data))
    return event


def open_stream(session: Session) -> Session:
    """Open a session for one stream; it is returned once the daemon has begun to serve it."""
    session.open()
    try:
        # The reply to this comes after the replies to what the stream asked for.
        session.ask(Request("ping"))
        session.check()
    except BaseException:
        session.close()
        raise
    return session


def watch(session: Session) -> Iterator[Outcome | Event]:
    """The events of a L{Watch}."""
    with session:
        for event in _events(session):
            yield Outcome(event.job, event.cursor, event.state, event.data) if event.state in FINAL else event


def follow(session: Session, stream: Follow) -> Iterator[Output | Outcome | Event]:
    """The events of a L{Follow}, until all of its jobs have ended."""
    # Not by what is left: that knows of events which have come and are not yet told.
    to_come = stream.total
    with session:
        for event in _events(session):
            yield told(event)
            to_come -= event.state in FINAL
            if not to_come:
                return


def _events(session: Session) -> Iterator[Event]:
    for item in session.items():
        if isinstance(item, Event):
            yield item
        elif isinstance(item, Reply) and item.error is not None:
            raise item.error


def parts(
    do: Callable[[Command[dict[str, Any]]], dict[str, Any]],
    job: JobLike,
    stream: str,
    start: int = 0,
    limit: int | None = None,
    attempt: int | None = None,
) -> Iterator[bytes]:
    """What a job has written so far, in parts that each fit into a reply."""
    reading = commands.Reading(job, stream, start, limit, attempt)
    while (command := reading.next()) is not None:
        yield reading.take(do(command))
