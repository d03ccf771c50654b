"""
Commands a little ahead: while commands are short, the runner is given more of them than there are places, so that a
place is filled again without waiting for the daemon and its disk. Never more of them run than there are places. They
begin in the order they were given, and each end is told before the next one begins: so whoever knows what was
given and what was told knows what may have begun (L{begun_of}).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from jobd.worker.command import CommandSpec
from jobd.worker.link import Key

PATIENCE = 0.05
"""Seconds that one may wait for a place before all that wait are handed back."""


class Waiting(NamedTuple):
    """
    A command that was not begun.

    @ivar cpus: how many places it takes; one that takes none never waits.
    """

    key: Key
    spec: CommandSpec
    cpus: int


class Gate:
    """
    Until it is told how many places there are there is one for everybody.

    @ivar waiting: those that wait for a place, in their order.
    """

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self._needless: deque[Waiting] = deque()
        self._running: dict[Key, int] = {}
        self._used = 0
        self._places = self._free = sys.maxsize

    def set_places(self, places: int, taken: int) -> None:
        """There are so many places; so many of them are taken by commands of other runners."""
        self._places = places
        self._free = places - taken

    def add(self, key: Key, spec: CommandSpec) -> None:
        """One more is to be begun."""
        cpus = min(spec.cpus, self._places)
        (self.waiting if cpus else self._needless).append(Waiting(key, spec, cpus))

    @property
    def open(self) -> bool:
        """Whether one may begin now."""
        return bool(self._needless or (self.waiting and self._used + self.waiting[0].cpus <= self._free))

    def enter(self) -> Waiting:
        """The one that may begin now; it takes its places."""
        if self._needless:
            return self._needless.popleft()
        entering = self.waiting.popleft()
        self._running[entering.key] = entering.cpus
        self._used += entering.cpus
        return entering

    def leave(self, key: Key) -> None:
        """One that had entered has ended."""
        self._used -= self._running.pop(key, 0)

    def withdraw(self, key: Key) -> bool:
        """Take one that waits out again. Whether it was there."""
        for queue in (self._needless, self.waiting):
            for one in queue:
                if one.key == key:
                    queue.remove(one)
                    return True
        return False

    def clear(self) -> list[Waiting]:
        """Take out all that wait, in their order."""
        back = [*self._needless, *self.waiting]
        self._needless.clear()
        self.waiting.clear()
        return back


class Sized(Protocol):
    """What takes so many places."""

    @property
    def cpus(self) -> int: ...


S = TypeVar("S", bound=Sized)


def begun_of(unreported: Iterable[S], places: int) -> tuple[list[S], list[S]]:
    """
    Of those that a runner was given and has not reported, in the order they were given: which may have begun, and
    which have not.
    """
    begun: list[S] = []
    others: list[S] = []
    used = 0
    for one in unreported:
        used += one.cpus
        (begun if not one.cpus or used <= places else others).append(one)
    return begun, others
