"""
What C{after} names. No I/O.

Only jobs that exist can be named: older ones by their ids, and those before it in the same
list by counting back. That is why no cycle can be written down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from jobd import wire
from jobd.errors import BadValue, NoSuchJob
from jobd.job import State

After = list[int] | dict[str, Any]
"""As in L{jobd.job.JobSpec}."""

_NUMBER = re.compile(r"-?[1-9][0-9]{0,17}\Z")


def check_after(after: After, index: int, state_of: Callable[[int], State | None]) -> None:
    """
    @param index: the job's place in its submission, from 0: how far a number may count back.
    @param state_of: the state of a job, or None if there is no such job.
    @raise BadValue: a name is no number, or counts back too far.
    @raise NoSuchJob: there is no job with that id.
    """
    for name in after:
        text = str(name)
        if not _NUMBER.match(text):
            raise BadValue(f"after: {wire.excerpt(text.encode())} is not a job id")
        number = int(text)
        if -index <= number < 0:
            continue
        if number < 0:
            raise BadValue(f"after: {number} counts back beyond the beginning of the list of jobs")
        if state_of(number) is None:
            raise NoSuchJob(f"after: there is no job {number}")


def resolve_after(after: After, earlier: Sequence[int]) -> dict[int, str]:
    """
    The ids that a job comes after, each with its policy.

    @param earlier: the ids of the jobs before it in its submission: what negative numbers count back in.
    """
    policies = after if isinstance(after, dict) else dict.fromkeys(after, "ok")
    return {(number if (number := int(name)) > 0 else earlier[number]): policy for name, policy in policies.items()}
