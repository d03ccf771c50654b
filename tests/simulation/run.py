"""A walk from its seed to its rest."""

from __future__ import annotations

from .rest import Rest
from .walk import Walk
from .world import World


def simulate(seed: int, steps: int) -> World:
    """
    @return: the world as it is then, with its story.
    @raise AssertionError: something that was promised does not hold.
    """
    world = World(seed)
    with world.patched():
        Walk(world).run(steps)
        Rest(world).run()
    return world
