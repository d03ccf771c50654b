"""C{watch}: every event from a cursor on, none skipped, none twice, in order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from jobd import pages
from jobd.store import Reader
from jobd.store.memory import MemoryStore
from jobd.testing import FakePool, HeldStore, MemoryClient, MemoryDaemon

T = TypeVar("T")


class LateStore(MemoryStore):
    """Answers a question when the test lets it, from what is in the store by then."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: deque[Callable[[], object]] = deque()

    def read(self, ask: Callable[[Reader], T], done: Callable[[T | Exception], None]) -> None:
        self.asked.append(lambda: MemoryStore.read(self, ask, done))

    def answer(self, most: int = 1) -> None:
        for _ in range(min(len(self.asked), most)):
            self.asked.popleft()()


def cursors(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("*")]


class Feeds(SynchronousTestCase):
    """A daemon with room for everything, whose jobs end when the test says so."""

    def setUp(self) -> None:
        self.make(MemoryStore())

    def make(self, store: MemoryStore) -> None:
        self.daemon = MemoryDaemon(store, FakePool(cpus=100_000))
        self.other = self.daemon.connect()
        self.running: deque[int] = deque()

    def submit(self, count: int, by: MemoryClient | None = None) -> None:
        client = by or self.other
        notify = "true" if by else "false"
        job = f'{{"argv": ["a"], "notify": {notify}}}'
        first = self.daemon.scheduler.next_id
        client.send(f"submit [{', '.join([job] * count)}]")
        self.running.extend(range(first, first + count))

    def end(self, count: int = 1) -> None:
        for _ in range(count):
            self.daemon.pool.finish(self.running.popleft())
        self.daemon.settle()

    def test_from_now(self) -> None:
        """Without since it begins now."""
        self.submit(3)
        self.end(2)
        client = self.daemon.connect()
        self.assertEqual("ok 2", client.ask("watch"))
        self.end()
        self.assertEqual([3], cursors(client.take()))

    def test_from_any_cursor(self) -> None:
        """From any cursor on come those that are kept, then the new ones."""
        self.submit(6)
        self.end(5)
        for since in range(6):
            client = self.daemon.connect()
            client.send(f'watch {{"since": {since}}}')
            lines = client.take()
            self.assertEqual("ok 5", lines[0])
            self.assertEqual(list(range(since + 1, 6)), cursors(lines))

    def test_from_the_future(self) -> None:
        """A cursor that there is not yet means from now on."""
        self.submit(2)
        self.end()
        client = self.daemon.connect()
        self.assertEqual("ok 1", client.ask('watch {"since": 99}'))
        self.end()
        self.assertEqual([2], cursors(client.take()))

    def test_ones_own_jobs(self) -> None:
        """The events of its own jobs come in the stream, once, in their place."""
        client = self.daemon.connect()
        client.ask("watch")
        self.submit(2, by=client)
        self.submit(1)
        client.send('submit {"argv": ["a"], "group": "g"}')
        self.running.append(4)
        client.take()
        self.end(4)
        self.assertEqual([1, 2, 3, 4, 5], cursors(client.take()))

    def test_asked_for_again(self) -> None:
        """Who watches and waits for a job that has ended gets its event again, as it asked."""
        client = self.daemon.connect()
        client.ask("watch")
        self.submit(1)
        self.end()
        self.assertEqual([1], cursors(client.take()))
        client.send("wait 1")
        self.assertEqual([1], cursors(client.take()))

    def test_twice(self) -> None:
        """A connection watches once."""
        client = self.daemon.connect()
        client.ask("watch")
        self.assertTrue(client.ask("watch").startswith("error BAD_VALUE this connection watches already"))

    def test_half_close(self) -> None:
        """After the client has closed its sending half it gets what there is, then the connection ends."""
        self.patch(pages, "MOST", 2)
        self.submit(8)
        self.end(7)
        client = self.daemon.connect()
        client.send('watch {"since": 1}')
        client.half_close()
        self.assertEqual([2, 3, 4, 5, 6, 7], cursors(client.take()))
        self.assertTrue(client.gone)

    def test_half_close_before_all_is_sent(self) -> None:
        """Also when the store is slow, and the client too."""
        self.patch(pages, "MOST", 2)
        self.submit(7)
        self.end(7)
        store = LateStore()
        store.__dict__.update({name: value for name, value in self.daemon.store.__dict__.items()})
        self.make(store)
        client = self.daemon.connect()
        client.stop_reading()
        client.send('watch {"since": 0}')
        client.half_close()
        while not client.gone:
            if store.asked:
                store.answer()
            self.daemon.settle()
            client.read_on()
            if not client.gone:
                client.stop_reading()
        client.transport.full = False
        self.assertEqual([1, 2, 3, 4, 5, 6, 7], cursors(client.take()))

    def test_forgotten_meanwhile(self) -> None:
        """If events are forgotten before a slow client got them it is closed, not given the rest as if it were all."""
        self.patch(pages, "FIRST", 2)
        self.patch(pages, "MOST", 2)
        self.submit(8)
        self.end(7)
        client = self.daemon.connect()
        client.stop_reading()
        client.send('watch {"since": 1}')
        self.daemon.daemon.retention.keep(1, 1e9)
        client.read_on()
        self.assertTrue(client.gone)
        told = cursors(client.take())
        self.assertEqual(list(range(2, 2 + len(told))), told)
        again = self.daemon.connect().ask(f'watch {{"since": {1 + len(told)}}}')
        self.assertTrue(again.startswith("error GONE events up to cursor 6 "), again)

    def test_nothing_before_it_is_kept(self) -> None:
        """An event whose commit is under way is told by nobody, and then once by everybody."""
        store = HeldStore(holding=False)
        self.make(store)
        self.submit(2)
        watching = self.daemon.connect()
        watching.ask('watch {"since": 0}')
        store.holding = True
        self.end()
        late = self.daemon.connect()
        late.send('watch {"since": 0}')
        self.assertEqual(([], []), (watching.take(), late.take()))
        store.release()
        self.daemon.settle()
        self.assertEqual([1], cursors(watching.take()))
        self.assertEqual([1], cursors(late.take()))

    def test_gapless_whatever_happens(self) -> None:
        """
        Watchers that begin anywhere, while jobs end, over a slow store, in small pages, to clients that
        stop reading and go on: each gets every event from its cursor on, in order, once.
        """
        for seed in range(60):
            self.patch(pages, "MOST", 3)
            self.play(random.Random(seed), f"seed {seed}")

    def play(self, chance: random.Random, seed: str) -> None:
        store = LateStore()
        self.make(store)
        self.submit(80)
        watchers: list[tuple[MemoryClient, int, list[str]]] = []
        deeds: list[Callable[[], object]] = [
            lambda: self.end(min(chance.randint(1, 4), len(self.running))),
            lambda: store.answer(2),
            lambda: self.begin_one(chance, watchers),
            lambda: self.some(chance, watchers, MemoryClient.stop_reading),
            lambda: self.some(chance, watchers, MemoryClient.read_on),
        ]
        while self.running:
            chance.choice(deeds)()
            self.daemon.settle()
            self.collect(watchers)
        for _ in range(200):
            while store.asked:
                store.answer()
            for client, _, _ in watchers:
                client.read_on()
            self.daemon.settle()
        self.collect(watchers)
        newest = self.daemon.daemon.announced
        for _, since, lines in watchers:
            self.assertEqual(list(range(since + 1, newest + 1)), cursors(lines), seed)

    def begin_one(self, chance: random.Random, watchers: list[tuple[MemoryClient, int, list[str]]]) -> None:
        if len(watchers) < 6:
            since = chance.randint(0, self.daemon.daemon.announced)
            client = self.daemon.connect()
            client.send(f'watch {{"since": {since}}}')
            watchers.append((client, since, []))

    def some(
        self,
        chance: random.Random,
        watchers: list[tuple[MemoryClient, int, list[str]]],
        do: Callable[[MemoryClient], None],
    ) -> None:
        for client, _, _ in watchers:
            if chance.random() < 0.5:
                do(client)

    def collect(self, watchers: list[tuple[MemoryClient, int, list[str]]]) -> None:
        for client, _, lines in watchers:
            lines.extend(client.take())
