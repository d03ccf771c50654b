"""Everything around the daemon: time, the disk, the machine, the network, the clients; moved a step at a time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from jobd.feed import Feed
from jobd.follow import Following
from jobd.job import State
from jobd.places import Places
from jobd.scheduler import NEAR, Scheduler
from jobd.server import SessionFactory
from jobd.session import Session
from jobd.testing import WALL
from tests.unit.simulation import Steps

from .clients import Auditor, Client, Follower, Talker, Watcher
from .disk import Disk, MemoryDisk, SqlDisk
from .life import Crash, Life
from .machine import Machine
from .network import Link
from .oracle import Oracle
from .story import Story, Violation
from .times import Times
from .wishes import Wishes

LIMITS = {"UNREAD": 1000, "UNREAD_PAUSE": 500, "UNANSWERED": 8, "IN_A_ROW": 4}
"""What L{jobd.session} lets a client have, made small enough to be met often."""

PAGES = {"FIRST": 2, "MOST": 4, "BYTES": 400}
"""The same for L{jobd.pages}."""


class World:
    """
    @ivar life: the daemon, if there is one.
    @ivar steps: between states, which jobs have taken.
    @ivar near: with so many jobs the daemon keeps only a little of those that are far from their turn.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.story = Story()
        self.steps = Steps()
        self.disk: Disk = SqlDisk() if self.rng.random() < 0.5 else MemoryDisk()
        self.near = self.rng.choice([1, 2, 4, NEAR])
        self.machine = Machine(self.rng, self.rng.randint(1, 4))
        self.times = Times(lambda: self.steady)
        self.oracle = Oracle(self.story, self.machine, self.steps, self.times)
        self.life: Life | None = None
        self.links: list[Link] = []
        self.steady = 0.0
        self.offset = 0.0
        self._number = 0
        self.wishes = Wishes(self.rng, self.oracle, self.number)
        self.auditor = Auditor(self, self.wishes)
        self.watchers = [Watcher(self, self.wishes) for _ in range(2)]
        self.clients: list[Client] = [Talker(self, self.wishes) for _ in range(4)]
        self.clients += [*self.watchers, Follower(self, self.wishes), self.auditor]

    def number(self) -> int:
        """A number that was never given out before."""
        self._number += 1
        return self._number

    def wall(self) -> float:
        return WALL + self.steady + self.offset

    def patched(self) -> Patches:
        """What must be in force while anything is done here."""
        return Patches(self)

    # The daemon's life.

    def boot(self, fuse: int | None = None) -> Life:
        """
        A daemon is started on what the last one left.

        @param fuse: before which of its first effects it dies.
        """
        adopted = len(self.machine.running)
        self.story.visit("started on running jobs" if adopted else "started")
        rest = self.rng.choice([0.0, 0.003])
        scheduler = Scheduler(self.machine.capacity.cpus, self.near)
        life = Life(self.rng, scheduler, self.disk, self.machine, self.oracle, self.wall, rest)
        self.life = self.oracle.life = life
        self.oracle.room.adopted()
        self.times.settle()
        life.fuse = fuse
        life.boot()
        if not life.dead and self.auditor.act():
            self.auditor.act()
        return life

    def bury(self) -> None:
        """The daemon is dead, or has stopped: the system closes its connections."""
        life = self.life
        assert life is not None
        if life.dead:
            self._died(life)
        else:
            self.story.visit("stopped")
            if not self.machine.running:
                self.story.visits["stopped with nothing running"] += 1
        for link in life.links:
            if not link.over:
                link.cut(self.rng.choice([len(link.down), self.rng.randint(0, len(link.down))]))
        self.links = [link for link in self.links if not link.over]
        self.oracle.room.lived()
        self.steps.look()
        self.life = None

    def _died(self, life: Life) -> None:
        under_way = life.store.writing
        kept = life.store.lose(self.rng)
        if under_way:
            self.story.visits["died with a write under way that was kept" if kept else "died with a write lost"] += 1
        if self.machine.unheard:
            self.story.visits["died between a report and its commit"] += 1
        self.story.visit(f"died {life.cause}")
        self.machine.abandon()

    def tidy(self) -> None:
        """After each step: what always holds."""
        self.oracle.must_hold()
        life = self.life
        if life is None:
            return
        self.steps.look()
        if life.dead or life.over:
            self.bury()
            return
        if not (life.turns or life.daemon._gathered or life.daemon._committing):
            self.oracle.settled()
            self.times.settle()
        if len(self.links) > 2 * len(self.clients):
            self.links = [link for link in self.links if not link.over]
        self.check_caps(life)

    def check_caps(self, life: Life) -> None:
        """Buffers are under their caps."""
        for link in self.links:
            session = link.session
            if session._unanswered > LIMITS["UNANSWERED"]:
                raise self.oracle.wrong(f"client {link.number} has {session._unanswered} requests under way")
            if not life.turns and not life.store.busy and session._out_size > LIMITS["UNREAD"] and not link.over:
                raise self.oracle.wrong(f"{session._out_size} bytes wait for client {link.number}")

    def connect(self) -> Link:
        assert self.life is not None
        link = self.life.connect(self.number())
        self.links.append(link)
        self.story.tell(f"{link.number} connects")
        return link

    # The world's own moves.

    def set_wall(self, seconds: float) -> None:
        """Somebody sets the clock on the wall, between two turns."""
        if self.life is not None:
            self.life.all_turns()
        self.offset += seconds
        self.times.forward += seconds > 0

    def advance(self, seconds: float) -> None:
        """Time passes, between two turns of the reactor: what waits for the next one has had its turn."""
        if self.life is not None:
            self.life.all_turns()
        self.steady += seconds
        self.story.tell(f"{self.steady:.6f}")
        if self.life is not None:
            self.life.advance(seconds)

    def end_one(self, pick: Callable[[list[tuple[int, int]]], tuple[int, int]], state: State) -> bool:
        """An attempt ends."""
        if not self.machine.running:
            return False
        attempt = pick(list(self.machine.running))
        if self.oracle.is_killed(*attempt) and self.rng.random() < 0.5:
            # What is killed takes its time.
            attempt = pick(list(self.machine.running))
        start = self.machine.running[attempt]
        if self.oracle.is_killed(*attempt) and self.rng.random() < 0.7:
            state = State.CANCELLED
        elif state is State.TIMED_OUT:
            state = State.FAILED
        exit_code = int(state is not State.SUCCEEDED) * self.rng.randint(1, 9)
        listening = self.life is not None and not self.life.dead
        self.story.tell(f"job {start.job_id} : attempt {start.attempt} ends as {state.word}")
        self.machine.end(attempt, state, exit_code=exit_code, result="x" * self.rng.choice([0, 0, 50, 300]))
        if not listening:
            self.story.visit("ended while no daemon was there")
        return True


