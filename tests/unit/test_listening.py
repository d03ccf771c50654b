"""Where the daemon listens, and where it refuses to."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SkipTest, TestCase

from jobd import listening
from jobd.errors import UsageError
from jobd.settings import Settings


class TokenTests(TestCase):
    """The file with what TCP clients must know."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def problem(self) -> str:
        return str(self.assertRaises(UsageError, listening.make_token, self.path))

    def test_made_once(self) -> None:
        """The first start makes a token that nobody can guess and only its owner can read; the next ones find it."""
        token = listening.make_token(self.path)
        self.assertEqual(64, len(token))
        self.assertEqual(0o600, stat.S_IMODE(self.path.stat().st_mode))
        self.assertEqual(token, listening.make_token(self.path))
        other = Path(self.mktemp())
        self.assertNotEqual(token, listening.make_token(other))

    def test_readable_by_others(self) -> None:
        """A token that others can read is refused, with the command that mends it."""
        listening.make_token(self.path)
        for mode in (0o640, 0o604, 0o660):
            self.path.chmod(mode)
            self.assertIn(f"chmod 600 {self.path}", self.problem())

    def test_not_a_token(self) -> None:
        """A file that is empty or holds more than one word is refused."""
        self.path.touch(0o600)
        for text in ("", "\n", "two words", "two\nlines", "caf\xe9", "x" * 1025, "tab\tbed", "\x1b"):
            self.path.write_text(text, encoding="utf-8")
            self.assertIn("must hold one word of ASCII", self.problem())

    def test_ones_own(self) -> None:
        """A token that somebody wrote there is taken as it is."""
        self.path.touch(0o600)
        self.path.write_text("  sesame\r\n")
        self.assertEqual(b"sesame", listening.make_token(self.path))

    def test_not_to_be_read(self) -> None:
        """A path that cannot be used is one clear line."""
        self.path.mkdir()
        self.assertIn("cannot be used: Is a directory", self.problem())
        self.path = self.path / "no" / "folder"
        self.assertIn("cannot be used: No such file or directory", self.problem())

    if sys.platform == "win32":
        test_made_once.skip = test_readable_by_others.skip = "modes are POSIX's"  # type: ignore[attr-defined]


