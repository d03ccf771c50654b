"""Clients that pipeline without end, read nothing, or vanish: bounded, and others do not notice."""

from __future__ import annotations

import json
import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from jobd import listening, session
from jobd.testing import MemoryDaemon
from tests.daemon import Daemon
from tests.functional.conversation import Event, Fifo, Talk
from tests.reliability.measures import comes_to_rest, descriptors, memory, need_linux, wait_until

MANY = 100_000
"""Submissions that one client pipelines."""

TCP_REPAIR = 19
"""An option of Linux: a socket that has it is closed without a word to the other side."""


class Clients(SynchronousTestCase):
    """A daemon of the test's own, and one client who behaves."""

    def setUp(self) -> None:
        need_linux()
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        (self.folder / "state").mkdir(mode=0o700)
        self.daemon = Daemon(self.folder / "state", "--workers", "2", tcp=True)
        self.addCleanup(self.daemon.stop)
        self.daemon.start()
        self.talk = self.connect()
        for lane in ("cpu", "cpu", "io"):
            self.talk.run(call="math:sqrt", args=[2], lane=lane)
        self.talk.run(argv=["true"])

    def connect(self) -> Talk:
        talk = Talk.unix(self.daemon)
        self.addCleanup(talk.close)
        return talk

    def fifo(self, name: str) -> Fifo:
        fifo = Fifo(self.folder / name)
        self.addCleanup(fifo.close)
        return fifo

    def connections(self) -> int:
        count: int = self.talk.json("stats")["connections"]
        return count


class Pipelining(Clients):
    """One client, without waiting for replies."""

    def test_many_submissions(self) -> None:
        """
        A hundred thousand submissions in one go: another client is answered all the while, each job costs the
        daemon its own small record and nothing more, and every submission has its reply, in order.
        """
        self.talk.ok("pause")
        before = memory(self.daemon.pid)
        loud = self.connect()
        line = b'submit {"argv": ["true"], "notify": false}\n'
        sending = threading.Thread(target=loud.sock.sendall, args=(line * MANY,))
        sending.start()
        self.addCleanup(sending.join)
        first = int(loud.reply().split()[1])
        for _ in range(10):
            self.assertEqual("x", self.talk.ok("ping x"))
        # They were answered in between, not when all was done.
        self.assertLess(self.talk.json("stats")["jobs"]["queued"], MANY)
        for number in range(1, MANY):
            self.assertEqual(f"ok {first + number}", loud.reply())
        self.assertEqual(MANY, self.talk.json("stats")["jobs"]["queued"])
        self.assertLess(memory(self.daemon.pid, "VmHWM") - before, MANY * 1000)

    test_many_submissions.timeout = 300  # type: ignore[attr-defined]

    def test_replies_that_are_not_read(self) -> None:
        """
        From a client that does not read its replies no more is read after a while: what the daemon holds for
        it is bounded. When it reads again every request is answered.
        """
        before = memory(self.daemon.pid)
        loud = self.connect()
        line = b"ping " + b"x" * 10_000 + b"\n"
        sent = []

        def send() -> None:
            for number in range(10_000):
                loud.sock.sendall(line)
                sent.append(number)

        sending = threading.Thread(target=send)
        sending.start()
        self.addCleanup(sending.join)
        count = -1
        while count != len(sent):
            count = len(sent)
            for _ in range(200):
                self.talk.ok("ping")
        self.assertLess(count, 2000)
        self.assertLess(memory(self.daemon.pid, "VmHWM") - before, 16 * 1024 * 1024)
        comes_to_rest(self.daemon.pid)
        for _ in range(10_000):
            self.assertEqual(len(line) - 3, len(loud.reply()))


