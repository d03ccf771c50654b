"""The protocol is abused, on every kind of listener: nothing runs that should not, and nobody else notices."""

from __future__ import annotations

import atexit
import json
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from jobd import wire
from jobd.session import TIME_TO_AUTH
from tests.daemon import Daemon
from tests.functional.certificates import Authority
from tests.functional.conversation import Talk
from tests.reliability.measures import comes_to_rest, descriptors, memory, need_linux, wait_until


class Listeners(NamedTuple):
    """Two daemons, so that there is every kind of listener: a Unix socket and TCP, and TCP with TLS."""

    plain: Daemon
    tls: Daemon
    context: ssl.SSLContext


@cache
def listeners() -> Listeners:
    """They are started by the first test, and stopped at the end."""
    place = tempfile.TemporaryDirectory(prefix="jobd-test-")
    atexit.register(place.cleanup)
    folder = Path(place.name).resolve()
    for name in ("plain", "tls"):
        (folder / name).mkdir(mode=0o700)
    authority = Authority(folder)
    certificate, key = authority.issue("localhost")
    files = ("--tls-cert", certificate, "--tls-key", key)
    plain = Daemon(folder / "plain", "--workers", "1", tcp=True)
    tls = Daemon(folder / "tls", "--workers", "1", *files, listen=["tcp:0:interface=127.0.0.1"])
    for daemon in (plain, tls):
        daemon.start()
        atexit.register(daemon.stop)
    return Listeners(plain, tls, ssl.create_default_context(cafile=authority.ca))


class Abuse(SynchronousTestCase):
    """At the end of each test both daemons are as they were, and have accepted no job."""

    def setUp(self) -> None:
        need_linux()
        self.plain, self.tls, self.context = listeners()
        self.talks = [Talk.unix(self.plain), Talk.tcp(self.tls, self.tls.token, self.context)]
        for talk in self.talks:
            self.addCleanup(talk.close)
        self.alone = [descriptors(daemon.pid) for daemon in (self.plain, self.tls)]
        self.addCleanup(self.check)

    def check(self) -> None:
        for talk, daemon, alone in zip(self.talks, (self.plain, self.tls), self.alone, strict=True):
            self.assert_alone(talk, daemon, alone)
            self.assertEqual([], talk.json("list")["jobs"])
            self.assertEqual([], [line for line in daemon.lines if "Traceback" in line or "Unhandled" in line])

    def assert_alone(self, talk: Talk, daemon: Daemon, alone: int) -> None:
        """Of the others nothing is left."""
        wait_until(lambda: talk.json("stats")["connections"] == 1, "the others are gone")
        wait_until(lambda: descriptors(daemon.pid) <= alone, "no descriptor is left over")

    def strangers(self) -> Iterator[Talk]:
        """A new connection to each listener that lets in whoever comes."""
        yield Talk.unix(self.plain)
        yield Talk.tcp(self.plain)
        yield Talk.tcp(self.tls, tls=self.context)

    def clients(self) -> Iterator[Talk]:
        """The same, of those who may do everything."""
        yield Talk.unix(self.plain)
        yield Talk.tcp(self.plain, self.plain.token)
        yield Talk.tcp(self.tls, self.tls.token, self.context)


class Browsers(Abuse):
    """What a web page could have a browser send."""

    def test_http(self) -> None:
        """Whatever speaks HTTP is closed at once, without a word, and nothing that comes with it is executed."""
        body = f"\r\nauth {self.plain.token}\r\nrun touch /tmp/nothing\r\n"
        for start in (
            "GET / HTTP/1.1",
            "POST /submit HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "PUT /x HTTP/1.1",
            "HEAD / HTTP/1.0",
        ):
            for talk in self.strangers():
                with talk:
                    talk.send(f"{start}\r\nHost: localhost\r\nContent-Type: text/plain\r\n{body}")
                    self.assertEqual("", talk.line(), start)

    def test_http_to_a_tls_listener(self) -> None:
        """Without TLS it is not even understood."""
        with Talk.tcp(self.tls) as talk:
            talk.send("POST / HTTP/1.1\r\n\r\nrun true")
            while talk.sock.recv(4096):
                pass


