"""A daemon, from its start to its death, which may come before any of its effects on the world."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

import jobd
from jobd.access import Access
from jobd.actions import Kill, Start
from jobd.daemon import Daemon
from jobd.outputs import Outputs
from jobd.pool import Heard, Report, Tell
from jobd.scheduler import Scheduler
from jobd.server import SessionFactory
from jobd.session import ServerInfo, Session
from jobd.testing import LOCAL
from jobd.verbs import VERBS

from .disk import Disk, SimulatedStore
from .dues import Dues
from .machine import Machine
from .network import Link

if TYPE_CHECKING:
    from .oracle import Oracle


class Crash(BaseException):
    """The daemon is dead. No C{Exception}: nothing in it may go on after this."""


class GatedPool:
    """The machine, as one daemon sees it: nothing passes once that daemon is dead."""

    def __init__(self, life: Life, machine: Machine, oracle: Oracle) -> None:
        self._life, self._machine, self._oracle = life, machine, oracle

    def open(
        self,
        report: Tell,
        progress: Callable[[int, int, bytes], None],
        running: Sequence[Start],
    ) -> None:
        life = self._life
        self._oracle.restored(running)

        def told(*reports: Report) -> None:
            for one in reports:
                if not life.dead:
                    self._oracle.reported(one)
                    life.alive(partial(report, one))

        def progressed(job_id: int, attempt: int, json: bytes) -> None:
            life.alive(lambda: progress(job_id, attempt, json))

        life.effect("open")
        self._machine.open(told, progressed, running)

    def start(self, start: Start) -> None:
        self._life.effect("start")
        self._oracle.started(start)
        self._machine.start(start)

    def kill(self, kill: Kill) -> None:
        self._life.effect("kill")
        self._oracle.killed(kill)
        self._machine.kill(kill)

    def flush(self) -> None:
        self._machine.flush()

    def rest(self) -> None:
        self._machine.rest()

    def listen(self) -> None:
        self._machine.listen()

    def heard(self) -> Heard:
        return self._machine.heard()

    def kept(self, heard: Heard) -> None:
        self._life.effect("kept")
        self._machine.kept(heard)

    def close(self, keep: bool = False) -> Deferred[None]:
        self._life.effect("stop")
        return self._machine.close(keep)

    def stats(self) -> dict[str, Any]:
        return self._machine.stats()


class Life:
    """
    @ivar fuse: how many effects there will still be before it dies, or None.
    @ivar dead: nothing of it has an effect any more; C{cause} says why.
    @ivar stopping: it was told to stop, or is drained; C{over}: and has done so.
    @ivar draining: somebody was told that it is drained; C{may_drain}: somebody has asked for that.
    @ivar was_full: it had no room at some time.
    """

    def __init__(
        self,
        rng: random.Random,
        scheduler: Scheduler,
        disk: Disk,
        machine: Machine,
        oracle: Oracle,
        wall: Callable[[], float],
        rest: float,
    ) -> None:
        self.fuse: int | None = None
        self.dead = False
        self.cause = ""
        self.stopping = False
        self.over = False
        self.draining = False
        self.may_drain = False
        self.was_full = False
        self.turns: deque[Callable[[], object]] = deque()
        self.links: list[Link] = []
        self.clock = Clock()
        self.clock.rightNow = round(rng.random() * 1e6, 3)
        self.store = SimulatedStore(disk, self.effect, self.turn, oracle.forgotten)
        self.daemon = Daemon(scheduler, self.store, self.clock, self.turn, self._broken, self._halted, wall, rest)
        info = ServerInfo(jobd.__version__, "/state", self.clock.seconds(), self.clock)
        self.factory = SessionFactory(self.daemon, Outputs("/nowhere"), Access(b"secret"), info, VERBS)
        self._oracle = oracle
        self._pool = GatedPool(self, machine, oracle)

    # Death.

    def effect(self, what: str) -> None:
        """The daemon is about to change something outside: now it may die instead."""
        if not self.dead and self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.die(f"before {what}")
        if self.dead:
            raise Crash

    def die(self, cause: str) -> None:
        if not self.dead:
            self.dead, self.cause = True, cause

    def _broken(self, problem: Exception) -> None:
        self.die("store error")
        raise Crash

    def alive(self, act: Callable[[], object]) -> None:
        """Let the daemon do something."""
        try:
            if not self.dead:
                act()
        except Crash:
            pass

    # Its reactor.

    def boot(self) -> None:
        self.alive(lambda: self.daemon.open(self._pool))

    def turn(self, call: Callable[..., object], *arguments: Any) -> None:
        self.turns.append(lambda: call(*arguments))

    def one_turn(self) -> bool:
        if not self.turns:
            return False
        self.alive(self.turns.popleft())
        self.was_full = self.was_full or self.daemon.full
        return True

    def all_turns(self) -> bool:
        some = False
        while self.turns and not self.dead:
            some = self.one_turn()
        return some

    def advance(self, seconds: float) -> None:
        self.alive(lambda: self.clock.advance(seconds))

    def next_timer(self) -> float | None:
        """Seconds until something is due."""
        calls = self.clock.getDelayedCalls()
        return max(0.0, min(call.getTime() for call in calls) - self.clock.seconds()) if calls else None

    # Its end in good order.

    def _halted(self, keep: bool) -> None:
        self.stop(keep)

    def stop(self, keep: bool) -> None:
        """As the service does it."""
        if self.stopping:
            return
        self.stopping = True
        self.turn(lambda: Deferred.fromCoroutine(self._stop(keep)).addErrback(lambda failure: failure.trap(Crash)))

    async def _stop(self, keep: bool) -> None:
        await self.daemon.close(keep)
        await self.factory.close()
        self.over = True

    # Connections.

    def connect(self, number: int) -> Link:
        link = Link(number, self.effect, self._oracle.heard, self._oracle.hung_up, Dues(self))
        session = self.factory.buildProtocol(LOCAL)
        assert isinstance(session, Session)
        link.session = session
        link.session.transport = link
        self.links.append(link)
        self.alive(link.session.connectionMade)
        return link