class Turns(SynchronousTestCase):
    """Whose turn it is, counted."""

    def test_in_turn(self) -> None:
        """Between two requests of another client no more than so many of one that pipelines are handled."""
        daemon = MemoryDaemon()
        loud, other = daemon.connect(), daemon.connect()
        loud._session.dataReceived(b'submit {"argv": ["true"]}\n' * 1000)
        handled = [daemon.scheduler.next_id - 1]
        for _ in range(3):
            other._session.dataReceived(b"ping\n")
            answered = False
            while not answered:
                daemon._turns.popleft()()
                answered = bool(other.take())
            handled.append(daemon.scheduler.next_id - 1)
        steps = [after - before for before, after in zip([0, *handled], handled, strict=False)]
        self.assertEqual(session.IN_A_ROW, steps[0])
        self.assertLessEqual(max(steps), 2 * session.IN_A_ROW)
        daemon.settle()
        self.assertEqual(1000, len(loud.take()))


class Subscribers(Clients):
    """Clients that watch, and do not read."""

    def test_one_that_never_reads(self) -> None:
        """
        A subscriber that never reads is cut off with C{SLOW}, once more waits for it than it may; others are
        not, the daemon's memory stays bounded, and from its cursor on it misses nothing and gets nothing twice.
        """
        deaf, reading = self.connect(), self.connect()
        start = int(deaf.ok("watch"))
        reading.ok("watch")
        before = memory(self.daemon.pid)
        job = {"call": "operator:mul", "args": ["x", 500_000], "notify": False}
        count, cursors = 200, []
        for _ in range(count // 10):
            # So few at a time that one that reads is never too slow.
            self.talk.ok("submit " + json.dumps([job] * 10))
            cursors += [reading.event().cursor for _ in range(10)]
        wait_until(lambda: self.connections() == 2, "the subscriber is cut off")
        # 100 MB of events have passed; what passes on to the store and to others takes about as much by itself.
        self.assertLess(memory(self.daemon.pid, "VmHWM") - before, 160_000_000)
        seen: list[str] = []
        while (line := deaf.line()) and not line.startswith("error"):
            seen.append(line)
        got = [int(one.split()[1]) for one in seen]
        self.assertLess(len(got), count)
        again = self.connect()
        again.ok(f'watch {{"since": {got[-1] if got else start}}}')
        got += [again.event().cursor for _ in range(count - len(got))]
        self.assertEqual(cursors, got)

    def test_told_why(self) -> None:
        """One that reads on in time finds out why."""
        deaf = self.connect()
        deaf.ok("watch")
        job = {"call": "operator:mul", "args": ["x", 500_000], "notify": False}
        self.talk.ok("submit " + json.dumps([job] * 40))
        wait_until(lambda: self.talk.json("stats")["ended"]["succeeded"] == 44, "all have ended")
        lines = list(iter(deaf.line, ""))
        self.assertEqual(
            "error SLOW this client does not read fast enough; connect again and resume with 'watch'", lines[-1]
        )

    def test_all_at_once(self) -> None:
        """
        Who reads, however slowly, gets all that it asked for, if that is more than may wait for it: old events,
        the ends of many jobs, and their output.
        """
        job = {"call": "operator:mul", "args": ["x", 500_000], "notify": False}
        self.talk.ok("submit " + json.dumps([job] * 40))
        self.talk.ok("wait 5-44")
        for job_id in range(5, 45):
            self.talk.end_of(job_id)
        writer = {"shell": "head -c 1000000 /dev/zero", "notify": False, "cpus": 0}
        self.talk.ok("submit " + json.dumps([writer] * 20))
        self.talk.ok("wait 45-64")
        self.talk.events(20)
        before = memory(self.daemon.pid)
        slow = [self.connect() for _ in range(3)]
        slow[0].send('watch {"since": 4}')
        slow[1].send("wait 5-44")
        slow[2].send("follow 45-64")
        for talk in slow:
            talk.reply()
        events = [slow[0].events(60), slow[1].events(40), self.followed(slow[2], 20)]
        self.assertEqual(list(range(5, 45)), sorted(event.job_id for event in events[1]))
        self.assertEqual(list(range(5, 65)), [event.cursor for event in events[0]])
        self.assertEqual(20 * 1_000_000, sum(len(event.json["data"]) for event in events[2] if not event.cursor))
        self.assertLess(memory(self.daemon.pid, "VmHWM") - before, 80_000_000)

    def followed(self, talk: Talk, ends: int) -> list[Event]:
        events: list[Event] = []
        while ends:
            events.append(talk.event())
            ends -= bool(events[-1].cursor)
        return events


class Vanished(Clients):
    """A client that has gone without a word."""

    def vanish(self, talk: Talk) -> None:
        """Close it so that nothing of that leaves this machine's network code."""
        assert sys.platform == "linux"
        try:
            # What has come is confirmed at once: nothing is under way.
            talk.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            talk.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except PermissionError:
            raise SkipTest("needs an option of Linux that only root may use") from None
        talk.close()

    def test_its_job_runs_on(self) -> None:
        """Its job runs on, and is there when it has ended; the connection costs nothing and then is dropped."""
        before = descriptors(self.daemon.pid)
        told, gate = self.fifo("told"), self.fifo("gate")
        client = Talk.tcp(self.daemon, self.daemon.token)
        self.addCleanup(client.close)
        job_id = client.submit(shell=f"echo x > {told.path}; read x < {gate.path}; echo done", cpus=0)
        told.wait()
        self.vanish(client)
        comes_to_rest(self.daemon.pid)
        self.assertEqual((2, "running"), (self.connections(), self.talk.state(job_id)))
        gate.release()
        self.talk.ok(f"wait {job_id}")
        self.assertEqual("succeeded", self.talk.end_of(job_id).state)
        self.assertEqual("done\n", self.talk.output(job_id))
        wait_until(lambda: self.connections() == 1, "it is dropped")
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")

    def test_in_all_states(self) -> None:
        """Gone while it submits, watches, follows, waits or is in a line: nothing is left of it, and nothing spins."""
        before = descriptors(self.daemon.pid)
        gate = self.fifo("gate")
        job_id = self.talk.submit(shell=f"read x < {gate.path}", cpus=0)
        for request in (
            b'watch {"since": 0}\n',
            b"follow %d\n" % job_id,
            b"wait %d\n" % job_id,
            b'submit {"argv": ["true"]}\n' * 500,
            b"ping " + b"x" * 1000,
        ):
            for reset in (False, True):
                with Talk.unix(self.daemon) as talk:
                    if reset:
                        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    talk.sock.sendall(request)
                    if request.endswith(b"\n"):
                        talk.sock.recv(1)
        wait_until(lambda: self.connections() == 1, "they are gone")
        comes_to_rest(self.daemon.pid)
        gate.release()
        self.assertEqual("succeeded", self.talk.end_of(job_id).state)
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")


class Told(Protocol):
    """Tells of its beginning and its end."""

    def __init__(self) -> None:
        self.made: Deferred[socket.socket] = Deferred()
        self.lost: Deferred[object] = Deferred()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.made.callback(transport.getHandle())

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost.callback(None)


class Noticed(TestCase):
    """Listening, and a client over TCP."""

    def listen(self) -> tuple[Told, socket.socket]:
        from twisted.internet import reactor

        ((description, endpoint),) = listening.parse_endpoints(["tcp:0:interface=127.0.0.1"], reactor)
        told = Told()
        port: Any = listening.listen(description, endpoint, Factory.forProtocol(lambda: told), None)
        self.addCleanup(port.stopListening)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(client.close)
        return told, client

    async def test_asked_for(self) -> None:
        """The system is told to look after every connection that is accepted, at short intervals."""
        told, client = self.listen()
        handle = await told.made
        self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        if sys.platform == "linux":
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            found = [handle.getsockopt(socket.IPPROTO_TCP, name) for name in names]
            self.assertEqual([60, 15, 4, 120_000], found)
        client.close()
        await told.lost

    async def test_a_silent_one(self) -> None:
        """A connection without a client is noticed though nothing is said on it from either side."""
        need_linux()
        self.patch(listening, "IDLE", 1)
        self.patch(listening, "BETWEEN", 1)
        told, client = self.listen()
        await told.made
        try:
            client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except PermissionError:
            raise SkipTest("needs an option of Linux that only root may use") from None
        client.close()
        await told.lost
