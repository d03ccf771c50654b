"""The Python clients with a real daemon: blocking, asyncio and Twisted, over each kind of connection."""

from __future__ import annotations

import asyncio
import operator
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

import jobd
from jobd.client.core import Event
from jobd.client.outcome import Outcome
from jobd.client.reading import Output
from jobd.errors import (
    Conflict,
    ConnectionProblem,
    Finished,
    JobFailed,
    NoSuchJob,
    NotAuthenticated,
    RemoteTraceback,
    WaitTimeout,
)
from tests.daemon import Daemon, running_daemon
from tests.functional import calls
from tests.functional.certificates import Authority
from tests.functional.shared import shared_daemon

ROOT = str(Path(jobd.__file__).parent.parent)
LIMIT = 120.0


class Blocking(TestCase):
    """C{jobd.connect}."""

    def setUp(self) -> None:
        self.client = jobd.connect(shared_daemon().url, timeout=LIMIT, reconnect=LIMIT).options(cwd=ROOT)
        self.addCleanup(self.client.close)

    def test_a_pipeline(self) -> None:
        """Jobs of every kind, one after the other."""
        first = self.client.run("echo", "one")
        second = self.client.shell("cat; exit 3", stdin="two", after=[first])
        third = self.client.call("tests.functional.calls:square", 7)
        last = self.client.shell("echo last", after={second: "failed", third: "ok"})
        self.assertTrue(last.wait(LIMIT).ok)
        self.assertEqual(b"one\n", first.output())
        self.assertEqual((3, b"two"), (second.wait(LIMIT).exit_code, second.output()))
        self.assertEqual(49, third.result(LIMIT))
        self.assertEqual("succeeded", last.state)
        self.assertIn("succeeded", last.why())

    def test_exception(self) -> None:
        """What a call raised, and where."""
        error = self.assertRaises(LookupError, self.client.call(calls.fail, "x").result, LIMIT)
        self.assertIn("raise LookupError(text)", str(error.__cause__))
        named = self.client.call("tests.functional.calls:fail", "x")
        error = self.assertRaises(JobFailed, named.result, LIMIT)
        self.assertIsInstance(error.__cause__, RemoteTraceback)

    def test_map(self) -> None:
        """Results in order, more than are submitted at once."""
        squares = self.client.map(calls.square, range(300), ahead=64, timeout=LIMIT)
        self.assertEqual([number**2 for number in range(300)], list(squares))

    def test_as_completed(self) -> None:
        """Jobs come as they end."""
        gate = Path(self.mktemp()).absolute()
        self.addCleanup(gate.touch)
        slow = self.client.call("tests.functional.calls:wait_for", str(gate))
        quick = self.client.run("true")
        order = self.client.as_completed([slow, quick], timeout=LIMIT)
        self.assertIs(quick, next(order))
        gate.touch()
        self.assertIs(slow, next(order))

    def test_cancel(self) -> None:
        """A running job ends; one that has ended is not cancelled again."""
        job = self.client.run("sleep", "60")
        self.assertRaises(WaitTimeout, job.wait, 0.01)
        self.assertTrue(job.cancel())
        self.assertEqual("cancelled", job.wait(LIMIT).state)
        self.assertFalse(job.cancel())
        self.assertRaises(Finished, self.client.cancel, job)

    def test_retry(self) -> None:
        """An ended job again, as a new one."""
        job = self.client.shell("exit 4")
        job.wait(LIMIT)
        (again,) = self.client.retry(job)
        self.assertEqual(4, again.wait(LIMIT).exit_code)
        self.assertEqual(job.id, again.show()["retry_of"])

    def test_key(self) -> None:
        """The same key gives the same job and its finish; with another job it is a conflict."""
        key = self.mktemp()[-64:]
        job = self.client.run("true", key=key)
        job.wait(LIMIT)
        again = self.client.run("true", key=key)
        self.assertEqual(job.id, again.id)
        self.assertTrue(again.wait(LIMIT).ok)
        self.assertRaises(Conflict, self.client.run, "false", key=key)

    def test_not_notified(self) -> None:
        """A job that does not announce its finish can be waited for all the same."""
        self.assertTrue(self.client.run("true", notify=False).wait(LIMIT).ok)

    def test_follow(self) -> None:
        """Output as it is written, then the outcome."""
        job = self.client.shell("echo one; echo two >&2")
        told = list(self.client.follow(job))
        pieces = {(piece.stream, piece.data) for piece in told if isinstance(piece, Output)}
        self.assertEqual({("stdout", b"one\n"), ("stderr", b"two\n")}, pieces)
        self.assertIsInstance(told[-1], Outcome)

    def test_watch(self) -> None:
        """From a cursor on, everybody's finishes."""
        before = self.client.hello()["cursor"]
        jobs = [self.client.run("true", notify=False) for _ in range(3)]
        events = self.client.watch(before)
        seen: set[int] = set()
        while not seen >= {job.id for job in jobs}:
            event = next(events)
            assert isinstance(event, Outcome)
            self.assertNotIn(event.id, seen)
            seen.add(event.id)
        events.close()  # type: ignore[attr-defined]

    def test_progress(self) -> None:
        """What a job reports is told to who watches."""
        events = self.client.watch(progress=True)
        job = self.client.run("sleep", "60")
        while job.state != "running":
            pass
        self.client.progress(job, done=3, total=10, text="page 3")
        event = next(event for event in events if isinstance(event, Event) and event.job == job.id)
        self.assertEqual({"done": 3, "total": 10, "text": "page 3"}, event.data)
        self.assertEqual({"done": 3, "total": 10, "text": "page 3"}, job.show()["progress"])
        job.cancel()
        events.close()  # type: ignore[attr-defined]

    def test_big_output(self) -> None:
        """Output over many replies, and parts of it."""
        job = self.client.shell("head -c 1500000 /dev/zero")
        job.wait(LIMIT)
        self.assertEqual(1_500_000, len(job.output()))
        self.assertEqual(b"\0" * 10, self.client.output(job, start=-10))
        self.assertEqual(b"\0" * 7, self.client.output(job, start=5, limit=7))

    def test_queue(self) -> None:
        """A queue's limit and pause."""
        self.assertEqual(2, self.client.queue("client-test", limit=2)["limit"])
        self.client.pause("client-test")
        job = self.client.run("true", queue="client-test")
        self.assertIn("paused", job.why())
        self.client.resume("client-test")
        self.assertTrue(job.wait(LIMIT).ok)

    def test_list(self) -> None:
        """Jobs by group, oldest or newest first."""
        group = self.mktemp()[-64:]
        jobs = self.client.options(group=group).submit([{"argv": ["true"]}] * 5)
        self.client.wait(jobs, LIMIT)
        ids = [job.id for job in jobs]
        self.assertEqual(ids, [job["id"] for job in self.client.list(group=group)])
        self.assertEqual(ids[:2:-1], [job["id"] for job in self.client.list(group=group, newest=True, limit=2)])

    def test_missing(self) -> None:
        """A job that never was."""
        for ask in (self.client.show, self.client.why, self.client.cancel, self.client.output, self.client.retry):
            self.assertRaises(NoSuchJob, ask, 10**12)
        self.assertRaises(NoSuchJob, self.client.job(10**12).wait, LIMIT)

    def test_the_callers_folder(self) -> None:
        """On the same machine a command runs where the caller is."""
        with jobd.connect(shared_daemon().url, timeout=LIMIT, reconnect=LIMIT) as client:
            job = client.run("pwd")
            job.wait(LIMIT)
            self.assertEqual(Path.cwd().resolve(), Path(job.output().decode().strip()).resolve())


