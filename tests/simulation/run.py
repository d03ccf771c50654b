"""A walk from its seed to its rest, and what is to be met on the way."""

from __future__ import annotations

from collections import Counter

from jobd.job import TRANSITIONS, State

from .rest import Rest
from .walk import Walk
from .world import World

STEPS = 4000
"""Of a walk, if nobody says otherwise: some 150 jobs, 30 daemons and 4,000 things that happen."""

Edge = tuple[State | None, State]

EDGES: tuple[Edge, ...] = tuple((old, new) for old, states in TRANSITIONS.items() for new in sorted(states))

KINDS = (
    *(f"submit with {name}" for name in ("queue", "priority", "delay", "timeout", "attempts", "after")),
    "submitted again",
    *(f"ok {verb}" for verb in ("cancel", "retry", "wait", "watch", "follow", "show", "list", "queue")),
    *(f"ok {verb}" for verb in ("pause", "resume", "drain", "quit", "progress", "why", "stats", "output", "ping")),
    *(f"ok {verb} with a filter" for verb in ("cancel", "wait")),
    *(f"ok {verb} with options" for verb in ("submit", "watch", "drain")),
    "ok submit",
    *(f"error {code}" for code in ("CONFLICT", "DRAINING", "FULL", "FINISHED", "NOT_FINISHED", "NO_SUCH_JOB", "GONE")),
    *(f"ended {state.word}" for state in State if state.final),
    *(f"died before {effect}" for effect in ("commit", "start", "kept", "write", "read", "open")),
    "died at once",
    "died store error",
    "died with the machine",
    "died with a write lost",
    "died with a write under way that was kept",
    "died between a report and its commit",
    "machine died with jobs running",
    "started on running jobs",
    "ended while no daemon was there",
    "told to stop",
    "told to stop and let jobs run",
    "stopped",
    "disk full",
    "disk has room again",
    "pruned",
    "clock set back",
    "clock set forward",
    "client dropped",
    "client half-open",
    "half-open noticed",
    "client half-closed",
    "client slow",
    "client cut off as slow",
    "watch from a cursor",
    "watch from now",
    "stale finished",
    "stale returned",
    "stale long",
    "stale stuck",
    "handed back",
    "turned out long",
    "stuck",
    "room changes",
    "jobs came near",
    "one far from its turn was cancelled",
)
"""What clients ask, what goes wrong and how jobs end."""


def simulate(seed: int, steps: int = STEPS) -> World:
    """
    @return: the world as it is then, with its story.
    @raise AssertionError: something that was promised does not hold.
    """
    world = World(seed)
    with world.patched():
        Walk(world).run(steps)
        Rest(world).run()
    return world


class Visits:
    """How often everything was met, over several walks."""

    def __init__(self) -> None:
        self.edges: Counter[Edge] = Counter()
        self.kinds: Counter[str] = Counter()

    def add(self, world: World) -> None:
        self.edges += world.steps.taken
        self.kinds += world.story.visits

    def rare(self, least: int) -> list[str]:
        """What was met less often than that."""
        found = [
            f"{word(old)} -> {word(new)}: {self.edges[old, new]}" for old, new in EDGES if self.edges[old, new] < least
        ]
        return found + [f"{kind}: {self.kinds[kind]}" for kind in KINDS if self.kinds[kind] < least]


def word(state: State | None) -> str:
    return "submitted" if state is None else state.word
