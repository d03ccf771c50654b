"""Sessions: what a connection may count on, whatever it sends and however slowly it reads."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from jobd import wire
from jobd.access import LONGEST_PENALTY, Access, Peer
from jobd.job import State
from jobd.session import TIME_TO_AUTH, UNANSWERED, UNREAD, UNREAD_PAUSE
from jobd.testing import LOCAL, REMOTE, FakePool, HeldStore, MemoryClient, MemoryDaemon
from jobd.verbs import VERBS

DONE = '{"exit_code":0,"attempt":1}'


def at_once(start: object) -> tuple[State, dict[str, Any]]:
    return State.SUCCEEDED, {}


class Sessions(SynchronousTestCase):
    """A daemon in memory and one client of it, on a Unix socket."""

    def setUp(self) -> None:
        self.daemon = MemoryDaemon()
        self.client = self.daemon.connect()

    def finish(self, *ids: int) -> None:
        for job_id in ids:
            self.daemon.pool.finish(job_id)
        self.daemon.settle()


class Replies(Sessions):
    """Each request has one reply, in order."""

    def test_in_order(self) -> None:
        """Replies come in the order of the requests, whether they ask the store or not, tags with them."""
        self.client.send("#a ping 1", "run x", "#b show 1", "nonsense", "#c list", "ping 2")
        words = [line.split(" {")[0] for line in self.client.take()]
        expected = ["#a ok 1", "ok 1", "#b ok", "error UNKNOWN_VERB there is no verb 'nonsense'; 'help' lists them"]
        self.assertEqual([*expected, "#c ok", "ok 2"], words)

    def test_any_cut(self) -> None:
        """It does not matter in which pieces the bytes come."""
        for byte in b"ping a\r\n\r\n\nping b\n":
            self.client.feed(bytes([byte]))
        self.assertEqual(["ok a", "ok b"], self.client.take())

    def test_many_in_one_piece(self) -> None:
        """Thousands of requests may come at once, good and bad ones, of every kind."""
        self.client.send(*["ping", "show", "show 1", "bad", "list {", "why 7", "run x"] * 1000)
        self.assertEqual(7000, len(self.client.take()))

    def test_events_after_replies(self) -> None:
        """A job's reply comes before its events, also when it ends in the same turn."""
        daemon = MemoryDaemon(pool=FakePool(script=at_once))
        client = daemon.connect()
        client.send('submit [{"argv": ["a"]}, {"argv": ["b"], "after": {"-1": "failed"}}]', "ping")
        expected = ["ok 1-2", "ok", f"* 1 1 succeeded {DONE}", '* 2 2 skipped {"because": 1}']
        self.assertEqual(expected, client.take())

    def test_a_bug(self) -> None:
        """A request that runs into a bug gets an error, the log has more, and the connection goes on."""

        def broken(session: object, request: object) -> None:
            raise ZeroDivisionError

        async def broken_later(session: object, request: object) -> None:
            raise ZeroDivisionError

        self.daemon.factory.verbs = {**VERBS, "stats": (broken, False), "list": (broken_later, False)}
        client = self.daemon.connect()
        error = "error INTERNAL this should not have happened; the daemon's log has more"
        client.send("stats", "#t list", "ping")
        self.assertEqual([error, f"#t {error}", "ok"], client.take())
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_one_client_does_not_keep_others_waiting(self) -> None:
        """While one client's request asks the store, another's is answered."""
        asked: list[Any] = []
        self.patch(self.daemon.store, "read", lambda ask, done: asked.append((ask, done)))
        self.client.send("list", "ping 1")
        other = self.daemon.connect()
        self.assertEqual("ok 2", other.ask("ping 2"))
        self.assertEqual([], self.client.take())
        ((ask, done),) = asked
        done(ask(self.daemon.store))
        self.daemon.settle()
        self.assertEqual(["ok {", "ok 1"], [line[:4] for line in self.client.take()])