class Restarts(TestCase):
    """The daemon goes away in the middle, and comes back on the same state."""

    def daemon(self, *options: str) -> Daemon:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        daemon = Daemon(Path(folder.name).resolve(), "--workers", "2", *options)
        daemon.start()
        self.addCleanup(daemon.stop)
        return daemon

    def test_waits_survive_a_kill(self) -> None:
        """A client waits on, over a daemon that was killed, and hears of every job once."""
        daemon = self.daemon()
        client = jobd.connect(daemon.url, timeout=LIMIT, reconnect=LIMIT)
        self.addCleanup(client.close)
        client.pause()
        jobs = client.submit([{"argv": ["true"]}] * 20)
        watched = client.watch(0)
        daemon.kill()
        daemon.start()
        client.resume()
        self.assertEqual({"succeeded"}, {outcome.state for outcome in client.wait(jobs, LIMIT)})
        cursors = [next(watched).cursor for _ in jobs]
        self.assertEqual(sorted(set(cursors)), cursors)
        watched.close()  # type: ignore[attr-defined]

    def test_another_instance(self) -> None:
        """One that has lost its jobs gives their ids to others: who waits for an old one is told so, not of another."""
        daemon = self.daemon("--durability", "memory")
        client = jobd.connect(daemon.url, timeout=LIMIT, reconnect=LIMIT)
        self.addCleanup(client.close)
        client.run("true").wait(LIMIT)
        client.pause()
        old = client.run("false")
        watched = client.watch()
        daemon.kill()
        daemon.start()
        with jobd.connect(daemon.url, timeout=LIMIT, reconnect=LIMIT) as other:
            other.pause()
            _, new = other.submit([{"argv": ["true"]}, {"argv": ["true"]}])
            self.assertEqual(old.id, new.id)
            error = self.assertRaises(ConnectionProblem, old.wait, LIMIT)
            self.assertIn("another instance", str(error))
            self.assertRaises(ConnectionProblem, next, watched)
            other.resume()
            self.assertTrue(new.wait(LIMIT).ok)
        self.assertEqual(0, client.cursor)
        self.assertTrue(client.run("true").wait(LIMIT).ok)

    def test_submissions_survive_a_restart(self) -> None:
        """What is submitted while the daemon is away is accepted once, when it is back."""
        daemon = self.daemon()
        client = jobd.connect(daemon.url, timeout=LIMIT, reconnect=LIMIT)
        self.addCleanup(client.close)
        daemon.stop()
        jobs: list[jobd.client.jobs.Job] = []
        thread = threading.Thread(target=lambda: jobs.append(client.run("true")))
        thread.start()
        daemon.start()
        thread.join(LIMIT)
        self.assertTrue(jobs[0].wait(LIMIT).ok)
        self.assertEqual([jobs[0].id], [job["id"] for job in client.list()])

    def test_executor_survives_a_restart(self) -> None:
        """An executor's calls are all done, whenever the daemon is killed."""
        daemon = self.daemon()
        with jobd.Executor(daemon.url, attempts=5, backoff=0) as executor:
            futures = [executor.submit(operator.mul, number, number) for number in range(500)]
            futures[50].result(LIMIT)
            daemon.kill()
            daemon.start()
            self.assertEqual([number**2 for number in range(500)], [future.result(LIMIT) for future in futures])

    def test_aio_survives_a_kill(self) -> None:
        """The asyncio client waits on, too."""
        daemon = self.daemon()

        async def main() -> list[str]:
            async with await jobd.aio.connect(daemon.url, timeout=LIMIT, reconnect=LIMIT) as client:
                await client.pause()
                jobs = await client.submit([{"argv": ["true"]}] * 5)
                daemon.kill()
                await asyncio.to_thread(daemon.start)
                await client.resume()
                return [outcome.state for outcome in await client.wait(jobs, LIMIT)]

        self.assertEqual(["succeeded"] * 5, asyncio.run(main()))

    async def test_tx_survives_a_kill(self) -> None:
        """And so does the Twisted client."""
        daemon = self.daemon()
        client = await jobd.tx.connect(reactor, daemon.url, timeout=LIMIT, reconnect=LIMIT)
        await client.pause()
        jobs = await client.submit([{"argv": ["true"]}] * 5)
        daemon.kill()
        await deferToThread(daemon.start)
        await client.resume()
        self.assertEqual(["succeeded"] * 5, [outcome.state for outcome in await client.wait(jobs, LIMIT)])
        await client.close()


