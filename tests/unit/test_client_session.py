"""The session without a thread, which jobctl uses, against a daemon that does what the test says."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from jobd.client.core import Event, Forgotten, Reply, Request
from jobd.client.reading import follow, open_stream
from jobd.client.session import Session
from jobd.client.streams import Follow
from jobd.client.url import parse
from jobd.errors import ConnectionProblem, NoSuchJob, WaitTimeout
from tests.unit.scripted import Conversation, Peer, ScriptedDaemon


class Sessions(TestCase):
    """One thread, one connection."""

    def talk(self, *conversations: Conversation, timeout: float = 10.0, patience: float = 10.0) -> Session:
        daemon = ScriptedDaemon(*conversations)
        daemon.__enter__()
        self.addCleanup(daemon.__exit__, None, None, None)
        session = Session(parse(daemon.url), timeout=timeout, patience=patience).open()
        self.addCleanup(session.close)
        return session

    def test_events_are_kept(self) -> None:
        """What comes while a reply is waited for is there afterwards, in its order."""

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1-2", "* 1 2 succeeded {}")
            peer.expect("ping", "* 2 1 failed {}", "ok")
            peer.read()

        session = self.talk(script)
        session.ask(Request("submit", "[]", notified=[True, True]))
        session.ask(Request("ping"))
        self.assertEqual([2, 1], [item.job for item in session.items(0) if isinstance(item, Event)])

    def test_errors(self) -> None:
        """An error reply is raised; the session goes on."""

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect("show 9", "error NO_SUCH_JOB there is no job 9")
            peer.expect("ping", "ok x")
            peer.read()

        session = self.talk(script)
        self.assertRaises(NoSuchJob, session.ask, Request("show", "9"))
        self.assertEqual("x", session.ask(Request("ping")))

    def test_late_reply(self) -> None:
        """A reply that does not come in time is a WaitTimeout; coming later, it is not taken for another's."""

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect("ping a")
            peer.expect("ping b", "ok a", "ok b")
            peer.read()

        session = self.talk(script)
        self.assertRaises(WaitTimeout, session.ask, Request("ping", "a"), 0.05)
        self.assertEqual("b", session.ask(Request("ping", "b")))
        late = [item.text for item in session.items(0) if isinstance(item, Reply)]
        self.assertEqual(["a"], late)

    def test_reconnecting(self) -> None:
        """A lost connection is made again, and what was asked for is asked for again."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("wait 1-3", "ok 3", "* 1 2 succeeded {}")
            peer.expect("ping")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("wait 1,3", "error NO_SUCH_JOB there is no job 1")
            peer.expect("ping", "ok x")
            peer.expect("wait 1", "error NO_SUCH_JOB there is no job 1")
            peer.expect("wait 3", "ok 1", "* 2 3 succeeded {}")
            peer.read()

        session = self.talk(first, second)
        session.ask(Request("wait", "1-3", waits=(1, 2, 3)))
        self.assertEqual("x", session.ask(Request("ping")))
        told = (item.job for item in session.items(10) if isinstance(item, Event | Forgotten))
        self.assertEqual([2, 1, 3], [next(told) for _ in range(3)])

    def test_not_twice(self) -> None:
        """What must not be done twice is not sent twice."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("retry 5")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("ping", "ok x")
            peer.read()

        session = self.talk(first, second)
        error = self.assertRaises(ConnectionProblem, session.ask, Request("retry", "5", again=False))
        self.assertIn("may or may not", str(error))
        self.assertEqual("x", session.ask(Request("ping")))

    def test_without_patience(self) -> None:
        """Without patience a lost connection is the end, with what the daemon said last."""

        def script(peer: Peer) -> None:
            peer.hello()
            peer.expect("ping", "ok", "error SLOW this client does not read")

        session = self.talk(script, patience=0)
        session.ask(Request("ping"))
        error = self.assertRaises(ConnectionProblem, session.ask, Request("ping"))
        self.assertIn("does not read", str(error))

    def test_it_does_not_come_back(self) -> None:
        """A daemon that is not there again in time is given up."""
        with ScriptedDaemon(lambda peer: None) as daemon:
            session = Session(parse(daemon.url), timeout=5, patience=0.1).open()
            self.addCleanup(session.close)
        error = self.assertRaises(ConnectionProblem, session.ask, Request("ping"))
        self.assertIn("did not come back", str(error))

    def test_no_longer_than_asked(self) -> None:
        """A limit of time holds also while a lost daemon is looked for."""
        with ScriptedDaemon(Peer.hello) as daemon:
            session = Session(parse(daemon.url), timeout=5, patience=600).open()
            self.addCleanup(session.close)
            session.greet()
        session.core.outstanding.add(1)
        self.assertEqual([], list(session.items(0.2)))
        self.assertRaises(WaitTimeout, session.ask, Request("ping"), 0.2)

    def test_refused_stream(self) -> None:
        """A stream that is refused is an error at once, and one that is refused later ends there."""

        def refusing(peer: Peer) -> None:
            peer.hello()
            peer.expect("follow 9", "error NO_SUCH_JOB there is no job 9")
            peer.expect("ping", "ok")

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("follow 1-2", "ok 2")
            peer.expect("ping", "ok", "* 1 1 succeeded {}")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("follow 2", "error NO_SUCH_JOB there is no job 2")
            peer.read()

        with ScriptedDaemon(refusing, first, second) as daemon:
            self.assertRaises(NoSuchJob, open_stream, Session(parse(daemon.url), stream=Follow([9])))
            stream = Follow([1, 2])
            told = follow(open_stream(Session(parse(daemon.url), stream=stream)), stream)
            next(told)
            self.assertRaises(NoSuchJob, next, told)
