"""From words and options to the selector that the daemon understands."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from jobd.client import commands
from jobd.client.ids import parse_ids
from jobd.client.outcome import FINAL
from jobd.client.session import Session
from jobd.errors import NoSuchJob, UsageError

STATES = (*sorted(FINAL), "waiting", "queued", "running")


def last(session: Session) -> int:
    """
    The newest job's id.

    @raise NoSuchJob: there are none.
    """
    command = commands.list_jobs({"newest": True, "limit": 1})
    jobs = command.read(session.ask(command.request()))["jobs"]
    if not jobs:
        raise NoSuchJob("there is no job yet")
    return int(jobs[0]["id"])


def filters(session: Session, args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as a filter; empty if nothing was."""
    found: dict[str, Any] = {}
    ids = [_checked(session, part) for word in args.jobs for part in word.split(",") if part]
    if ids:
        found["ids"] = ",".join(ids)
    states = [state for text in args.state or () for state in text.split(",")]
    for state in states:
        if state not in STATES:
            raise UsageError(f"{state!r} is no state; there are {', '.join(STATES)}")
    if states:
        found["state"] = states if len(states) > 1 else states[0]
    for name in ("queue", "group", "label", "key"):
        if getattr(args, name) is not None:
            found[name] = getattr(args, name)
    return found


def _checked(session: Session, part: str) -> str:
    if part == "last":
        return str(last(session))
    first, dash, end = part.partition("-")
    if not (first.isdigit() and (end.isdigit() or not dash)):
        raise UsageError(f"{part!r} is no job; write an id as 17, a range as 18-20, or 'last'")
    return part


def selector(session: Session, args: argparse.Namespace) -> str:
    """
    The selector for a request.

    @raise UsageError: nothing was selected.
    """
    found = filters(session, args)
    if not found:
        raise UsageError("which jobs? Give ids, 'last', --state, --queue, --group, --label or --key")
    return str(found["ids"]) if list(found) == ["ids"] else json.dumps(found)


def pages(session: Session, wanted: dict[str, Any], limit: int | None = None) -> Iterator[dict[str, Any]]:
    """The jobs that a filter stands for, in short, from as many replies as it takes."""
    listing = commands.Listing(wanted, limit)
    while (command := listing.next()) is not None:
        yield from listing.take(command.read(session.ask(command.request())))


def ids(session: Session, args: argparse.Namespace) -> list[int]:
    """
    The ids of the jobs that were selected.

    @raise NoSuchJob: there are none.
    """
    text = selector(session, args)
    if text[0] != "{" and "-" not in text:
        return parse_ids(text)
    found = [int(job["id"]) for job in pages(session, filters(session, args))]
    if not found:
        raise NoSuchJob("there is no such job")
    return found