class Lines(Sessions):
    """Limits of a line."""

    def test_too_long(self) -> None:
        """A line over the limit is skipped up to its end, gets one error, and the next one is read."""
        self.client.feed(b"ping " + b"x" * wire.MAX_LINE)
        self.client.feed(b"x" * wire.MAX_LINE)
        self.assertEqual([], self.client.take())
        self.client.feed(b"x\nping after\n")
        self.assertEqual(
            ["error TOO_LONG the line is over 1048576 bytes and was skipped", "ok after"], self.client.take()
        )

    def test_just_short_enough(self) -> None:
        """A line of just the limit is taken."""
        text = "x" * (wire.MAX_LINE - len("ping \n"))
        self.assertEqual(f"ok {text}", self.client.ask(f"ping {text}"))

    def test_before_auth(self) -> None:
        """Before auth a long line ends the connection."""
        client = self.daemon.connect(REMOTE)
        client.feed(b"auth " + b"x" * wire.MAX_LINE_BEFORE_AUTH + b"\nping\n")
        self.assertEqual(["error TOO_LONG the line is over 4096 bytes and was skipped"], client.take())
        self.assertTrue(client.gone)

    def test_after_auth(self) -> None:
        """After auth lines may be as long as over a Unix socket."""
        client = self.daemon.connect(REMOTE)
        self.assertEqual("ok", client.ask("auth secret"))
        text = "x" * 10_000
        self.assertEqual(f"ok {text}", client.ask(f"ping {text}"))

    def test_with_the_auth(self) -> None:
        """So may those that come in one piece with it, whole or not."""
        client = self.daemon.connect(REMOTE)
        text = "x" * 10_000
        client.feed(f"auth secret\nping {text}\nping {text}".encode())
        self.assertEqual(["ok", f"ok {text}"], client.take())
        client.feed(b"y\n")
        self.assertEqual([f"ok {text}y"], client.take())

    def test_nothing_is_left(self) -> None:
        """
        Of a connection that is gone nothing is left, at once: not when the collector finds it, which seldom looks. It
        may have been a client that was told megabytes and read none.
        """
        for address, requests in (
            (LOCAL, ["ping"]),
            (LOCAL, ['watch {"since": 0}', 'submit {"argv": ["true"]}']),
            (LOCAL, ['submit {"argv": ["true"]}', "follow 1", "wait 1", "show 1"]),
            (REMOTE, ["ping"]),
            (REMOTE, ["auth secret", "watch", "nonsense"]),
        ):
            client = self.daemon.connect(address)
            client.send(*requests)
            session = weakref.ref(client.transport.session)
            gc.disable()
            try:
                client.disconnect()
                self.daemon.advance(10)
                # The doubles' own circles.
                client.transport.unregisterProducer()
                del client.transport.session, client
                self.assertIsNone(session(), requests)
            finally:
                gc.enable()

    def test_gone_before_it_follows(self) -> None:
        """One that is gone when the store has answered follows nothing."""
        self.client.ask('submit {"argv": ["true"]}')
        other = self.daemon.connect()
        other.transport.session.dataReceived(b"follow 1\nwatch\n")
        other.transport.lose()
        self.daemon.settle()
        self.assertEqual(set(), self.daemon.daemon.watchers)

    def test_bad_bytes(self) -> None:
        """What is not UTF-8, or holds a NUL, is an error, and the connection stays in step."""
        self.client.feed(b"ping \xff\n#t run \xc3\nr\0n x\nping\n")
        errors = ["error SYNTAX the line is not UTF-8", "#t error SYNTAX the line is not UTF-8"]
        lines = self.client.take()
        self.assertEqual([*errors, "ok"], [*lines[:2], lines[3]])
        self.assertTrue(lines[2].startswith("error UNKNOWN_VERB"), lines[2])


