"""Daemons with something taken out, each of which the simulation must catch: else it would show nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from jobd import actions
from jobd.actions import Action
from jobd.daemon import Daemon, Perform
from jobd.feed import Feed
from jobd.job import Job, State
from jobd.pool import Heard
from jobd.scheduler import Scheduler

Rest = list[Action | Perform]
Patch = Callable[[], Any]


def without_fence(scheduler: Scheduler, job_id: int, attempt: int, out: list[Action]) -> Job | None:
    """A report counts for whichever attempt is the current one."""
    job = scheduler.jobs.get(job_id)
    return job if job is not None and job.state is State.RUNNING else None


_commit = Daemon._commit


def answers_before_the_commit(daemon: Daemon, kept: list[Any], rest: Rest, heard: list[Heard]) -> None:
    early: Rest = [action for action in rest if isinstance(action, actions.Reply)]
    daemon._perform(early, [])
    _commit(daemon, kept, [action for action in rest if action not in early], heard)


def starts_before_the_commit(daemon: Daemon, kept: list[Any], rest: Rest, heard: list[Heard]) -> None:
    early: Rest = [action for action in rest if isinstance(action, actions.Start)]
    daemon._perform(early, [])
    _commit(daemon, kept, [action for action in rest if action not in early], heard)


def does_not_keep_the_attempt(daemon: Daemon, kept: list[Any], rest: Rest, heard: list[Heard]) -> None:
    known = [
        change for change in kept if not (isinstance(change, actions.Update) and change.job.state is State.RUNNING)
    ]
    _commit(daemon, known, rest, heard)


def forgets_reports_before_the_commit(daemon: Daemon, kept: list[Any], rest: Rest, heard: list[Heard]) -> None:
    for reports in heard:
        daemon.pool.kept(reports)
    _commit(daemon, kept, rest, [])


async def lives_before_it_has_caught_up(feed: Feed) -> None:
    """What was announced before is left out."""
    feed.live = True
    feed._daemon.watchers.add(feed)


def _committing(otherwise: Callable[[Daemon, list[Any], Rest, list[Heard]], None]) -> Patch:
    return lambda: mock.patch.object(Daemon, "_commit", otherwise)


CONTROLS: dict[str, Patch] = {
    "without the fence": lambda: mock.patch.object(Scheduler, "_current", without_fence),
    "a reply before the commit": _committing(answers_before_the_commit),
    "a start before the commit": _committing(starts_before_the_commit),
    "an attempt that is not kept": _committing(does_not_keep_the_attempt),
    "a report let go before the commit": _committing(forgets_reports_before_the_commit),
    "a stream with a hole": lambda: mock.patch.object(Feed, "catch_up", lives_before_it_has_caught_up),
}
"""What is taken out, and how."""