class ListenTests(TestCase):
    """Endpoints, on a real reactor."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def listen(self, description: str, tls: Any = None) -> IListeningPort:
        ((description, endpoint),) = listening.parse_endpoints([description], self.reactor)
        port = listening.listen(description, endpoint, Factory(), tls)
        self.addCleanup(port.stopListening)
        return port

    def problem(self, description: str) -> str:
        problem = str(self.assertRaises(UsageError, self.listen, description))
        self.assertNotIn("\n", problem)
        return problem

    def socket_path(self) -> Path:
        # A Unix socket's path has to be short.
        return Path(os.path.relpath(self.mktemp()))

    def test_tcp(self) -> None:
        """TCP on loopback has an address that clients can use."""
        port = self.listen("tcp:0:interface=127.0.0.1")
        address = port.getHost()
        self.assertEqual(f"jobd://127.0.0.1:{address.port}", listening.url_of(address, False))  # type: ignore[attr-defined]

    def test_unix(self) -> None:
        """A Unix socket is for its owner only, in a folder for its owner only, which is made."""
        path = self.socket_path() / "inner" / "s"
        self.listen(f"unix:{path}")
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual(0o700, stat.S_IMODE(path.parent.stat().st_mode))

    def test_mode_as_asked_for(self) -> None:
        """Who gives a mode gets that one."""
        path = self.socket_path()
        self.listen(f"unix:{path}:mode=660")
        self.assertEqual(0o660, stat.S_IMODE(path.stat().st_mode))

    def test_a_dead_daemons_socket(self) -> None:
        """A socket that a dead daemon has left is replaced."""
        if sys.platform == "win32":
            raise SkipTest("there are no Unix sockets")
        path = self.socket_path()
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(path))
        dead.close()
        self.listen(f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_another_daemon(self) -> None:
        """A socket that somebody listens on is left alone."""
        if sys.platform == "win32":
            raise SkipTest("there are no Unix sockets")
        path = self.socket_path()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            self.assertEqual(f"another daemon listens on {path}", self.problem(f"unix:{path}"))
            self.assertTrue(path.is_socket())

    def test_something_else_there(self) -> None:
        """A file under the socket's name is not removed."""
        path = self.socket_path()
        path.write_text("precious")
        self.problem(f"unix:{path}")
        self.assertEqual("precious", path.read_text())

    def test_too_long(self) -> None:
        """A path that no socket can have is one clear line."""
        self.assertIn("is too long: 100 bytes at most", self.problem("unix:/tmp/" + "x" * 100))

    def test_no_folder(self) -> None:
        """A folder that cannot be made is one clear line."""
        self.assertIn("cannot be made", self.problem("unix:/dev/null/s"))

    def test_taken(self) -> None:
        """An address that is taken is one clear line."""
        number = self.listen("tcp:0:interface=127.0.0.1").getHost().port  # type: ignore[attr-defined]
        self.assertIn("Address already in use", self.problem(f"tcp:{number}:interface=127.0.0.1"))

    def test_not_ours(self) -> None:
        """An address of another machine is one clear line."""
        self.assertIn("cannot listen on", self.problem("tcp:0:interface=192.0.2.1"))

    def test_beyond_loopback(self) -> None:
        """What other machines could reach without TLS is refused, and does not stay open."""
        for interface in ("", ":interface=0.0.0.0"):
            problem = self.problem(f"tcp:0{interface}")
            self.assertIn("refusing to listen", problem)
            self.assertIn("Give --tls-key and --tls-cert, or add :interface=127.0.0.1", problem)

    def test_no_endpoint(self) -> None:
        """What is no endpoint string is one clear line with an example."""
        for description in (
            "nonsense",
            "tcp",
            "tcp:x",
            "tcp:1:2:3:4:5:6",
            "unix",
            "",
            "\\",
            "\x1b",
            "tcp:1:interfase=127.0.0.1",
        ):
            problem = self.problem(description)
            self.assertIn("is not a server endpoint, as tcp:7733:interface=127.0.0.1", problem)
            self.assertTrue(problem.isprintable())

    def test_tls_by_endpoint(self) -> None:
        """TLS is asked for by options, not by an endpoint string, which cannot ask for client certificates."""
        self.assertIn("write tcp:…, with --tls-key and --tls-cert", self.problem("ssl:7733"))

    def test_who_can_reach_what(self) -> None:
        """Loopback and Unix sockets are reachable from this machine only."""
        for expected, address in (
            (True, UNIXAddress(b"/x")),
            (True, IPv4Address("TCP", "127.0.0.1", 1)),
            (True, IPv4Address("TCP", "127.1.2.3", 1)),
            (True, IPv6Address("TCP", "::1", 1)),
            (False, IPv4Address("TCP", "0.0.0.0", 1)),
            (False, IPv6Address("TCP", "::", 1)),
            (False, IPv4Address("TCP", "10.0.0.1", 1)),
        ):
            self.assertEqual(expected, listening.reachable_only_here(address), address)

    def test_urls(self) -> None:
        """Every address has the URL that a client takes."""
        for expected, address, tls in (
            ("jobd+unix:///a%20b/c", UNIXAddress(b"/a b/c"), False),
            ("jobd://127.0.0.1:7733", IPv4Address("TCP", "127.0.0.1", 7733), False),
            ("jobds://10.0.0.1:1", IPv4Address("TCP", "10.0.0.1", 1), True),
            ("jobds://[::1]:2", IPv6Address("TCP", "::1", 2), True),
        ):
            self.assertEqual(expected, listening.url_of(address, tls))

    def test_by_default(self) -> None:
        """By default there is a Unix socket and TCP on loopback; a colon in a path is no separator."""
        self.assertEqual("unix:/a\\:b:mode=600", listening.unix_endpoint(Path("/a:b")))
        self.assertEqual("tcp:7733:interface=127.0.0.1", listening.default_endpoints()[-1])
        self.assertEqual(2, len(listening.parse_endpoints(listening.default_endpoints(), self.reactor)))


class TlsFileTests(TestCase):
    """Wrong TLS files end the program with one clear line each."""

    def problem(self, **files: Path) -> str:
        return str(self.assertRaises(UsageError, listening.tls_options, Settings(**files)))  # type: ignore[arg-type]

    def test_none(self) -> None:
        """Without files there is no TLS."""
        self.assertIsNone(listening.tls_options(Settings()))

    def test_missing(self) -> None:
        """A file that is not there is named."""
        problem = self.problem(tls_key=Path("/no/key"), tls_cert=Path("/no/cert"))
        self.assertEqual("/no/key cannot be read: No such file or directory", problem)

    def test_not_pem(self) -> None:
        """Files that hold something else are named."""
        path = Path(self.mktemp())
        path.write_text("hello")
        problem = self.problem(tls_key=path, tls_cert=path)
        self.assertIn(str(path), problem)
        self.assertNotIn("\n", problem)
