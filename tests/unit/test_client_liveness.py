"""When a silent daemon counts as lost, and how a lost one is looked for: the rules, and every client keeping them."""

from __future__ import annotations

import asyncio
import operator
import pickle
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

import jobd
from jobd.client.core import Core, Event, Request
from jobd.client.executor import Executor
from jobd.client.liveness import FIRST_PAUSE, LONGEST_PAUSE, Comeback, Pulse
from jobd.client.session import Session
from jobd.client.url import parse
from jobd.errors import ConnectionProblem
from tests.unit.scripted import Conversation, Peer, ScriptedDaemon

PATIENCE = 60.0

LIVENESS = 2.0
"""Seconds: a busy machine must be able to answer in time."""

Main = Callable[[str], Awaitable[Any]]


class Silence(TestCase):
    """L{Pulse}, told the time."""

    def setUp(self) -> None:
        self.core = Core()
        self.core.connected()
        self.core.receive(b"ok {}\n")
        self.core.outgoing()
        self.pulse = Pulse(self.core, 20.0)
        self.pulse.heard(100.0)

    def test_nothing_owed(self) -> None:
        """A connection that owes nothing may be silent for ever."""
        self.assertIsNone(self.pulse.left(1000.0))
        self.pulse.check(1000.0)
        self.assertEqual(b"", self.core.outgoing())

    def test_a_reply(self) -> None:
        """A reply may take that long from when it is asked for, not from the last word."""
        self.core.send(Request("show", "1"))
        self.assertEqual(20.0, self.pulse.left(500.0))
        self.assertEqual(5.0, self.pulse.left(515.0))
        self.pulse.check(519.0)
        self.assertRaises(ConnectionProblem, self.pulse.check, 520.0)

    def test_a_finish(self) -> None:
        """Where a finish is waited for, silence is broken by a ping; an answer to it is enough, for as long again."""
        self.core.send(Request("wait", "5", waits=(5,)))
        self.core.receive(b"ok 1\n")
        self.core.outgoing()
        self.pulse.heard(200.0)
        for now in (200.0, 220.0, 240.0):
            self.assertEqual(20.0, self.pulse.left(now))
            self.pulse.check(now + 20.0)
            self.assertEqual(b"ping\n", self.core.outgoing())
            self.assertEqual([], self.core.receive(b"ok\n"))
            self.pulse.heard(now + 20.0)
        self.pulse.check(280.0)
        self.assertEqual(20.0, self.pulse.left(280.0))
        self.assertRaises(ConnectionProblem, self.pulse.check, 300.0)

    def test_any_word(self) -> None:
        """Whatever comes is a sign of life, be it half a line."""
        self.core.send(Request("show", "1"))
        self.assertEqual(20.0, self.pulse.left(200.0))
        self.pulse.heard(219.0)
        self.pulse.check(238.0)
        self.assertEqual(1.0, self.pulse.left(238.0))


class Searches(TestCase):
    """L{Comeback}, told the time."""

    def test_pauses(self) -> None:
        """One attempt at once, then with pauses that double, up to a length."""
        comeback = Comeback()
        pauses = [comeback.pause(0.0) for _ in range(9)]
        self.assertEqual([0.0, FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE], pauses[:4])
        self.assertEqual([LONGEST_PAUSE] * 2, pauses[7:])

    def test_the_end(self) -> None:
        """It is over so long after the first loss, however many connections of no use there were since."""
        comeback = Comeback()
        for now in (100.0, 130.0, 159.0):
            comeback.pause(now)
            self.assertEqual(160.0 - now, comeback.left(now, 60.0))

    def test_of_use(self) -> None:
        """A connection that is of use ends it, and the next loss begins another."""
        comeback = Comeback()
        comeback.pause(100.0)
        comeback.pause(100.0)
        comeback.of_use()
        self.assertEqual(0.0, comeback.pause(500.0))
        self.assertEqual(60.0, comeback.left(500.0, 60.0))


class Lines(TestCase):
    """When a connection is of use."""

    def test_asked_for(self) -> None:
        """A greeting alone is of use only where nothing else is wanted."""
        core = Core()
        core.connected()
        self.assertFalse(core.of_use)
        core.receive(b"ok {}\n")
        self.assertTrue(core.of_use)
        core.send(Request("wait", "5", waits=(5,)))
        core.disconnected()
        core.connected()
        core.receive(b"ok {}\n")
        self.assertFalse(core.of_use)
        core.receive(b"ok 1\n")
        self.assertTrue(core.of_use)


