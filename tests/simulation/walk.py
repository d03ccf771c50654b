"""Which step is next, and what goes wrong: all of it from the world's one random number generator."""

from __future__ import annotations

from collections.abc import Callable

from jobd.job import State

from .clients import Client
from .world import World

DAY = 86_400.0

ENDS = (State.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.FAILED, State.LOST)

Move = Callable[[], "bool | None"]


class Walk:
    """One world, on its way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self._living: list[tuple[float, Move]] = [
            (14, self.one_turn),
            (14, self.all_turns),
            (16, self.write),
            (10, self.read),
            (24, self.move),
            (24, self.client_reads),
            (18, self.client_acts),
            (11, self.end),
            (3, self.begin),
            (1.5, self.give_back),
            (1, self.long),
            (1.5, self.tell_progress),
            (1, self.capacity),
            (5, self.some_time),
            (6, self.next_timer),
            (2, self.stale),
            (0.7, self.prune),
            (0.5, self.crash),
            (0.8, self.light_fuse),
            (0.12, self.store_error),
            (0.2, self.machine_dies),
            (0.2, self.stop),
            (0.2, self.stop_and_keep),
            (0.4, self.disk_full),
            (3, self.disk_has_room),
            (0.4, self.set_wall),
            (0.6, self.drop),
            (0.4, self.freeze),
            (0.3, self.keepalive),
            (0.5, self.slow),
            (1.2, self.read_on),
            (0.4, self.half_close),
            (0.3, self.quit),
        ]
        self._down: list[tuple[float, Move]] = [
            (10, self.boot),
            (5, self.client_reads),
            (4, self.end),
            (2, self.begin),
            (2, self.some_time),
            (0.5, self.set_wall),
            (0.5, self.machine_dies),
        ]
        self._weights = {id(moves): [weight for weight, _ in moves] for moves in (self._living, self._down)}

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """Something happens, if it can."""
        moves = self._living if self.world.life is not None else self._down
        ((_, move),) = self.rng.choices(moves, self._weights[id(moves)])
        move()
        self.world.tidy()

    # The daemon and its surroundings go on.

    def boot(self) -> None:
        self.world.boot()

    def one_turn(self) -> None:
        assert self.world.life is not None
        self.world.life.one_turn()

    def all_turns(self) -> None:
        assert self.world.life is not None
        self.world.life.all_turns()

    def write(self) -> None:
        assert self.world.life is not None
        self.world.life.store.write_one()

    def read(self) -> None:
        assert self.world.life is not None
        self.world.life.store.read_one()

    def move(self) -> None:
        """Bytes, or the end of them, on one of the connections."""
        life = self.world.life
        assert life is not None
        busy = [link for link in self.world.links if link.busy]
        if busy:
            link, most = self.rng.choice(busy), self.rng.choice([1, 7, 100, 1000, 4096, 4096])
            life.alive(lambda: link.move(most))

    def client_reads(self) -> None:
        self.rng.choice(self.world.clients).read(self.rng.choice([1, 10, 200, 5000, 5000]))

    def client_acts(self) -> None:
        self.rng.choice(self.world.clients).act()

    # The machine.

    def end(self) -> None:
        self.world.end_one(self.rng.choice, self.rng.choice(ENDS))

    def begin(self) -> None:
        waiting = [attempt for attempt in self.world.machine.running if attempt not in self.world.machine.begun]
        if waiting:
            self.world.machine.begin(self.rng.choice(waiting))

    def give_back(self) -> None:
        """What was not begun is handed back."""
        machine = self.world.machine
        waiting = [attempt for attempt in machine.running if attempt not in machine.begun]
        if waiting:
            machine.give_back(self.rng.choice(waiting)[0])
            self.visit("handed back")

    def long(self) -> None:
        if self.world.long():
            self.visit("turned out long")

    def tell_progress(self) -> None:
        machine = self.world.machine
        if machine.running:
            machine.tell_progress(self.rng.choice(list(machine.running))[0], done=self.world.number())
            self.visit("progress of a job")

    def capacity(self) -> None:
        self.world.machine.make_room(self.rng.randint(0, 3), self.rng.choice([1, 1, 4]), self.rng.choice([1, 1, 2]))
        self.visit("room changes")

    def stale(self) -> None:
        self.world.stale()

    # Time.

    def some_time(self) -> None:
        self.world.advance(self.rng.choice([0.001, 0.05, 0.5, 3.0]))

    def next_timer(self) -> None:
        """Straight on to what is due next; never past it."""
        assert self.world.life is not None
        due = self.world.life.next_timer()
        if due is not None and due < 60.0:
            self.world.advance(due)

    def set_wall(self) -> None:
        step = self.rng.choice([-DAY, DAY])
        self.world.offset += step
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
        life.alive(lambda: life.daemon.keep(self.rng.randint(3, 30), self.rng.choice([5.0, 1e9])))

    # What goes wrong with the disk.

    def store_error(self) -> None:
        assert self.world.life is not None
        self.world.life.store.broken = True

    def disk_full(self) -> None:
        assert self.world.life is not None
        self.world.life.store.full = True
        self.visit("disk full")

    def disk_has_room(self) -> None:
        assert self.world.life is not None
        store = self.world.life.store
        if store.refused:
            self.visit("disk has room again")
            store.refused = 0
        store.full = False

    # What goes wrong with clients.

    def someone(self) -> Client | None:
        """A client with a connection that is as it should be."""
        able = [client for client in self.world.clients if client.can_ask]
        return self.rng.choice(able) if able else None

    def drop(self) -> None:
        """A client is gone, with some of what it has sent still coming through."""
        client, life = self.someone(), self.world.life
        if client is None or client.link is None or life is None:
            return
        link = client.link
        del link.up[self.rng.randint(0, len(link.up)) :]
        life.alive(lambda: link.move(4096))
        life.alive(link.lose)
        client.hang_up()
        self.visit("client dropped")

    def freeze(self) -> None:
        """A client vanishes without a word."""
        client = self.someone()
        if client is not None and client.link is not None:
            client.link.frozen = True
            client.hang_up()
            self.visit("client half-open")

    def keepalive(self) -> None:
        """The system notices that one is not there any more."""
        frozen = [link for link in self.world.links if link.frozen and not link.over]
        life = self.world.life
        if frozen and life is not None:
            life.alive(self.rng.choice(frozen).lose)
            self.visit("half-open noticed")

    def slow(self) -> None:
        client = self.someone()
        if client is not None and client.link is not None:
            client.link.slow = True
            self.visit("client slow")

    def read_on(self) -> None:
        for client in self.world.clients:
            client.read_on()

    def half_close(self) -> None:
        """A client ends its input, now and then in the middle of a line."""
        client = self.someone()
        if client is not None and client.link is not None:
            if self.rng.random() < 0.3:
                client.link.send(b'submit {"argv": ["never"')
            client.link.half_closed = True
            self.visit("client half-closed")

    def quit(self) -> None:
        client = self.someone()
        if client is not None and client.link is not None:
            client.say_quit()

    def visit(self, what: str) -> None:
        self.world.story.visit(what)