class Lines(Abuse):
    """Lines that are too long, cut off, or hold what no line should."""

    def test_partial_line(self) -> None:
        """A line without its end is never executed, however the connection ends."""
        for end in ("close", "half"):
            for talk in self.clients():
                with talk:
                    talk.sock.sendall(b'ping x\nsubmit {"argv": ["true"]}')
                    self.assertEqual("ok x", talk.line())
                    if end == "half" and not isinstance(talk.sock, ssl.SSLSocket):
                        talk.half_close()
                        self.assertEqual("", talk.line())

    def test_endless_line(self) -> None:
        """
        Of a line without end the daemon keeps nothing; when its end comes at last there is one error, and
        the next line is read.
        """
        chunk = b"x" * wire.MAX_LINE
        for talk in self.clients():
            daemon = self.tls if isinstance(talk.sock, ssl.SSLSocket) else self.plain
            talk.ok("ping " + "x" * (wire.MAX_LINE - 10))
            before = memory(daemon.pid, "VmHWM")
            with talk:
                for _ in range(64):
                    talk.sock.sendall(chunk)
                talk.send(b"", b"ping after")
                self.assertEqual("error TOO_LONG the line is over 1048576 bytes and was skipped", talk.line())
                self.assertEqual("ok after", talk.line())
            self.assertLess(memory(daemon.pid, "VmHWM") - before, 8 * 1024 * 1024)

    def test_control_bytes(self) -> None:
        """NUL and control bytes in what are names are refused, in JSON and in plain arguments; so are lone bytes."""
        name_fields = ("queue", "key", "group", "label")
        bad = [f"x{chr(code)}y" for code in (*range(32), 127)]
        lines = [json.dumps({"argv": ["true"], field: name}) for field in name_fields for name in bad]
        for talk in self.clients():
            with talk:
                talk.send(*[f"submit {line}" for line in lines])
                for line in lines:
                    self.assertTrue(talk.reply().startswith("error BAD_VALUE"), line)
                for name in bad:
                    if name != "x\ny":
                        for verb in ("pause", "queue"):
                            answer = talk.ask(f"{verb} {name}")
                            self.assertTrue(answer.startswith("error"), (verb, name, answer))
                for bytes_ in (b"run a\0b", b"\0run true", b"run \xff", b"sh \xc3("):
                    answer = talk.ask(bytes_)
                    self.assertTrue(answer.startswith("error"), (bytes_, answer))
                self.assertEqual(["default"], list(talk.json("stats")["queues"]) or ["default"])


class Strangers(Abuse):
    """Who connects over TCP and does not say who it is."""

    def dropped_in_time(self, talks: list[socket.socket], begun: float) -> None:
        """The daemon closes these, after the time that there is and not before."""
        for sock in talks:
            sock.settimeout(60)
            try:
                while sock.recv(4096):
                    pass
            except OSError:
                pass
            self.assertGreater(time.monotonic() - begun, TIME_TO_AUTH - 0.5)
            sock.close()

    def test_who_says_nothing(self) -> None:
        """
        A hundred that begin a line, one that says nothing, one that talks without proving itself, one that never
        ends its TLS hello and one that never begins one: they cost next to nothing, each is dropped when its time
        is over, and others do not notice.
        """
        begun, before = time.monotonic(), memory(self.plain.pid)
        plain, secure = self.plain.tcp_address, self.tls.tcp_address
        silent = [socket.create_connection(address) for address in (plain, plain, secure, secure, secure)]
        lines = [socket.create_connection(plain) for _ in range(100)]
        for sock in lines:
            sock.sendall(b"x" * 4000)
        silent[1].sendall(b"ping\nhello\n" * 100 + b"auth")
        # A record of a handshake, of which less comes than it says.
        silent[3].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        with socket.create_connection(secure) as raw:
            shaken = self.context.wrap_socket(raw, server_hostname="localhost")
            for talk in self.talks:
                self.assertEqual("x", talk.ok("ping x"))
            comes_to_rest(self.plain.pid)
            self.assertLess(memory(self.plain.pid) - before, 100 * 64 * 1024)
            self.dropped_in_time([*silent, *lines, shaken], begun)

    def test_drop_by_drop(self) -> None:
        """A hello that comes a byte at a time gains no time."""
        begun = time.monotonic()
        sock = socket.create_connection(self.tls.tcp_address)
        self.addCleanup(sock.close)
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(500)
        try:
            for byte in hello:
                sock.sendall(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass
        else:
            self.fail("all of it was taken")
        self.assertGreater(time.monotonic() - begun, TIME_TO_AUTH - 0.5)

    def test_too_much(self) -> None:
        """More than 4 KiB in a line before it has proved itself ends a connection at once."""
        for tls in (None, self.context):
            daemon = self.plain if tls is None else self.tls
            with Talk.tcp(daemon, tls=tls) as talk:
                talk.sock.sendall(b"auth " + b"x" * 5000)
                talk.send(b"", b"list")
                self.assertEqual("error TOO_LONG the line is over 4096 bytes and was skipped", talk.line())
                self.assertEqual("", talk.line())