class Browsers(Sessions):
    """A web page must not be able to run jobs."""

    def test_http(self) -> None:
        """A connection whose first word is an HTTP method is closed, and nothing of what came with it is executed."""
        for method in sorted(wire.HTTP_METHODS):
            for address in (LOCAL, REMOTE):
                client = self.daemon.connect(address)
                client.feed(method + b" / HTTP/1.1\r\nHost: localhost:7733\r\n\r\nauth secret\nrun make\n")
                self.assertEqual(([], True, True), (client.take(), client.transport.aborted, client.gone))
        self.assertEqual(1, self.daemon.scheduler.next_id)

    def test_only_at_the_beginning(self) -> None:
        """Later on it is an unknown verb like any other."""
        self.client.send("ping", "GET /")
        self.assertTrue(self.client.take()[1].startswith("error UNKNOWN_VERB"))

    def test_in_pieces(self) -> None:
        """What comes after it in another piece is not executed either."""
        self.client._session.dataReceived(b"POST / HTTP/1.1\r\n")
        self.client._session.dataReceived(b"\r\nrun make\n")
        self.daemon.settle()
        self.assertEqual(1, self.daemon.scheduler.next_id)


class Authentication(Sessions):
    """Over TCP one must know the token first."""

    def test_before(self) -> None:
        """Before auth only auth, hello, help, ping and quit are answered; every other verb is refused."""
        for verb in sorted(wire.VERBS):
            client = self.daemon.connect(REMOTE)
            client.send("auth secret" if verb == "auth" else verb)
            (answer,) = client.take()
            code = "ok" if verb in ("auth", "hello", "help", "ping", "quit") else "error AUTH"
            self.assertTrue(answer.startswith(code), answer)

    def test_what_a_stranger_learns(self) -> None:
        """Before auth hello tells how to prove oneself, and nothing of the daemon's state."""
        client = self.daemon.connect(REMOTE)
        answer = json.loads(client.ask("hello").removeprefix("ok "))
        self.assertEqual((None, "token", False), (answer["identity"], answer["auth"], answer["local"]))
        self.assertNotIn("cursor", answer)
        self.assertNotIn("state_dir", answer)
        client.ask("auth secret")
        answer = json.loads(client.ask("hello").removeprefix("ok "))
        self.assertEqual(("token", "done", 0), (answer["identity"], answer["auth"], answer["cursor"]))
        self.assertNotIn("state_dir", answer)

    def test_on_a_unix_socket(self) -> None:
        """Over a Unix socket no auth is needed, and saying it does no harm."""
        answer = json.loads(self.client.ask("hello").removeprefix("ok "))
        self.assertEqual(
            ("local", "done", True, "/state"),
            tuple(answer[name] for name in ("identity", "auth", "local", "state_dir")),
        )
        self.assertEqual("ok", self.client.ask("auth whatever"))

    def test_a_wrong_token(self) -> None:
        """A wrong token is answered later and later, then the connection is closed; what came behind it is not read."""
        delays = []
        for _ in range(10):
            client = self.daemon.connect(REMOTE)
            client.send("auth wrong", "auth secret", "run make")
            begun = self.daemon.clock.seconds()
            while not (lines := client.take()):
                self.daemon.advance(0.05)
            self.assertEqual(["error AUTH wrong token"], lines)
            self.assertTrue(client.gone)
            delays.append(self.daemon.clock.seconds() - begun)
        self.assertEqual(sorted(delays), delays)
        self.assertGreater(delays[-1], 10 * delays[0])
        self.assertLess(delays[-1], LONGEST_PENALTY + 0.1)
        self.assertEqual(1, self.daemon.scheduler.next_id)

    def test_others_are_not_punished(self) -> None:
        """A wrong token from one address costs the others nothing, and a right one is forgiven at once."""
        self.daemon.connect(REMOTE).send("auth wrong")
        other = self.daemon.connect(IPv4Address("TCP", "192.0.2.8", 1))
        self.assertEqual("ok", other.ask("auth secret"))
        self.assertEqual("ok", self.daemon.connect(REMOTE).ask("auth secret"))
        self.assertEqual(0.0, self.daemon.factory.access.penalty("192.0.2.7"))

    def test_no_token(self) -> None:
        """Auth without a token says where it is."""
        client = self.daemon.connect(REMOTE)
        self.assertEqual("error AUTH auth takes the token, which is in the daemon's token file", client.ask("auth"))
        self.assertEqual("ok", client.ask("auth secret"))

    def test_no_token_at_all(self) -> None:
        """Where there is no token none is right."""
        access = Access(None)
        self.assertEqual([False, False], [access.check(token, "h") for token in (b"", b"None")])

    def test_memory_of_the_wrong(self) -> None:
        """However many addresses are wrong, what is remembered of them is bounded."""
        access = Access(b"secret")
        for number in range(25_000):
            access.check(b"wrong", str(number))
        self.assertLessEqual(len(access._wrong), 10_001)

    def test_time_to_auth(self) -> None:
        """Who does not prove himself in time is cut off; who does, and who is local, may take his time."""
        slow, quick = self.daemon.connect(REMOTE), self.daemon.connect(REMOTE)
        quick.ask("auth secret")
        slow.ask("ping")
        self.daemon.advance(TIME_TO_AUTH - 0.1)
        self.assertFalse(slow.gone)
        self.daemon.advance(0.2)
        self.assertEqual((True, False, False), (slow.gone, quick.gone, self.client.gone))

    def test_no_timer_is_left(self) -> None:
        """A connection that ends before takes its timer with it."""
        self.daemon.connect(REMOTE).disconnect()
        self.assertEqual([], self.daemon.clock.getDelayedCalls())

    def test_pickles(self) -> None:
        """Pickled calls are accepted from where the operator says."""
        job = 'submit {"pickle": "gASVAgAAAAAAAABLAS4="}'
        near, far = IPv4Address("TCP", "127.0.0.1", 1), REMOTE
        for allowed, address, accepted in (
            ("local", LOCAL, True),
            ("local", near, True),
            ("local", far, False),
            ("all", far, True),
            ("none", LOCAL, False),
        ):
            client = MemoryDaemon(pickle=allowed).connect(address)
            client.ask("auth secret")
            self.assertEqual("ok 1" if accepted else "error DENIED", " ".join(client.ask(job).split()[:2]))

    def test_where_a_peer_is(self) -> None:
        """Loopback addresses of both kinds, and a Unix socket, are this machine."""
        for expected, address in (
            (Peer("", True, "local"), LOCAL),
            (Peer("127.0.0.1", True, None), IPv4Address("TCP", "127.0.0.1", 1)),
            (Peer("::1", True, None), IPv6Address("TCP", "::1", 1)),
            (Peer("192.0.2.7", False, None), REMOTE),
        ):
            self.assertEqual(expected, Peer.at(address))


