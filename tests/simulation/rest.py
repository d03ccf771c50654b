"""Faults are off: all jobs must end, and nobody may be left waiting."""

from __future__ import annotations

from jobd.job import State
from jobd.why import why
from tests.unit.simulation import far

from .clients import Client
from .requests import Setting
from .wishes import QUEUES
from .world import World

ROUNDS = 3000
"""Of everything going on, within which all must have come to rest."""


class Rest:
    def __init__(self, world: World) -> None:
        self.world = world

    def run(self) -> None:
        """
        @raise Violation: something does not come to its end, or is not what it was promised to be.
        """
        world = self.world
        self._until(lambda: self._steady() and self._quiet(), "it does not come to rest")
        self._close(world.clients[0])
        self._until(self._calm, "the operator is not served")
        self._until(self._all_ended, "jobs do not end")
        for client in world.clients:
            if client.link is None:
                client.connect()
        world.auditor.busy = False
        self._until(lambda: world.auditor.can_ask, "the auditor is not served")
        world.auditor.begin()
        self._until(lambda: world.auditor.whole, "the list does not end")
        self._until(self._quiet, "it does not come to rest")
        world.oracle.check_dues([link for link in world.links if not link.over])
        world.oracle.check_streams()
        world.oracle.check_ends(world.auditor.states)
        for watcher in world.watchers:
            watcher.check()
        self._leave()

    # Conditions.

    def _until(self, done: object, otherwise: str) -> None:
        assert callable(done)
        for _ in range(ROUNDS):
            if done():
                return
            self._round()
        raise self.world.oracle.wrong(f"{otherwise}: {self._obstacles() + self._reasons()}")

    def _steady(self) -> bool:
        """There is a daemon that goes on."""
        life = self.world.life
        return life is not None and not (life.stopping or life.draining or life.dead)

    def _all_ended(self) -> bool:
        life = self.world.life
        if life is None or life.daemon.scheduler.jobs or life.daemon.scheduler.places.away:
            return False
        return self._quiet()

    def _quiet(self) -> bool:
        return not self._obstacles()

    def _obstacles(self) -> list[str]:
        """What still goes on."""
        life = self.world.life
        if life is None:
            return ["no daemon"]
        found = [f"{link.number} moves" for link in self.world.links if link.busy or (link.down and not link.over)]
        found += [f"'{client.pending[0].line}' is unanswered" for client in self.world.clients if client.pending]
        return found + ["turns"] * bool(life.turns) + ["the store"] * life.store.busy

    def _reasons(self) -> list[str]:
        """Why jobs have not ended, as the daemon says."""
        life = self.world.life
        if life is None:
            return []
        scheduler = life.daemon.scheduler
        jobs = [*scheduler.jobs.values(), *far(scheduler).values()]
        return [why(scheduler, job, life.daemon.now()) for job in jobs]

    # Going on.

    def _round(self) -> None:
        """Everybody does what there is to do."""
        world = self.world
        life = world.life or world.boot()
        life.fuse = None
        life.store.full = life.store.broken = False
        for client in world.clients:
            client.read_on()
        for link in world.links:
            if link.frozen and not link.over:
                life.alive(link.lose)
        life.all_turns()
        while life.store.busy:
            life.store.write_one()
            life.store.read_one()
            life.all_turns()
        for link in world.links:
            life.alive(lambda link=link: link.move(4096))  # type: ignore[misc]
        for client in world.clients:
            client.read(1 << 20)
        world.end_one(lambda attempts: attempts[0], State.SUCCEEDED)
        due = life.next_timer()
        if not life.turns and due is not None and due < 10 * 86_400.0:
            world.advance(due)
        world.tidy()

    def _calm(self) -> bool:
        """The operator undoes what stands in the way. Returns whether that is done."""
        operator = self.world.clients[0]
        if operator.link is not None and not operator.can_ask:
            self._close(operator)
        if operator.link is None:
            operator.connect()
            self._resume(operator)
        return not operator.pending

    def _close(self, client: Client) -> None:
        assert self.world.life is not None
        if client.link is not None:
            self.world.life.alive(client.link.lose)
            client.hang_up()

    def _resume(self, operator: Client) -> None:
        self.world.machine.make_room(2)
        room = self.world.oracle.room
        for queue in (None, *QUEUES):
            room.pause(queue).asked(False)
            operator.ask(Setting("resume" + (f" {queue}" if queue else ""), [(room.pause(queue), False)]))
        for queue in QUEUES:
            room.limit(queue).asked(None)
            operator.ask(Setting(f'queue {queue} {{"limit": null}}', [(room.limit(queue), None)]))

    def _leave(self) -> None:
        """All clients end their input, and all connections end by themselves."""
        world = self.world
        for link in world.links:
            link.half_closed = True
        self._until(lambda: all(link.over for link in world.links), "connections stay open")
        if world.life is not None and world.life.factory.sessions:
            raise world.oracle.wrong("sessions are left")
