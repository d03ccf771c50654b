"""Many calls, results in order, no more submitted ahead than was asked for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from jobd.client import pickling
from jobd.client.jobs import Job
from jobd.client.specs import Spec
from jobd.errors import WaitTimeout

Submit = Callable[[Iterable[Spec]], list[Job]]


def ordered_results(
    submit: Submit, drop: Callable[[list[Job]], None], calls: Iterable[Spec], timeout: float | None, ahead: int
) -> Iterator[Any]:
    """
    Submit the first calls now, and yield the results.

    @param drop: called with the jobs whose results nobody will take.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    source = iter(calls)
    window = deque(submit(islice(source, max(ahead, 1))))
    return _results(submit, drop, source, window, deadline, max(ahead // 2, 1))


def _results(
    submit: Submit,
    drop: Callable[[list[Job]], None],
    source: Iterator[Spec],
    window: deque[Job],
    deadline: float | None,
    step: int,
) -> Iterator[Any]:
    # More are submitted in halves of what may be ahead: a round trip for each half, not for each call.
    full = len(window)
    try:
        while window:
            if len(window) + step <= full:
                window.extend(submit(islice(source, step)))
            job = window[0]
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                outcome = job.wait(left)
            except WaitTimeout:
                raise WaitTimeout(f"job {job.id} of this map has not ended in time") from None
            window.popleft()
            yield pickling.value(outcome)
    finally:
        if window:
            drop(list(window))