class Endings(Sessions):
    """How a connection ends."""

    def test_half_close_with_nothing_owed(self) -> None:
        """When the client has closed its sending half, and all is answered, the daemon closes."""
        self.client.send("ping")
        self.client.half_close()
        self.assertEqual((["ok"], True), (self.client.take(), self.client.gone))

    def test_half_close_with_a_job_running(self) -> None:
        """The events that are owed come first."""
        self.client.send("run a", "run b", 'submit {"argv": ["c"], "notify": false}')
        self.client.half_close()
        self.finish(1)
        self.assertFalse(self.client.gone)
        self.finish(2)
        self.assertEqual(
            ["ok 1", "ok 2", "ok 3", f"* 1 1 succeeded {DONE}", f"* 2 2 succeeded {DONE}"], self.client.take()
        )
        self.assertTrue(self.client.gone)
        self.assertFalse(self.client.transport.aborted)

    def test_half_close_while_the_store_is_asked(self) -> None:
        """Replies that wait for the store come first."""
        self.client.send("run a")
        self.finish(1)
        self.client.take()
        asked: list[Any] = []
        self.patch(self.daemon.store, "read", lambda ask, done: asked.append((ask, done)))
        for request in ("show 1", "wait 1"):
            client = self.daemon.connect()
            client.send(request)
            client.half_close()
            self.assertFalse(client.gone)
            while asked:
                ask, done = asked.pop()
                done(ask(self.daemon.store))
                self.daemon.settle()
            self.assertTrue(client.gone)
            self.assertIn("succeeded", client.take()[-1])

    def test_half_close_while_waiting_for_a_group(self) -> None:
        """A group's event is owed like a job's."""
        self.client.send('submit {"argv": ["a"], "group": "g", "notify": false}', 'wait {"group": "g"}')
        self.client.half_close()
        self.assertFalse(self.client.gone)
        self.finish(1)
        self.assertEqual(['* 2 0 group {"group":"g","succeeded":1}'], self.client.take()[2:])
        self.assertTrue(self.client.gone)

    def test_half_close_with_unfinished_line(self) -> None:
        """A line without its end is not executed."""
        self.client.feed(b"run a\nrun b")
        self.client.half_close()
        self.assertEqual((["ok 1"], 2), (self.client.take(), self.daemon.scheduler.next_id))

    def test_half_close_by_one_that_reads_slowly(self) -> None:
        """What gathered while the transport had no room comes too, however long the client takes."""
        self.client.stop_reading()
        self.client.send("ping a", "ping b")
        self.client.half_close()
        self.daemon.advance(10 * TIME_TO_AUTH)
        self.assertFalse(self.client.gone)
        self.client.read_on()
        self.assertEqual((["ok a", "ok b"], True, False), (self.client.take(), self.client.gone, self.aborted()))

    def test_quit_by_one_that_reads_slowly(self) -> None:
        """Quit and all before it are answered also if the transport had no room for the answers."""
        self.client.stop_reading()
        self.client.send("ping a")
        self.client.send("ping b", "quit")
        self.client.read_on()
        self.assertEqual((["ok a", "ok b", "ok"], True), (self.client.take(), self.client.gone))

    def aborted(self) -> bool:
        return self.client.transport.aborted

    def test_quit(self) -> None:
        """Quit is answered, then the connection is closed; nothing behind it is executed, and nothing more is told."""
        self.client.send("run a", "quit", "run b")
        self.assertEqual((["ok 1", "ok"], True), (self.client.take(), self.client.gone))
        self.assertEqual(2, self.daemon.scheduler.next_id)
        self.finish(1)

    def test_nothing_after_quit(self) -> None:
        """Nor is what comes later, while the last replies wait to be kept."""
        store = HeldStore()
        daemon = MemoryDaemon(store)
        client = daemon.connect()
        client.send("run a", "quit")
        client.send("run b")
        store.release()
        daemon.settle()
        self.assertEqual((["ok 1", "ok"], True, 2), (client.take(), client.gone, daemon.scheduler.next_id))

    def test_gone(self) -> None:
        """Of a connection that is gone nothing is left in the daemon."""
        self.client.send("run a", "watch", "follow 1", "wait 1")
        self.client.disconnect()
        daemon = self.daemon.daemon
        self.assertEqual(({}, set(), set()), (daemon.listeners, daemon.watchers, self.daemon.factory.sessions))
        self.finish(1)
        self.assertEqual([], self.daemon.clock.getDelayedCalls())

    def test_gone_while_its_request_asks_the_store(self) -> None:
        """A request that comes back from the store to a connection that is gone asks for nothing any more."""
        store = HeldStore()
        daemon = MemoryDaemon(store)
        client = daemon.connect()
        client.send("run a", 'cancel {"state": "running"}')
        client.disconnect()
        store.release()
        daemon.settle()
        self.assertEqual((1, None), (daemon.scheduler.places.running, daemon.scheduler.jobs[1].ending))

    def test_a_client_that_does_not_take_its_last_lines(self) -> None:
        """A connection that is closed does not wait for ever for the client to read."""
        self.client.stop_reading()
        self.client.send("ping", "quit")
        self.assertFalse(self.client.gone)
        self.daemon.advance(TIME_TO_AUTH)
        self.assertTrue(self.client.gone)

    def test_closing_all(self) -> None:
        """When the daemon stops it hangs up on everybody, and tells when all are gone."""
        other = self.daemon.connect(REMOTE)
        closed = self.daemon.factory.close()
        self.assertNoResult(closed)
        self.daemon.settle()
        self.successResultOf(closed)
        self.assertEqual((True, True), (self.client.gone, other.gone))
        self.successResultOf(self.daemon.factory.close())


