"""Descriptors run out: who is there is served, who comes is told so, and nothing is left over."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from jobd import listening
from tests.daemon import Daemon
from tests.functional.certificates import Authority
from tests.functional.conversation import Fifo, Talk
from tests.reliability.measures import comes_to_rest, descriptors, memory, need_linux, wait_until

if sys.platform != "win32":
    import resource

LIMIT = 192
"""Open files that the daemon of a test may have."""

WORKERS = 2

REFUSAL = "error BUSY there are as many connections as can be served; try again later"


@contextlib.contextmanager
def open_files(limit: int) -> Iterator[None]:
    """This process, and what it starts, may open so many files."""
    assert sys.platform != "win32"
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


class Few(SynchronousTestCase):
    """A daemon that may open few files."""

    def setUp(self) -> None:
        need_linux()
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        (self.folder / "state").mkdir(mode=0o700)

    def begin(self, *options: str, limit: int = LIMIT, **more: Any) -> Daemon:
        daemon = Daemon(self.folder / "state", "--workers", str(WORKERS), *options, **more)
        with open_files(limit):
            daemon.start()
        self.addCleanup(daemon.stop)
        self.daemon = daemon
        self.talk = self.kept(Talk.unix(daemon)) if "listen" not in more else self.kept(self.tls_talk())
        # All workers have begun, with what they need.
        for lane in ("cpu", "cpu", "io"):
            self.talk.run(call="math:sqrt", args=[2], lane=lane)
        self.talk.run(argv=["true"])
        return daemon

    def tls_talk(self) -> Talk:
        raise NotImplementedError

    def kept(self, talk: Talk) -> Talk:
        self.addCleanup(talk.close)
        return talk

    def fill(self) -> list[Talk]:
        """As many clients as there may be, this one with them."""
        most = self.talk.json("stats")["most_connections"]
        clients = [self.kept(Talk.unix(self.daemon)) for _ in range(most - 1)]
        for client in clients:
            client.ok("ping")
        return clients

    def connections(self) -> int:
        count: int = self.talk.json("stats")["connections"]
        return count

    def only_this_one(self) -> None:
        wait_until(lambda: self.connections() == 1, "the others are gone")

    def assert_served(self, *clients: Talk) -> None:
        """Those who are there may do everything."""
        for client in clients:
            self.assertEqual("x", client.ok("ping x"))
        job_id = clients[0].submit(shell="echo hello; exit 3")
        self.assertEqual(3, clients[0].end_of(job_id).json["exit_code"])
        self.assertEqual("hello\n", clients[0].output(job_id))
        self.assertEqual("succeeded", clients[-1].run(call="math:sqrt", args=[4]).state)
        self.assertEqual("failed", clients[-1].state(job_id))


class Refusals(Few):
    """Above a limit that is known."""

    def test_the_limit(self) -> None:
        """It follows from the limit of open files, leaves room for all else, and is told by stats."""
        self.begin()
        stats = self.talk.json("stats")
        expected = LIMIT - listening.SET_ASIDE - listening.FOR_EACH_WORKER * WORKERS
        self.assertEqual(expected, stats["most_connections"])
        self.assertEqual((1, 0), (stats["connections"], stats["turned_away"]))
        self.assertLess(descriptors(self.daemon.pid), LIMIT - expected - 50)

    def test_too_many(self) -> None:
        """
        Above the limit each new connection gets one line that says so, and its end; whoever is there is
        served; the daemon does not spin; as soon as one leaves another may come; in the end nothing is left over.
        """
        self.begin()
        before = descriptors(self.daemon.pid)
        clients = self.fill()
        for count in range(1, 101):
            with Talk.unix(self.daemon) as late:
                self.assertEqual([REFUSAL, ""], [late.line(), late.line()])
            self.assertEqual(count, self.talk.json("stats")["turned_away"])
        self.assert_served(self.talk, *clients)
        comes_to_rest(self.daemon.pid)
        self.assertEqual(1, self.daemon.log().count("no more can be served"))
        clients.pop().close()
        wait_until(lambda: self.connections() == len(clients) + 1, "one has left")
        with Talk.unix(self.daemon) as late:
            self.assert_served(late)
        for client in clients:
            client.close()
        self.only_this_one()
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")

    def test_those_who_do_not_leave(self) -> None:
        """
        Refused ones that keep their end open hold few descriptors, and only for some seconds; meanwhile
        any more are closed without a word.
        """
        self.begin()
        before = descriptors(self.daemon.pid)
        clients = self.fill()
        full = descriptors(self.daemon.pid)
        late = [self.kept(Talk.unix(self.daemon)) for _ in range(200)]
        for talk in late:
            self.assertIn(talk.line(), (REFUSAL, ""))
        self.assertLess(descriptors(self.daemon.pid), full + 60)
        self.assert_served(self.talk, *clients)
        wait_until(lambda: descriptors(self.daemon.pid) <= full, "the refused ones are gone")
        for client in clients:
            client.close()
        self.only_this_one()
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")

    def test_over_tcp(self) -> None:
        """Over TCP too the line arrives, though the client has spoken first and was not heard."""
        self.begin(tcp=True)
        self.fill()
        for _ in range(20):
            with Talk(socket.create_connection(self.daemon.tcp_address)) as late:
                late.send(f"auth {self.daemon.token}", "run true")
                self.assertEqual([REFUSAL, ""], [late.line(), late.line()])
        self.assertEqual(5, self.talk.submit(argv=["true"]))


class Strangers(Few):
    """Over TCP, before they have said who they are."""

    def test_they_cannot_keep_others_out(self) -> None:
        """
        Those who do not say who they are can have half of the connections and no more; who comes by the Unix
        socket does not notice them, and when they have had their time there is room over TCP again.
        """
        self.begin(tcp=True)
        most = self.talk.json("stats")["most_connections"]
        silent = [socket.create_connection(self.daemon.tcp_address) for _ in range(most // 2)]
        for sock in silent:
            self.addCleanup(sock.close)
        wait_until(lambda: self.connections() == 1 + most // 2, "they are there")
        with Talk.tcp(self.daemon) as late:
            self.assertEqual(REFUSAL, late.line())
        clients = [self.kept(Talk.unix(self.daemon)) for _ in range(most - 1 - most // 2)]
        self.assert_served(self.talk, *clients)
        wait_until(lambda: self.connections() == 1 + len(clients), "the silent ones are gone")
        self.assertEqual("succeeded", self.kept(Talk.tcp(self.daemon, self.daemon.token)).run(argv=["true"]).state)


class RefusalsOverTls(Few):
    """The same where a handshake comes before anything is said."""

    def tls_talk(self) -> Talk:
        return Talk.tcp(self.daemon, self.daemon.token, self.context)

    def test_over_tls(self) -> None:
        """The line comes after the handshake."""
        authority = Authority(self.folder)
        certificate, key = authority.issue("localhost")
        self.context = ssl.create_default_context(cafile=authority.ca)
        files = ("--tls-cert", certificate, "--tls-key", key)
        self.begin(*files, listen=["tcp:0:interface=127.0.0.1"], limit=listening.SET_ASIDE + 16)
        before = descriptors(self.daemon.pid)
        most = self.talk.json("stats")["most_connections"]
        self.assertEqual(listening.FEWEST, most)
        clients = [self.kept(self.tls_talk()) for _ in range(most - 1)]
        for _ in range(5):
            with Talk.tcp(self.daemon, tls=self.context) as late:
                self.assertEqual([REFUSAL, ""], [late.line(), late.line()])
        self.assert_served(self.talk, *clients)
        for client in clients:
            client.close()
        self.only_this_one()
        wait_until(lambda: descriptors(self.daemon.pid) <= before, "there are as many descriptors as before")


class NoneLeft(Few):
    """The limit below the limit: no descriptor is left at all."""

    def test_none_left(self) -> None:
        """
        Without a single free descriptor those who are there are served, jobs run and end, new connections are
        closed at once, and the daemon does not spin; with some free again it is as before.
        """
        assert sys.platform == "linux"
        daemon = self.begin()
        told, gate = Fifo(self.folder / "told"), Fifo(self.folder / "gate")
        self.addCleanup(told.close)
        self.addCleanup(gate.close)
        running = self.talk.submit(shell=f"echo x > {told.path}; read x < {gate.path}", cpus=0)
        told.wait()
        before = descriptors(daemon.pid)
        taken = {int(name) for name in os.listdir(f"/proc/{daemon.pid}/fd")}
        free = next(number for number in range(LIMIT) if number not in taken)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (free, LIMIT))
        for _ in range(50):
            with Talk.unix(daemon) as late:
                self.assertEqual("", late.line())
        self.assertEqual("x", self.talk.ok("ping x"))
        self.assertEqual(0, self.talk.run(argv=["true"]).json["exit_code"])
        self.assertEqual("running", self.talk.state(running))
        gate.release()
        self.assertEqual("succeeded", self.talk.end_of(running).state)
        comes_to_rest(daemon.pid)
        self.assertLess(len(daemon.lines), 300)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        with Talk.unix(daemon) as late:
            self.assert_served(late)
        self.only_this_one()
        wait_until(lambda: descriptors(daemon.pid) <= before, "there are as many descriptors as before")


class Idle(Few):
    """Two thousand connections that say nothing."""

    COUNT = 2000

    def test_many_idle(self) -> None:
        """
        Each costs little memory, an active client does not notice them, they cost no processor time, and when
        they have gone nothing is left over.
        """
        assert sys.platform == "linux"
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(self.COUNT, most - 500) if most != resource.RLIM_INFINITY else self.COUNT
        with open_files(count + 400):
            self.begin(limit=count + 400)
            pid = self.daemon.pid
            before, resident = descriptors(pid), memory(pid)
            clients = [self.kept(Talk.unix(self.daemon)) for _ in range(count)]
            wait_until(lambda: self.connections() == count + 1, "all are connected")
            self.assertLess((memory(pid) - resident) / count, 16_384)
            self.assert_served(self.talk)
            comes_to_rest(pid)
            clients[count // 2].ok("ping")
            for client in clients:
                client.close()
            self.only_this_one()
            wait_until(lambda: descriptors(pid) <= before, "there are as many descriptors as before")
            self.assert_served(self.talk)