def blocking(url: str) -> Awaitable[Any]:
    def work() -> None:
        with jobd.connect(url, liveness=LIVENESS, reconnect=PATIENCE) as client:
            client.run("true").wait(PATIENCE)

    return deferToThread(work)


async def _work(connecting: Awaitable[Any]) -> None:
    client = await connecting
    await (await client.run("true")).wait(PATIENCE)
    await client.close()


def in_asyncio(url: str) -> Awaitable[Any]:
    return deferToThread(lambda: asyncio.run(_work(jobd.aio.connect(url, liveness=LIVENESS, reconnect=PATIENCE))))


def in_twisted(url: str) -> Awaitable[Any]:
    return Deferred.fromCoroutine(_work(jobd.tx.connect(reactor, url, liveness=LIVENESS, reconnect=PATIENCE)))


def executor(url: str) -> Awaitable[Any]:
    def work() -> None:
        with Executor(url, liveness=LIVENESS) as pool:
            pool.submit(operator.neg, 1).result(PATIENCE)

    return deferToThread(work)


def session(url: str) -> Awaitable[Any]:
    def work() -> None:
        with Session(parse(url), liveness=LIVENESS).open() as one:
            one.ask(Request("submit", "{}", notified=[True]))
            next(item for item in one.items(PATIENCE) if isinstance(item, Event))

    return deferToThread(work)


CLIENTS: tuple[Main, ...] = (blocking, in_asyncio, in_twisted, executor, session)

FINISH = f'* 1 1 succeeded {{"pickle": "{b64encode(pickle.dumps(-1)).decode()}"}}'


class Clients(TestCase):
    """Each claim holds of every Python client, and of what C{jobctl} is built on."""

    async def each(self, *conversations: Conversation) -> None:
        async def one(client: Main) -> None:
            with ScriptedDaemon(*conversations) as daemon:
                await client(daemon.url)

        await gatherResults([Deferred.fromCoroutine(one(client)) for client in CLIENTS])

    async def test_a_silent_daemon(self) -> None:
        """A client that waits pings a silent daemon, lives on its answers, and leaves one that gives none."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1")
            peer.expect("ping", "ok")
            peer.expect("ping", "ok")
            peer.expect("ping")
            self.assertEqual("", peer.read())

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("wait 1", "ok 1", FINISH)
            peer.read()

        await self.each(first, second)

    async def test_a_reply_that_does_not_come(self) -> None:
        """A submission that stays without a reply is sent again on another connection; so is the greeting."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit")
            self.assertEqual("", peer.read())

        def second(peer: Peer) -> None:
            peer.expect("hello")
            self.assertEqual("", peer.read())

        def third(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1", FINISH)
            peer.read()

        await self.each(first, second, third)

    async def test_a_daemon_that_hangs_up(self) -> None:
        """One that takes every connection and drops it is tried with pauses, and given up in time."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1")

        connections: list[int] = []

        def work(url: str) -> None:
            with jobd.connect(url, reconnect=0.5) as client:
                client.run("true").wait(PATIENCE)

        async def asynchronous(connecting: Awaitable[Any]) -> None:
            client = await connecting
            job = await client.run("true")
            try:
                await job.wait(PATIENCE)
            finally:
                await client.close()

        def in_session(url: str) -> None:
            with Session(parse(url), patience=0.5).open() as one:
                one.ask(Request("submit", "{}", notified=[True]))
                next(item for item in one.items(PATIENCE) if isinstance(item, Event))

        for client in (
            lambda url: deferToThread(work, url),
            lambda url: deferToThread(lambda: asyncio.run(asynchronous(jobd.aio.connect(url, reconnect=0.5)))),
            lambda url: Deferred.fromCoroutine(asynchronous(jobd.tx.connect(reactor, url, reconnect=0.5))),
            lambda url: deferToThread(in_session, url),
        ):
            connections.clear()
            with ScriptedDaemon(first, *[lambda peer: connections.append(1)] * 1000) as daemon:
                error = await self.assertFailure(
                    Deferred.fromCoroutine(_awaited(client(daemon.url))), ConnectionProblem
                )
            self.assertIn("did not come back", str(error))
            # At 0, 0.05, 0.15 and 0.35 seconds; a machine that stalls makes fewer attempts, never more.
            self.assertLessEqual(len(connections), 5)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
