"""The asyncio and the Twisted client, against a daemon that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

import jobd
from jobd.errors import BadField, ConnectionProblem, Gone, JobdError, NotAuthenticated, UsageError, WaitTimeout
from tests.unit.scripted import Conversation, Peer, ScriptedDaemon

PATIENCE = 120.0

Connect = Callable[..., Awaitable[Any]]
Main = Callable[[Connect], Coroutine[Any, Any, None]]


def _tx_connect(url: str, **options: Any) -> Awaitable[Any]:
    return jobd.tx.connect(reactor, url, **options)


class Both(TestCase):
    """Each claim holds of both clients."""

    async def both(self, main: Main) -> None:
        """Run it with the one, then with the other."""
        await deferToThread(asyncio.run, main(jobd.aio.connect))
        await Deferred.fromCoroutine(main(_tx_connect))

    async def raises(self, kind: type[BaseException], awaited: Awaitable[Any]) -> str:
        """The text of the error that comes."""
        try:
            result = await awaited
        except kind as error:
            return str(error)
        raise self.failureException(f"{kind.__name__} not raised, but there is {result!r}")

    async def refused(self, kind: type[JobdError], conversation: Conversation, said: str, **options: Any) -> None:
        """Connecting to this fails with that."""

        async def main(connect: Connect) -> None:
            with ScriptedDaemon(conversation, tcp=True) as daemon:
                self.assertIn(said, await self.raises(kind, connect(daemon.url, **options)))

        await self.both(main)

    async def test_requests(self) -> None:
        """Replies and errors find those who asked."""

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect('submit {"prioirty": 1, "argv": ["true"]', "error BAD_FIELD unknown field 'prioirty'")
            peer.expect("why 1", "ok fine")
            peer.expect("submit [", "ok 1-2", "* 1 2 succeeded {}", '* 2 1 failed {"exit_code": 3}')
            peer.read()

        async def main(connect: Connect) -> None:
            with ScriptedDaemon(script) as daemon:
                client = await connect(daemon.url)
                await self.raises(BadField, client.run("true", prioirty=1))
                self.assertEqual("fine", await client.why(1))
                jobs = await client.submit([{"shell": "a"}, {"shell": "b", "after": [-1]}])
                self.assertEqual([2, 1], [outcome.cursor for outcome in await client.wait(jobs, PATIENCE)])
                self.assertEqual(2, client.cursor)
                self.assertEqual(daemon.url, client.url)
                await client.close()

        await self.both(main)

    async def test_reconnecting(self) -> None:
        """A lost connection is made again: waits go on, keyed submissions are repeated, others are not."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1-2", "* 1 2 succeeded {}")
            peer.expect("retry")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("wait 1", "ok 1", "* 1 2 succeeded {}")
            peer.expect("ping", "ok", "* 2 1 succeeded {}")
            peer.expect("submit")

        def third(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 3")
            peer.read()

        async def main(connect: Connect) -> None:
            with ScriptedDaemon(first, second, third) as daemon:
                client = await connect(daemon.url)
                jobs = await client.submit([{"shell": "a"}] * 2)
                self.assertIn("may or may not", await self.raises(ConnectionProblem, client.retry(9)))
                await client.ping()
                self.assertEqual([2, 1], [outcome.cursor for outcome in await client.wait(jobs, PATIENCE)])
                self.assertEqual(3, (await client.run("true")).id)
                await client.close()

        await self.both(main)

    async def test_it_does_not_come_back(self) -> None:
        """A daemon that is not there again in time is given up, also without a second try."""

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1")

        async def main(connect: Connect) -> None:
            for patience, said in ((0.2, "did not come back"), (False, "lost")):
                with ScriptedDaemon(script) as daemon:
                    client = await connect(daemon.url, reconnect=patience)
                    job = await client.run("true")
                self.assertIn(said, await self.raises(ConnectionProblem, job.wait(PATIENCE)))
                await self.raises(ConnectionProblem, client.ping())
                await client.close()

        await self.both(main)

    async def test_slow_reply(self) -> None:
        """A reply that does not come in time is a WaitTimeout, and its coming late does no harm."""

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect("why 1")
            peer.expect("why 2", "ok one", "ok two")
            peer.read()

        async def main(connect: Connect) -> None:
            with ScriptedDaemon(script) as daemon:
                client = await connect(daemon.url, timeout=0.3)
                await self.raises(WaitTimeout, client.why(1))
                self.assertEqual("two", await client.why(2))
                await client.close()

        await self.both(main)

    async def test_streams(self) -> None:
        """A watch goes on over a lost connection, and ends with the error it gets."""

        def main_connection(peer: Peer) -> None:
            peer.hello()
            peer.read()

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect('watch {"since": 3}', "ok 4", "* 4 1 succeeded {}")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect('watch {"since": 4}', "ok 5", "* 4 1 succeeded {}", "* 5 2 failed {}")

        def third(peer: Peer) -> None:
            peer.hello()
            peer.expect('watch {"since": 5}', "error GONE the oldest cursor is 90")
            peer.read()

        async def main(connect: Connect) -> None:
            with ScriptedDaemon(main_connection, first, second, third) as daemon:
                client = await connect(daemon.url)
                cursors = []

                async def watch() -> None:
                    async for event in client.watch(3):
                        cursors.append(event.cursor)

                await self.raises(Gone, watch())
                self.assertEqual([4, 5], cursors)
                await client.close()

        await self.both(main)

    async def test_garbage(self) -> None:
        """Another program's greeting is told apart from a daemon."""
        await self.refused(ConnectionProblem, lambda peer: peer.write("SSH-2.0-OpenSSH"), "is not jobd", token="t")

    async def test_closed(self) -> None:
        """A daemon that closes at once is not tried for a minute."""
        await self.refused(ConnectionProblem, lambda peer: None, "lost")

    async def test_silence(self) -> None:
        """A peer that accepts and says nothing."""

        def silent(peer: Peer) -> None:
            while peer.read():
                pass

        await self.refused(ConnectionProblem, silent, "does not answer", timeout=0.2)

    async def test_wrong_token(self) -> None:
        """A wrong token, and one that is missing."""

        def wrong(peer: Peer) -> None:
            peer.expect("auth no", "error AUTH wrong token")

        def wanted(peer: Peer) -> None:
            peer.hello('{"auth": "token"}')
            peer.read()

        await self.refused(NotAuthenticated, wrong, "wrong token", token="no")
        await self.refused(NotAuthenticated, wanted, "JOBD_TOKEN")

    async def test_urls_and_files(self) -> None:
        """What is wrong before anything is connected."""

        async def main(connect: Connect) -> None:
            await self.raises(UsageError, connect("http://localhost"))
            with ScriptedDaemon(lambda peer: None, tcp=True) as daemon:
                url = daemon.url.replace("jobd:", "jobds:")
                self.assertIn("/none.pem", await self.raises(UsageError, connect(url, tls_ca="/none.pem")))

        await self.both(main)

    async def test_no_tls_there(self) -> None:
        """A jobds URL to a plain port says that no TLS came about."""

        async def main(connect: Connect) -> None:
            with ScriptedDaemon(lambda peer: peer.write("ok"), tcp=True) as daemon:
                text = await self.raises(ConnectionProblem, connect(daemon.url.replace("jobd:", "jobds:")))
                self.assertIn("TLS", text)

        await self.both(main)