async def use(client: Any, test: TestCase) -> None:
    """What the asyncio and the Twisted client have in common, which is nearly everything."""
    equal = test.assertEqual
    first = await client.run("echo", "one")
    second = await client.shell("exit 3", after=[first])
    equal(3, (await second.wait(LIMIT)).exit_code)
    equal(b"one\n", await first.output())
    equal(49, await (await client.call("tests.functional.calls:square", 7)).result(LIMIT))
    equal("hi you", await (await client.call(calls.Greeter("hi").greet, "you")).result(LIMIT))
    await _raises(test, LookupError, (await client.call(calls.fail, "x")).result(LIMIT))
    equal(
        [number**2 for number in range(30)], [result async for result in client.map(calls.square, range(30), ahead=8)]
    )
    jobs = await client.submit([{"argv": ["true"]}, {"argv": ["false"]}])
    equal({job.id for job in jobs}, {job.id async for job in client.as_completed(jobs)})
    equal(["succeeded", "failed"], [outcome.state for outcome in await client.wait(jobs, LIMIT)])
    equal([], await client.submit([]))
    told = [piece async for piece in client.follow(await client.shell("echo a"))]
    equal(b"a\n", told[0].data)
    test.assertIsInstance(told[1], Outcome)
    async for event in client.watch(client.cursor - 1):
        equal(client.cursor, event.cursor)
        break
    slow = await client.run("sleep", "60")
    await _raises(test, WaitTimeout, slow.wait(0.01))
    equal(True, await slow.cancel())
    equal("cancelled", (await slow.wait(LIMIT)).state)
    equal(False, await slow.cancel())
    equal("cancelled", await slow.state())
    test.assertIn("cancelled", await slow.why())
    equal(
        [jobs[1].id, jobs[0].id],
        [job["id"] async for job in client.list(ids=f"{jobs[0].id}-{jobs[1].id}", newest=True)],
    )
    (again,) = await client.retry(jobs[1])
    equal(1, (await again.wait(LIMIT)).exit_code)
    await _raises(test, NoSuchJob, client.show(10**12))
    await _raises(test, NoSuchJob, client.job(10**12).wait(LIMIT))
    await client.ping()
    equal("labelled", (await (await client.options(label="labelled").run("true")).show())["spec"]["label"])