@implementer(ILogObserver)
class Ear:
    """Listens to what is logged as a failure: a daemon that is dead stumbles, one that lives does not."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None and failure.check(Crash, Violation) is None:
            self._oracle.wrong(f"the daemon has logged a failure: {failure.getTraceback()}")


def _visited(story: Story, what: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, and a visit each time that it is of any use."""

    def wrapped(*arguments: Any) -> Any:
        found = method(*arguments)
        story.visits[what] += found is not None or len(arguments) > 2
        return found

    return wrapped


class Patches:
    """The daemon's limits, jobs that are watched, and an ear for what is logged as a failure."""

    def __init__(self, world: World) -> None:
        self._ear = Ear(world.oracle)
        watched = world.steps.watched()
        self._patches: list[Any] = [
            *(mock.patch(f"jobd.session.{name}", value) for name, value in LIMITS.items()),
            *(mock.patch(f"jobd.pages.{name}", value) for name, value in PAGES.items()),
            mock.patch("jobd.scheduler.Job", watched),
            mock.patch("jobd.far.Job", watched),
            mock.patch.object(Places, "come_near", _visited(world.story, "jobs came near", Places.come_near)),
            mock.patch.object(
                Places, "take", _visited(world.story, "one far from its turn was cancelled", Places.take)
            ),
            # Sets of these are walked in an order that comes again.
            mock.patch.object(SessionFactory, "_numbers", itertools.count(1)),
            mock.patch.object(Session, "__hash__", lambda session: session.conn),
            mock.patch.object(Feed, "__hash__", lambda feed: feed._outlet.conn),
            mock.patch.object(Following, "__hash__", lambda following: following._outlet.conn),
        ]

    def __enter__(self) -> None:
        for patch in self._patches:
            patch.start()
        globalLogPublisher.addObserver(self._ear)

    def __exit__(self, *problem: object) -> None:
        globalLogPublisher.removeObserver(self._ear)
        for patch in self._patches:
            patch.stop()