class Backpressure(Sessions):
    """What a client does not take is bounded."""

    def test_too_many_requests(self) -> None:
        """Above a number of requests without reply no more are read, until half of them are answered."""
        store = HeldStore()
        daemon = MemoryDaemon(store)
        client = daemon.connect()
        client.send(*["run a"] * (UNANSWERED + 100))
        self.assertEqual((UNANSWERED, False), (daemon.scheduler.next_id - 1, client.transport.reading))
        while store.held:
            store.release()
            daemon.settle()
        self.assertTrue(client.transport.reading)
        replies = [line for line in client.take() if line.startswith("ok")]
        self.assertEqual(UNANSWERED + 100, len(replies))

    def test_replies_that_are_not_read(self) -> None:
        """Requests of a client that does not read its replies are handled up to a limit; the others once it reads."""
        text = "x" * 10_000
        self.client.stop_reading()
        count = 2 * UNREAD_PAUSE // len(text)
        for _ in range(count):
            self.client.send(f"ping {text}")
        self.assertFalse(self.client.transport.reading)
        written = sum(map(len, self.client.transport.writes)) + self.client._session._out_size
        self.assertLess(written, UNREAD_PAUSE + 3 * len(text))
        self.client.read_on()
        self.assertEqual([f"ok {text}"] * count, self.client.take())
        self.assertTrue(self.client.transport.reading)

    def test_events_that_are_not_read(self) -> None:
        """A client that watches and does not read is cut off, with an error that says what to do; others are not."""
        other = self.daemon.connect()
        for client in (self.client, other):
            client.ask("watch")
        self.client.stop_reading()
        line = b"* 1 1 succeeded " + b"x" * 1_000_000 + b"\n"
        for cursor in range(1, UNREAD // len(line) + 3):
            for watcher in list(self.daemon.daemon.watchers):
                watcher.announced(cursor, 1, line)
            self.daemon.daemon.gather([lambda: None])
            self.daemon.settle()
        other.take()
        self.client.read_on()
        lines = self.client.take()
        self.assertEqual(
            "error SLOW this client does not read fast enough; connect again and resume with 'watch'", lines[-1]
        )
        self.assertEqual((True, False), (self.client.gone, other.gone))

    def test_nothing_after_being_cut_off(self) -> None:
        """What would come after that error is not told: something is missing before it."""
        self.client.ask("watch")
        self.client.stop_reading()
        self.patch(self.client.transport.session, "hang_up", lambda: None)
        (watcher,) = self.daemon.daemon.watchers
        line = b"x" * 1_000_000
        for cursor in range(1, UNREAD // len(line) + 4):
            watcher.announced(cursor, 1, b"* %d 1 succeeded %s\n" % (cursor, line))
            self.daemon.daemon.gather([lambda: None])
            self.daemon.settle()
        self.client.read_on()
        self.assertEqual(["*", "error"], [line.split()[0] for line in self.client.take()])

    def test_one_that_reads_slowly(self) -> None:
        """A client that reads slowly, but reads, gets everything."""
        self.client.send(*["run a"] * 50)
        self.client.take()
        self.client.stop_reading()
        for job_id in range(1, 51):
            self.finish(job_id)
            if job_id % 7 == 0:
                self.client.read_on()
                self.client.stop_reading()
        self.client.read_on()
        events = [line.split()[2] for line in self.client.take()]
        self.assertEqual([str(job_id) for job_id in range(1, 51)], events)


class Waits(Sessions):
    """C{wait}, through a session."""

    def test_before_and_after(self) -> None:
        """An event comes for each job named: at once for those that have ended, then for the others."""
        self.client.send('submit [{"argv": ["a"], "notify": false}, {"argv": ["b"], "notify": false}]')
        self.finish(1)
        self.client.take()
        self.client.send("wait 1-2")
        self.assertEqual(["ok 2", f"* 1 1 succeeded {DONE}"], self.client.take())
        self.finish(2)
        self.assertEqual([f"* 2 2 succeeded {DONE}"], self.client.take())
        self.client.send("wait 2,1")
        self.assertEqual(["ok 2", f"* 1 1 succeeded {DONE}", f"* 2 2 succeeded {DONE}"], self.client.take())

    def test_by_filter(self) -> None:
        """A filter stands for the jobs that it fits now, which may be none."""
        self.client.send('submit {"argv": ["a"], "label": "l", "notify": false}')
        self.client.take()
        self.assertEqual("ok 0", self.client.ask('wait {"label": "other"}'))
        self.assertEqual("ok 1", self.client.ask('wait {"label": "l"}'))
        self.finish(1)
        self.assertEqual([f"* 1 1 succeeded {DONE}"], self.client.take())

    def test_a_group_that_has_ended(self) -> None:
        """Of a group that has ended the event comes at once; of one that never was there is none."""
        self.client.send('submit {"argv": ["a"], "group": "g", "notify": false}')
        self.finish(1)
        self.client.take()
        self.client.send('wait {"group": "g"}', 'wait {"group": "x"}')
        event = '* 2 0 group {"group":"g","succeeded":1}'
        lines = self.client.take()
        self.assertEqual({"ok 1", event, "error NO_SUCH_JOB there is no job in group 'x'"}, set(lines))
        self.assertLess(lines.index("ok 1"), lines.index(event))

    def test_a_key_again(self) -> None:
        """The same job under the same key is one job, and everybody who submitted it is told once how it ended."""
        job = 'submit {"argv": ["a"], "key": "k"}'
        other = self.daemon.connect()
        self.assertEqual(["ok 1", "ok 1", "ok 1"], [self.client.ask(job), self.client.ask(job), other.ask(job)])
        self.finish(1)
        event = f"* 1 1 succeeded {DONE}"
        self.assertEqual([[event], [event]], [self.client.take(), other.take()])
        other.send(job)
        self.assertEqual(["ok 1", event], other.take())
        conflict = "error CONFLICT key 'k' belongs to job 1, which is another job"
        self.assertEqual(conflict, other.ask('submit {"argv": ["b"], "key": "k"}'))


def connect_all(daemon: MemoryDaemon, count: int) -> list[MemoryClient]:
    return [daemon.connect() for _ in range(count)]


class ManyClients(SynchronousTestCase):
    """Events go to those who asked for them, and to nobody else."""

    def test_each_its_own(self) -> None:
        """Each of many clients is told of its own jobs only."""
        daemon = MemoryDaemon(pool=FakePool(cpus=1000))
        clients = connect_all(daemon, 50)
        for client in clients:
            client.send("run a", "run b")
        owned = [[int(line.split()[1]) for line in client.take()] for client in clients]
        for job_id in sorted(job_id for ids in owned for job_id in ids):
            daemon.pool.finish(job_id)
        daemon.settle()
        told = [[int(line.split()[2]) for line in client.take()] for client in clients]
        self.assertEqual(owned, told)