async def _raises(test: TestCase, kind: type[BaseException], awaited: Any) -> None:
    try:
        result = await awaited
    except kind:
        return
    test.fail(f"{kind.__name__} not raised, but there is {result!r}")


class Aio(TestCase):
    """C{jobd.aio}."""

    def run_in_loop(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(main())

    def test_everything(self) -> None:
        """All that a client can do."""

        async def main() -> None:
            async with await jobd.aio.connect(shared_daemon().url, timeout=LIMIT, reconnect=LIMIT) as client:
                await use(client.options(cwd=ROOT), self)

        self.run_in_loop(main)

    def test_concurrently(self) -> None:
        """Many tasks on one client."""

        async def main() -> None:
            async with await jobd.aio.connect(shared_daemon().url, timeout=LIMIT, reconnect=LIMIT) as client:

                async def one(number: int) -> Any:
                    return await (await client.call(operator.mul, number, number)).result(LIMIT)

                self.assertEqual([n * n for n in range(50)], await asyncio.gather(*(one(n) for n in range(50))))

        self.run_in_loop(main)

    def test_problems(self) -> None:
        """No daemon, and a closed client."""

        async def main() -> None:
            await _raises(self, ConnectionProblem, jobd.aio.connect("jobd+unix:///no/such/socket"))
            await _raises(self, ConnectionProblem, jobd.aio.connect("jobd://no-such-host.invalid"))
            client = await jobd.aio.connect(shared_daemon().url, timeout=LIMIT, reconnect=LIMIT)
            waiting = asyncio.ensure_future((await client.run("sleep", "60", timeout=1)).wait())
            await asyncio.sleep(0)
            await client.close()
            await _raises(self, ConnectionProblem, waiting)
            await _raises(self, ConnectionProblem, client.ping())

        self.run_in_loop(main)


class Tx(TestCase):
    """C{jobd.tx}."""

    async def test_everything(self) -> None:
        """All that a client can do."""
        client = await jobd.tx.connect(reactor, shared_daemon().url, timeout=LIMIT, reconnect=LIMIT)
        await use(client.options(cwd=ROOT), self)
        await client.close()

    async def test_deferreds(self) -> None:
        """What the methods return are Deferreds."""
        client = await jobd.tx.connect(reactor, shared_daemon().url, timeout=LIMIT, reconnect=LIMIT)
        for deferred in (client.run("true"), client.ping(), client.job(10**12).wait(), client.stats()):
            self.assertIsInstance(deferred, Deferred)
            deferred.addErrback(lambda failure: failure.trap(NoSuchJob))
            await deferred
        await client.close()

    async def test_problems(self) -> None:
        """No daemon, and a closed client."""
        await _raises(self, ConnectionProblem, jobd.tx.connect(reactor, "jobd+unix:///no/such/socket"))
        await _raises(self, ConnectionProblem, jobd.tx.connect(reactor, "jobd://no-such-host.invalid"))
        client = await jobd.tx.connect(reactor, shared_daemon().url, timeout=LIMIT, reconnect=LIMIT)
        waiting = (await client.run("sleep", "60", timeout=1)).wait()
        await client.close()
        await _raises(self, ConnectionProblem, waiting)
        await _raises(self, ConnectionProblem, client.ping())


class Remote(TestCase):
    """Over TCP with a token, and over TLS."""

    def test_token(self) -> None:
        """Over TCP the token is needed; with it everything works, and the caller's folder is used on this machine."""
        daemon = shared_daemon()
        with jobd.connect(daemon.tcp_url, token=daemon.token, timeout=LIMIT) as client:
            self.assertTrue(client.run("true").wait(LIMIT).ok)
        text = str(self.assertRaises(NotAuthenticated, jobd.connect, daemon.tcp_url))
        self.assertIn("JOBD_TOKEN", text)
        self.assertRaises(NotAuthenticated, jobd.connect, daemon.tcp_url, token="wrong")

    async def test_tls(self) -> None:
        """Over TLS the daemon's name is verified by every client, and a client may be known by its certificate."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        folder = folder.absolute()
        authority, stranger = Authority(folder), Authority(_below(folder, "other"))
        certificate, key = authority.issue("localhost")
        mine, my_key = authority.issue("client.example")
        options = ["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", authority.ca]
        with running_daemon(*options, listen=["tcp:0:interface=127.0.0.1"]) as daemon:
            port = daemon.tcp_url.rpartition(":")[2]
            good: dict[str, Any] = {"tls_ca": authority.ca, "tls_cert": mine, "tls_key": my_key}
            url, wrong_name = f"jobds://localhost:{port}", f"jobds://127.0.0.1:{port}"
            await deferToThread(self._blocking_tls, url, wrong_name, good, stranger.ca)
            await deferToThread(asyncio.run, self._tls(jobd.aio.connect, url, wrong_name, good, stranger.ca))

            async def connect(url: str, **tls: Any) -> Any:
                return await jobd.tx.connect(reactor, url, **tls)

            await self._tls(connect, url, wrong_name, good, stranger.ca)

    def _blocking_tls(self, url: str, wrong_name: str, good: dict[str, Any], stranger: str) -> None:
        with jobd.connect(url, **good) as client:
            self.assertTrue(client.run("true").wait(LIMIT).ok)
            self.assertEqual(300_000, len(client.call("operator:mul", "x", 300_000).result(LIMIT)))
        with jobd.Executor(url, **good) as executor:
            self.assertEqual([n * n for n in range(50)], list(executor.map(operator.mul, range(50), range(50))))
        text = str(self.assertRaises(ConnectionProblem, jobd.connect, wrong_name, **good))
        self.assertIn("is not for '127.0.0.1'", text)
        text = str(self.assertRaises(ConnectionProblem, jobd.connect, url, **{**good, "tls_ca": stranger}))
        self.assertIn("not trusted", text)

    async def _tls(self, connect: Any, url: str, wrong_name: str, good: dict[str, Any], stranger: str) -> None:
        client = await connect(url, **good)
        self.assertTrue((await (await client.run("true")).wait(LIMIT)).ok)
        await client.close()
        for other, options, said in (
            (wrong_name, good, "is not for '127.0.0.1'"),
            (url, {**good, "tls_ca": stranger}, "not trusted"),
        ):
            try:
                await connect(other, **options)
            except ConnectionProblem as error:
                self.assertIn(said, str(error))
            else:
                self.fail("connected")


def _below(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path
