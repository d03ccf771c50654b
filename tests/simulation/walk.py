"""Which step is next, and what goes wrong: all of it from the world's one random number generator."""

from __future__ import annotations

import random
from collections.abc import Callable

from jobd.job import Lane, State

from .clients import Client
from .world import World

DAY = 86_400.0

ENDS = (State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.FAILED, State.LOST)

WRONG = 0.03
"""The part of steps in which something goes wrong."""

TRIES = 50

Move = Callable[[], "bool | None"]
"""One step. False: there was nothing to be done."""


class Choice:
    """
    @param moves: each with its weight.
    """

    def __init__(self, rng: random.Random, moves: list[tuple[float, Move]]) -> None:
        self._rng = rng
        self._moves = [move for _, move in moves]
        self._weights = [weight for weight, _ in moves]

    def one(self) -> None:
        """Make a move; one that cannot be made just now is passed over."""
        for _ in range(TRIES):
            (move,) = self._rng.choices(self._moves, self._weights)
            if move() is not False:
                return


class Walk:
    """One world, on its way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self._going_on = Choice(self.rng, self.goes_on())
        self._going_wrong = Choice(self.rng, self.goes_wrong())
        self._down = Choice(self.rng, self.without_a_daemon())

    def goes_on(self) -> list[tuple[float, Move]]:
        """What happens where nothing is wrong, and how often."""
        return [
            (14, self.one_turn),
            (14, self.all_turns),
            (16, self.write),
            (10, self.read),
            (24, self.move),
            (24, self.client_reads),
            (10, self.client_acts),
            (6, self.end),
            (3, self.begin),
            (1, self.give_back),
            (0.7, self.long),
            (0.7, self.hang),
            (0.7, self.tell_progress),
            (2, self.some_time),
            (4, self.next_timer),
        ]

    def goes_wrong(self) -> list[tuple[float, Move]]:
        """What goes wrong, and how often."""
        return [
            (12, self.stale),
            (6, self.capacity),
            (3, self.prune),
            (6, self.crash),
            (10, self.light_fuse),
            (2, self.store_error),
            (3, self.machine_dies),
            (2, self.stop),
            (2, self.stop_and_keep),
            (5, self.disk_full),
            (10, self.disk_has_room),
            (4, self.set_wall),
            (8, self.drop),
            (5, self.freeze),
            (6, self.keepalive),
            (14, self.slow),
            (5, self.read_on),
            (6, self.half_close),
            (3, self.quit),
        ]

    def without_a_daemon(self) -> list[tuple[float, Move]]:
        """What happens while there is no daemon."""
        return [
            (10, self.boot),
            (5, self.client_reads),
            (2, self.end),
            (2, self.begin),
            (2, self.some_time),
            (0.5, self.set_wall),
            (0.5, self.machine_dies),
        ]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """Something happens."""
        if self.world.life is None:
            self._down.one()
        elif self.rng.random() < WRONG:
            self._going_wrong.one()
        else:
            self._going_on.one()
        self.world.tidy()

    # The daemon and its surroundings go on.

    def boot(self) -> None:
        self.world.boot(fuse=self.rng.randint(0, 3) if self.rng.random() < 0.1 else None)

    def one_turn(self) -> bool:
        assert self.world.life is not None
        return self.world.life.one_turn()

    def all_turns(self) -> bool:
        assert self.world.life is not None
        return self.world.life.all_turns()

    def write(self) -> bool:
        assert self.world.life is not None
        return self.world.life.store.write_one()

    def read(self) -> bool:
        assert self.world.life is not None
        return self.world.life.store.read_one()

    def move(self) -> bool:
        """Bytes, or the end of them, on one of the connections."""
        life = self.world.life
        assert life is not None
        busy = [link for link in self.world.links if link.busy]
        if not busy:
            return False
        link, most = self.rng.choice(busy), self.rng.choice([1, 7, 100, 1000, 4096, 4096])
        life.alive(lambda: link.move(most))
        return True

    def client_reads(self) -> bool:
        return self.rng.choice(self.world.clients).read(self.rng.choice([1, 10, 200, 5000, 5000]))

    def client_acts(self) -> bool:
        return self.rng.choice(self.world.clients).act()

    # The machine.

    def end(self) -> bool:
        return self.world.end_one(self.rng.choice, self.rng.choice(ENDS))

    def begin(self) -> bool:
        """What waited in the pool has its turn."""
        waiting = self.world.machine.waiting
        if waiting:
            self.world.machine.begin(self.rng.choice(waiting))
        return bool(waiting)

    def give_back(self) -> bool:
        """What was not begun is handed back."""
        waiting = self.world.machine.waiting
        if waiting:
            self.world.machine.give_back(self.rng.choice(waiting)[0])
            self.visit("handed back")
        return bool(waiting)

    def long(self) -> bool:
        """A call proves to take long."""
        machine = self.world.machine
        calls = [start.job_id for start in machine.running.values() if start.lane is Lane.CPU]
        if calls:
            machine.turn_out_long(self.rng.choice(calls))
            self.visit("turned out long")
        return bool(calls)

    def hang(self) -> bool:
        """What was killed does not go away for a while."""
        killed = [
            job_id for job_id, attempt in self.world.machine.running if self.world.oracle.is_killed(job_id, attempt)
        ]
        if killed:
            self.world.machine.get_stuck(self.rng.choice(killed))
            self.visit("stuck")
        return bool(killed)

    def tell_progress(self) -> bool:
        machine = self.world.machine
        if not machine.running:
            return False
        machine.tell_progress(self.rng.choice(list(machine.running))[0], done=self.world.number())
        self.visit("progress of a job")
        return True

    def capacity(self) -> None:
        self.world.machine.make_room(
            self.rng.choice([0, 1, 2, 3, 4, 4]), self.rng.choice([1, 1, 4]), self.rng.choice([1, 1, 2])
        )
        self.visit("room changes")

    def stale(self) -> bool:
        """A worker reports what is long over."""
        report = self.world.machine.repeat(
            self.rng.choice(["finished", "finished", "finished", "returned", "long", "stuck"])
        )
        if report is not None:
            self.visit(f"stale {report}")
        return report is not None

    # Time.

    def some_time(self) -> None:
        self.world.advance(self.rng.choice([0.001, 0.05, 0.5, 3.0]))

    def next_timer(self) -> bool:
        """Straight on to what is due next; never past it."""
        assert self.world.life is not None
        due = self.world.life.next_timer()
        if due is None or due > 60.0:
            return False
        self.world.advance(due)
        return True

    def set_wall(self) -> None:
        step = self.rng.choice([-DAY, DAY])
        self.world.set_wall(step)
        self.visit("clock set forward" if step > 0 else "clock set back")

    # What goes wrong with the daemon.

    def crash(self) -> None:
        assert self.world.life is not None
        self.world.life.die("at once")

    def light_fuse(self) -> None:
        """It will die before one of its next effects, whichever that is."""
        assert self.world.life is not None
        self.world.life.fuse = self.rng.randint(0, 6)

    def machine_dies(self) -> None:
        """And everything on it."""
        if self.world.life is not None:
            self.world.life.die("with the machine")
            self.world.tidy()
        self.visit("machine died with jobs running" if self.world.machine.running else "machine died")
        self.world.machine.die()

    def stop(self) -> None:
        assert self.world.life is not None
        self.world.life.stop(keep=False)
        self.visit("told to stop")

    def stop_and_keep(self) -> None:
        assert self.world.life is not None
        self.world.life.stop(keep=True)
        self.visit("told to stop and let jobs run")

    def prune(self) -> None:
        life = self.world.life
        assert life is not None
        life.alive(lambda: life.daemon.retention.keep(self.rng.randint(10, 40), self.rng.choice([30.0, 1e9, 1e9])))

    # What goes wrong with the disk.

    def store_error(self) -> None:
        assert self.world.life is not None
        self.world.life.store.broken = True

    def disk_full(self) -> None:
        assert self.world.life is not None
        self.world.life.store.full = True
        self.visit("disk full")

    def disk_has_room(self) -> bool:
        assert self.world.life is not None
        store = self.world.life.store
        if not store.full:
            return False
        if store.refused:
            self.visit("disk has room again")
            store.refused = 0
        store.full = False
        return True

    # What goes wrong with clients.

    def someone(self) -> Client | None:
        """A client with a connection that is as it should be."""
        able = [client for client in self.world.clients if client.can_ask]
        return self.rng.choice(able) if able else None

    def drop(self) -> bool:
        """A client is gone, with some of what it has sent still coming through."""
        client, life = self.someone(), self.world.life
        if client is None or client.link is None or life is None:
            return False
        link = client.link
        del link.up[self.rng.randint(0, len(link.up)) :]
        life.alive(lambda: link.move(4096))
        life.alive(link.lose)
        client.hang_up()
        self.visit("client dropped")
        return True

    def freeze(self) -> bool:
        """A client vanishes without a word."""
        client = self.someone()
        if client is None or client.link is None:
            return False
        client.link.frozen = True
        client.hang_up()
        self.visit("client half-open")
        return True

    def keepalive(self) -> bool:
        """The system notices that one is not there any more."""
        frozen = [link for link in self.world.links if link.frozen and not link.over]
        life = self.world.life
        if frozen and life is not None:
            life.alive(self.rng.choice(frozen).lose)
            self.visit("half-open noticed")
        return bool(frozen)

    def slow(self) -> bool:
        client = self.someone()
        if client is None or client.link is None:
            return False
        client.link.slow = True
        self.visit("client slow")
        return True

    def read_on(self) -> bool:
        return self.rng.choice(self.world.clients).read_on()

    def half_close(self) -> bool:
        """A client ends its input, now and then in the middle of a line."""
        client = self.someone()
        if client is None or client.link is None:
            return False
        if self.rng.random() < 0.3:
            client.link.send(b'submit {"argv": ["never"')
        client.link.half_closed = True
        self.visit("client half-closed")
        return True

    def quit(self) -> bool:
        client = self.someone()
        if client is None:
            return False
        client.say_quit()
        return True

    def visit(self, what: str) -> None:
        self.world.story.visit(what)
