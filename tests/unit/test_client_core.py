"""The clients' core, fed with bytes."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from jobd.client.core import MAX_LINE, Core, Event, Forgotten, Greeting, Item, Reply, Request
from jobd.client.ids import CHUNK, chunks, format_ids, parse_ids
from jobd.client.streams import Follow, Watch
from jobd.errors import BadValue, Busy, ConnectionProblem, NoSuchJob, NotAuthenticated, Slow, TooLong


def online(**options: object) -> Core:
    core = Core(**options)  # type: ignore[arg-type]
    greet(core)
    return core


def greet(core: Core, instance: str = "5d0c9a7b3e5d2c48") -> list[Item]:
    """A fresh connection, up to the daemon's greeting."""
    core.connected()
    lines = core.outgoing().decode().splitlines()
    assert lines[-1] == "hello", lines
    return core.receive(b"ok\n" * (len(lines) - 1) + b'ok {"local": true, "instance": "%s"}\n' % instance.encode())


def submission(*, key: bool = True, jobs: int = 1) -> Request:
    return Request("submit", "{}", again=key, notified=[True] * jobs)


def texts(items: list[Item]) -> list[object]:
    return [item.text if isinstance(item, Reply) else item[:3] for item in items]


class Lines(TestCase):
    """Bytes to replies and events."""

    def test_replies_answer_requests_in_order(self) -> None:
        """The n-th reply belongs to the n-th request, with events in between."""
        core = online()
        first, second = Request("ping", "a"), Request("ping", "b")
        core.send(first)
        core.send(second)
        self.assertEqual(b"ping a\nping b\n", core.outgoing())
        self.assertEqual(b"", core.outgoing())
        items = core.receive(b'ok a\n* 0 5 progress {"done": 1}\nok b\n')
        self.assertEqual([Reply(first, "a"), Event(0, 5, "progress", {"done": 1}), Reply(second, "b")], items)

    def test_any_cut(self) -> None:
        """It does not matter where the bytes are cut."""
        data = b'ok 1\n* 7 1 failed {"exit_code": 3, "error": "caf\xc3\xa9"}\n'
        for cut in range(1, len(data)):
            core = online()
            core.send(submission())
            items = core.receive(data[:cut]) + core.receive(data[cut:])
            self.assertEqual(["1", (7, 1, "failed")], texts(items))

    def test_errors_keep_step(self) -> None:
        """An error is the reply to its request and to no other."""
        core = online()
        core.send(Request("show", "9"))
        core.send(Request("ping"))
        bad, good = core.receive(b"error NO_SUCH_JOB there is no job 9\nok\n")
        assert isinstance(bad, Reply) and isinstance(good, Reply)
        self.assertIsInstance(bad.error, NoSuchJob)
        self.assertEqual("there is no job 9", str(bad.error))
        self.assertIsNone(good.error)

    def test_garbage(self) -> None:
        """What is not the protocol is said to be another program's, also before its first line has ended."""
        for data in (b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0-x\r\n", b"220 mail", b"\x16\x03\x01", b"oh\n"):
            core = online()
            core.send(Request("hello"))
            error = self.assertRaises(ConnectionProblem, core.receive, data)
            self.assertIn("is not jobd", str(error))

    def test_bad_events(self) -> None:
        """Broken events and replies nobody asked for are garbage, too."""
        deep = b"[" * 100_000
        for data in (
            b"* x 1 failed {}\n",
            b"* 1 1\n",
            b"* 1 1 failed {\n",
            b"ok 5\n",
            b"* 1 1 \xff {}\n",
            b"* 1 1 x " + deep,
        ):
            self.assertRaises(ConnectionProblem, online().receive, data + b"\n")

    def test_odd_output(self) -> None:
        """So is output of a wrong type."""
        for data in (b'{"from": []}', b'{"from": 1e999}', b'{"data": 5, "encoding": "base64"}', b'{"data": "\\ud800"}'):
            core = online(stream=Follow([1]))
            self.assertRaises(ConnectionProblem, core.receive, b"* 0 1 output " + data + b"\n")

    def test_very_many_ids(self) -> None:
        """A reply with more ids than anybody can ask for does not fill the memory."""
        for text in (b"1-99999999999999", b"1-9999999999999999999999999", b"1-900000,1-900000", b"3-1"):
            core = online()
            core.send(Request("submit", notified=[True]))
            self.assertRaises(ConnectionProblem, core.receive, b"ok " + text + b"\n")

    def test_wrong_count_of_ids(self) -> None:
        """A submission that is answered by another number of ids is garbage."""
        core = online()
        core.send(submission(jobs=2))
        self.assertRaises(ConnectionProblem, core.receive, b"ok 17\n")

    def test_farewell(self) -> None:
        """An error without a request is the reason for what comes next: the end."""
        core = online()
        self.assertEqual([], core.receive(b"error SLOW this client does not read\n"))
        self.assertIsInstance(core.reason, Slow)

    def test_farewell_is_no_reply(self) -> None:
        """It is so also while requests are pending: they are repeated, and not taken for refused."""
        core = online()
        request = submission()
        core.send(request)
        self.assertEqual([], core.receive(b"error SLOW this client does not read\n"))
        self.assertIsInstance(core.reason, Slow)
        core.disconnected()
        greet(core)
        self.assertEqual(b"submit {}\n", core.outgoing())

    def test_requests_are_one_line(self) -> None:
        """A request with a line break, without valid Unicode, or over the limit is refused before it is sent."""
        self.assertRaises(BadValue, Request, "pause", "a\nping")
        self.assertRaises(BadValue, Request, "pause", "\udcff")
        Request("ping", "x" * (MAX_LINE - 6))
        self.assertRaises(TooLong, Request, "ping", "x" * (MAX_LINE - 5))


class Finishes(TestCase):
    """Each finish is told once for each time somebody asked."""

    def test_submitted(self) -> None:
        """A submitted job is outstanding until its finish, and told once."""
        core = online()
        core.send(submission(jobs=3))
        core.receive(b"ok 4,8-9\n")
        self.assertEqual({4, 8, 9}, core.outstanding)
        items = core.receive(b"* 1 8 succeeded {}\n* 1 8 succeeded {}\n* 2 77 failed {}\n")
        self.assertEqual([(1, 8, "succeeded")], texts(items))
        self.assertEqual({4, 9}, core.outstanding)
        self.assertEqual(2, core.cursor)

    def test_not_notified(self) -> None:
        """A job that is not to announce its finish is not outstanding."""
        core = online()
        core.send(Request("submit", "[]", notified=[True, False]))
        core.receive(b"ok 1-2\n")
        self.assertEqual({1}, core.outstanding)

    def test_refused_wait(self) -> None:
        """A wait that is refused leaves nothing outstanding."""
        core = online()
        core.send(Request("wait", "5", waits=(5,)))
        core.receive(b"error NO_SUCH_JOB no\n")
        self.assertEqual(set(), core.outstanding)
        self.assertFalse(core.busy)


class Resuming(TestCase):
    """What a fresh connection is asked for."""

    def test_outstanding_jobs_are_waited_for(self) -> None:
        """All outstanding jobs are waited for in one request, and their finish is told once."""
        core = online()
        core.send(submission(jobs=4))
        core.outgoing()
        core.receive(b"ok 5-8\n* 1 6 succeeded {}\n")
        self.assertEqual([], core.disconnected())
        greet(core)
        self.assertEqual(b"wait 5,7-8\n", core.outgoing())
        items = core.receive(b"ok 3\n* 1 6 succeeded {}\n* 2 5 succeeded {}\n* 3 7 failed {}\n")
        self.assertEqual([(2, 5, "succeeded"), (3, 7, "failed")], texts(items))

    def test_left_out_of_a_range(self) -> None:
        """A job in the middle that is no longer kept is found out: nobody waits for it for ever."""
        for again in (False, True):
            core = online()
            if again:
                core.send(submission(jobs=3))
                core.outgoing()
                core.receive(b"ok 1-3\n")
                core.disconnected()
                greet(core)
            else:
                core.send(Request("wait", "1-3", waits=(1, 2, 3)))
            self.assertEqual(b"wait 1-3\n", core.outgoing())
            core.receive(b"ok 2\n* 1 1 succeeded {}\n")
            self.assertEqual(b"wait 1\nwait 2\nwait 3\n", core.outgoing())
            items = core.receive(b"ok 1\nerror NO_SUCH_JOB there is no job 2\nok 1\n* 2 3 succeeded {}\n")
            self.assertEqual([2], [item.job for item in items if isinstance(item, Forgotten)])
            self.assertEqual(set(), {2, 3} & core.outstanding)

    def test_keyed_submission_is_repeated(self) -> None:
        """A submission without a reply is sent again if that does no harm, else handed back."""
        core = online()
        safe, unsafe = submission(), submission(key=False)
        core.send(safe)
        core.send(unsafe)
        core.outgoing()
        self.assertEqual([unsafe], core.disconnected())
        greet(core)
        self.assertEqual(b"submit {}\n", core.outgoing())
        self.assertEqual([Reply(safe, "3")], core.receive(b"ok 3\n"))

    def test_not_yet_sent(self) -> None:
        """What is asked for between two connections is sent on the next, safe to repeat or not."""
        core = Core()
        core.send(submission(key=False))
        greet(core)
        self.assertEqual(b"submit {}\n", core.outgoing())

    def test_half_a_line_is_forgotten(self) -> None:
        """The beginning of a line that never ended is not put before the next connection's first."""
        core = online()
        core.send(Request("ping", "1"))
        core.receive(b"ok a lot of te")
        core.disconnected()
        greet(core)
        self.assertEqual(["1"], texts(core.receive(b"ok 1\n")))

    def test_repeated_wait_is_asked_once(self) -> None:
        """A wait without a reply is repeated, and its jobs are not asked for a second time."""
        core = online()
        core.send(Request("wait", "5", waits=(5,)))
        core.disconnected()
        greet(core)
        self.assertEqual(b"wait 5\n", core.outgoing())

    def test_one_forgotten_job(self) -> None:
        """One job that is no longer kept does not spoil the wait for the others."""
        core = online()
        core.send(submission(jobs=2))
        core.receive(b"ok 5-6\n")
        core.disconnected()
        greet(core)
        core.outgoing()
        self.assertEqual([], core.receive(b"error NO_SUCH_JOB there is no job 5\n"))
        self.assertEqual(b"wait 5\nwait 6\n", core.outgoing())
        gone, event = core.receive(b"error NO_SUCH_JOB there is no job 5\nok 1\n* 9 6 succeeded {}\n")
        assert isinstance(gone, Forgotten)
        self.assertEqual(5, gone.job)
        self.assertIsInstance(gone.error, NoSuchJob)
        self.assertEqual((9, 6, "succeeded"), event[:3])

    def test_many_outstanding(self) -> None:
        """However many are outstanding, every request fits into a line."""
        core = online()
        core.outstanding = set(range(10**12, 10**12 + 4 * CHUNK, 2))
        core.disconnected()
        greet(core)
        lines = core.outgoing().splitlines(keepends=True)
        self.assertEqual(2, len(lines))
        self.assertLess(max(map(len, lines)), MAX_LINE)

    def test_abandon(self) -> None:
        """Giving up returns every request that will get no reply."""
        core = online()
        first, second = Request("ping"), submission(key=False)
        core.send(first)
        core.send(second)
        self.assertEqual({first, second}, set(core.abandon()))
        self.assertFalse(core.busy)


class Instances(TestCase):
    """Ids and cursors mean something to one instance of the daemon only."""

    def test_nothing_before_the_greeting(self) -> None:
        """Nothing is asked for before the daemon has said who it is."""
        core = online()
        core.send(Request("wait", "5", waits=(5,)))
        core.outgoing()
        core.disconnected()
        core.connected()
        core.send(Request("show", "5"))
        self.assertEqual(b"hello\n", core.outgoing())

    def test_the_same(self) -> None:
        """The same instance, or one that does not say, is asked for all that is open."""
        core = online()
        core.send(Request("wait", "5", waits=(5,)))
        core.receive(b"ok 1\n")
        for greeting in (b'ok {"instance": "5d0c9a7b3e5d2c48"}\n', b"ok {}\n"):
            core.disconnected()
            core.connected()
            core.outgoing()
            self.assertEqual([Greeting(False)], core.receive(greeting))
            self.assertEqual(b"wait 5\n", core.outgoing())

    def test_another(self) -> None:
        """Another instance is asked for nothing of the old one's: whoever waits or has no reply yet is told so."""
        core = online()
        wait, keyed = Request("wait", "5", waits=(5,)), submission()
        core.send(submission())
        core.receive(b"ok 4\n")
        core.send(wait)
        core.send(keyed)
        core.disconnected()
        greeting, *items = greet(core, "another")
        self.assertEqual(Greeting(True, anew=True), greeting)
        self.assertEqual([4, 5], [item.job for item in items if isinstance(item, Forgotten)])
        replies = [item for item in items if isinstance(item, Reply)]
        self.assertEqual([wait, keyed], [reply.request for reply in replies])
        for error in [item.error for item in items if isinstance(item, Forgotten | Reply)]:
            self.assertIsInstance(error, ConnectionProblem)
            self.assertIn("another instance", str(error))
        self.assertEqual(b"", core.outgoing())
        self.assertFalse(core.busy)
        self.assertEqual([], core.receive(b"* 1 4 succeeded {}\n"))

    def test_streams(self) -> None:
        """A stream of the old instance's events is at its end."""
        for stream in (Watch(3), Follow([1])):
            core = online(stream=stream)
            core.receive(b"ok 3\n")
            core.disconnected()
            self.assertRaises(ConnectionProblem, greet, core, "another")


class Authentication(TestCase):
    """The token comes first on every connection."""

    def test_first_line(self) -> None:
        """The token is sent before anything else and its reply is not the owner's business."""
        core = Core(token="secret")
        core.send(Request("ping", "x"))
        for _ in range(2):
            core.connected()
            self.assertEqual(b"auth secret\nhello\n", core.outgoing())
            core.disconnected()
        core.connected()
        core.outgoing()
        self.assertEqual([Greeting(False)], core.receive(b"ok\nok {}\n"))
        self.assertEqual(b"ping x\n", core.outgoing())

    def test_wrong(self) -> None:
        """A wrong token is the end, not the reply to some request."""
        core = Core(token="secret")
        core.connected()
        self.assertRaises(NotAuthenticated, core.receive, b"error AUTH wrong token\n")

    def test_wanted(self) -> None:
        """A daemon that wants a token from one who has none is an error that says how to give it."""
        core = Core()
        core.connected()
        error = self.assertRaises(NotAuthenticated, core.receive, b'ok {"auth": "token"}\n')
        self.assertIn("JOBD_TOKEN", str(error))

    def test_no_room(self) -> None:
        """A daemon that has no room is no end: it says why, hangs up, and may have room later."""
        core = Core(token="secret")
        core.connected()
        self.assertEqual([], core.receive(b"error BUSY as many connections as there may be\n"))
        self.assertIsInstance(core.reason, Busy)
        self.assertTrue(core.owed)


class Watching(TestCase):
    """A watch goes on from its cursor."""

    def test_from_now_on(self) -> None:
        """Without a cursor it begins where the daemon says, and goes on there on the next connection."""
        core = online(stream=Watch())
        self.assertEqual(b"watch {}\n", core.outgoing())
        core.receive(b"ok 40\n")
        core.disconnected()
        greet(core)
        self.assertEqual(b'watch {"since": 40}\n', core.outgoing())

    def test_nothing_twice(self) -> None:
        """Events up to the cursor are dropped; those without a cursor are not."""
        core = online(stream=Watch(10, progress=True))
        self.assertEqual(b'watch {"since": 10, "progress": true}\n', core.outgoing())
        data = b"ok 12\n* 10 1 failed {}\n* 11 2 failed {}\n* 0 3 progress {}\n* 12 4 lost {}\n* 12 4 lost {}\n"
        told = [item[:2] for item in core.receive(data) if isinstance(item, Event)]
        self.assertEqual([(11, 2), (0, 3), (12, 4)], told)


class Following(TestCase):
    """A follow goes on where each stream was."""

    def test_the_next_byte(self) -> None:
        """On a fresh connection it asks again from the earlier stream's place and drops what was seen."""
        stream = Follow([1, 2])
        core = online(stream=stream)
        self.assertEqual(b'follow 1-2 {"stream": "both", "from": 0}\n', core.outgoing())
        core.receive(b'ok 2\n* 0 1 output {"stream": "stdout", "from": 0, "data": "hello"}\n')
        core.receive(b'* 0 1 output {"stream": "stderr", "from": 0, "data": "oh"}\n')
        core.disconnected()
        greet(core)
        self.assertEqual(
            b'follow 2 {"stream": "both", "from": 0}\nfollow 1 {"stream": "both", "from": 2}\n', core.outgoing()
        )
        items = core.receive(
            b'ok 1\nok 1\n* 0 1 output {"stream": "stdout", "from": 2, "data": "l"}\n'
            b'* 0 1 output {"stream": "stdout", "from": 3, "data": "lo, you"}\n'
            b'* 0 1 output {"stream": "stderr", "from": 2, "data": "/w==", "encoding": "base64"}\n'
        )
        told = [item.data for item in items if isinstance(item, Event)]
        self.assertEqual(
            [
                {"stream": "stdout", "from": 5, "data": b", you"},
                {"stream": "stderr", "from": 2, "data": b"\xff"},
            ],
            told,
        )

    def test_finished_jobs_are_not_asked_for(self) -> None:
        """A job whose finish was told is not followed again."""
        core = online(stream=Follow([1, 2], stream="stdout", start=-5))
        core.receive(b"ok 2\n* 3 1 succeeded {}\n")
        self.assertEqual([], core.receive(b"* 3 1 succeeded {}\n"))
        core.disconnected()
        core.outgoing()
        greet(core)
        self.assertEqual(b'follow 2 {"stream": "stdout", "from": -5}\n', core.outgoing())

    def test_a_silent_stream(self) -> None:
        """A stream that has shown nothing was empty at a start from the end, so it is asked for from 0."""
        core = online(stream=Follow([1], start=-5))
        core.receive(b'ok 1\n* 0 1 output {"stream": "stdout", "from": 90, "data": "x"}\n')
        core.disconnected()
        core.outgoing()
        greet(core)
        self.assertEqual(b'follow 1 {"stream": "both", "from": 0}\n', core.outgoing())


class Ids(TestCase):
    """Lists of ids as text."""

    def test_both_ways(self) -> None:
        """Neighbours are drawn together, and the order is kept."""
        for text, ids in (("17", [17]), ("18-19", [18, 19]), ("5,18-20,7", [5, 18, 19, 20, 7])):
            self.assertEqual(ids, parse_ids(text))
            self.assertEqual(text, format_ids(ids))

    def test_chunks(self) -> None:
        """Nothing is left out between two parts."""
        ids = list(range(2 * CHUNK + 1))
        self.assertEqual(ids, [job for part in chunks(ids) for job in part])

    def test_not_ids(self) -> None:
        """Anything else is a ValueError."""
        for text in ("", "a", "1-", "1,,2"):
            self.assertRaises(ValueError, parse_ids, text)
