"""What is known of each thing that was asked for, by what clients were told and by what the pool was told."""

from __future__ import annotations

from typing import Any

import attrs

from jobd import events
from jobd.job import SATISFIED_BY, State

FINAL = tuple(state.word for state in State if state.final)

SATISFYING = {policy: frozenset(state.word for state in states) for policy, states in SATISFIED_BY.items()}


@attrs.define(eq=False)
class Wanted:
    """
    A job as a client submits it; its label tells it from all others.

    @ivar spec: the JSON object.
    @ivar chances: how many submissions of it were not refused, as far as one knows.
    @ivar retries: how many retries of it were not refused, as far as one knows.
    @ivar ids: all jobs that came from it.
    """

    label: str
    spec: dict[str, Any]
    chances: int = 0
    retries: int = 0
    ids: list[int] = attrs.Factory(list)

    @property
    def key(self) -> str | None:
        return self.spec.get("key")


@attrs.define(eq=False)
class Known:
    """
    A job.

    @ivar wanted: what it came from, once that is known.
    @ivar acknowledged: somebody was told its id: it must never be lost again.
    @ivar after: the jobs that it waits for.
    @ivar used: its highest attempt that was started and not returned.
    @ivar reports: how its attempts ended, as the pool says; if the machine failed before that was kept, it may say
        something else after.
    @ivar killed: attempts that were to be ended.
    @ivar final: its final state; C{told}: with the cursor and the outcome that were told.
    @ivar cancel_asked: somebody asked for its end, and C{cancel_promised}: was told it will come.
    """

    id: int
    wanted: Wanted | None = None
    acknowledged: bool = False
    is_retry: bool = False
    after: dict[int, str] = attrs.Factory(dict)
    used: int = 0
    reports: dict[int, list[events.Finished]] = attrs.Factory(dict)
    killed: set[int] = attrs.Factory(set)
    started: list[int] = attrs.Factory(list)
    final: str | None = None
    told: tuple[int, bytes] | None = None
    cancel_promised: bool = False

    @property
    def attempts(self) -> int | None:
        """How many it may have."""
        return None if self.wanted is None else int(self.wanted.spec.get("attempts", 1))


class Belief:
    """
    A setting that clients change.

    @ivar values: all that it may be by now. Of requests that were under way at the same time nobody can tell
        which was the last.
    """

    def __init__(self, value: Any) -> None:
        self.values = [value]
        self._asked: list[Any] = []
        self._together: list[Any] = []

    def asked(self, value: Any) -> None:
        """Somebody has asked for this value; one does not know when it comes to hold."""
        if not self._asked:
            self._together = []
        self._asked.append(value)
        self._together.append(value)
        self.values.append(value)

    def confirmed(self, value: Any) -> None:
        """Somebody was told that it has this value."""
        if value in self._asked:
            self._asked.remove(value)
        if not self._asked:
            self.values = list(self._together)

    def over(self) -> None:
        """What was asked and not answered was done by now, or never will be."""
        self._asked.clear()
