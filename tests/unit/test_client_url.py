"""URLs and where the rest comes from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from jobd import paths
from jobd.client.url import Target, Tls, locate, parse
from jobd.errors import UsageError


class Parsing(TestCase):
    """One URL, one target."""

    def test_forms(self) -> None:
        """A Unix socket, TCP and TLS; the port is 7733 unless it is named."""
        for url, target in (
            ("jobd+unix:///run/jobd.sock", Target(path="/run/jobd.sock")),
            ("jobd+unix:///a%20b", Target(path="/a b")),
            ("jobd://example", Target(host="example", port=7733)),
            ("jobd://example:1", Target(host="example", port=1)),
            ("jobd://[::1]:80", Target(host="::1", port=80)),
            ("jobd://[::1]", Target(host="::1")),
            ("jobds://example:99/", Target(host="example", port=99, tls=Tls())),
        ):
            self.assertEqual(target, parse(url))

    def test_round_trip(self) -> None:
        """A target's URL means that target."""
        for url in ("jobd+unix:///a%20b%C3%A9", "jobd://[::1]:7733", "jobds://h:1", "jobd+unix:///tmp/x"):
            self.assertEqual(url, parse(url).url)

    def test_http(self) -> None:
        """An HTTP URL is told that jobd does not speak HTTP, and which URLs there are."""
        for url in ("http://localhost:7733", "https://x"):
            text = str(self.assertRaises(UsageError, parse, url))
            self.assertIn("does not speak HTTP", text)
            self.assertIn("jobd://host:port", text)

    def test_wrong(self) -> None:
        """Everything else that is no URL of jobd's is refused with a reason."""
        for url in (
            "localhost:7733",
            "redis://x",
            "jobd://",
            "jobd://:80",
            "jobd://h:0",
            "jobd://h:65536",
            "jobd://h:x",
            "jobd://h:" + "1" * 5000,
            "jobd://h\x1b:1",
            "jobd://u@h:1",
            "jobd://h:1/path",
            "jobd://[::1",
            "jobd://[[]",
            "jobd://[::1]80",
            "jobd+unix://relative",
            "jobd+unix://",
            "jobd+unix:///a%00b",
        ):
            self.assertIn(repr(url), str(self.assertRaises(UsageError, parse, url)))


class Locating(TestCase):
    """What is not said comes from the environment, then from this user's daemon."""

    def test_environment(self) -> None:
        """The URL, the token and the TLS files come from variables; arguments go before them."""
        env = {"JOBD_URL": "jobds://h:1", "JOBD_TOKEN": "t", "JOBD_TLS_CA": "ca", "JOBD_TLS_CERT": "c"}
        self.assertEqual(Target(host="h", port=1, token="t", tls=Tls("ca", "c")), locate(environ=env))
        other = locate("jobds://other", token="u", tls_ca="mine", environ=env)
        self.assertEqual(Target(host="other", token="u", tls=Tls("mine", "c")), other)

    def test_token_file(self) -> None:
        """A token file is read without the white space around it; one that cannot be read is an error."""
        path = Path(self.mktemp())
        path.write_text(" secret\n")
        env = {"JOBD_URL": "jobd://far", "JOBD_TOKEN_FILE": str(path)}
        self.assertEqual("secret", locate(environ=env).token)
        env["JOBD_TOKEN_FILE"] = str(path) + ".missing"
        self.assertIn("JOBD_TOKEN_FILE", str(self.assertRaises(UsageError, locate, environ=env)))

    def test_token_is_one_word(self) -> None:
        """A token that could not be said in one line is refused."""
        for token in ("a b", "a\nb", " "):
            self.assertRaises(UsageError, locate, "jobd://h", token=token, environ={})

    def test_own_token_only_on_loopback(self) -> None:
        """This user's own token is read for this machine and never sent to another."""
        state = Path(self.mktemp())
        state.mkdir()
        (state / "token").write_text("mine")
        self.patch(paths, "state_dir", lambda: state)
        self.assertEqual("mine", locate("jobd://127.0.0.1", environ={}).token)
        self.assertEqual("mine", locate("jobd://localhost", environ={}).token)
        self.assertIsNone(locate("jobd://far", environ={}).token)
        self.assertIsNone(locate("jobd+unix:///x", environ={}).token)

    def test_default(self) -> None:
        """The Unix socket if it is there, else TCP on the loopback address."""
        socket = Path(self.mktemp())
        self.patch(paths, "socket_path", lambda: socket)
        self.patch(paths, "state_dir", lambda: socket.parent / "none")
        self.assertEqual(Target(host="127.0.0.1", port=7733), locate(environ={}))
        socket.write_text("")
        self.assertEqual(Target(path=str(socket)), locate(environ={}))

    def test_certificates_want_tls(self) -> None:
        """Certificates for a connection that is not TLS are an error, and so is a key without its certificate."""
        self.assertRaises(UsageError, locate, "jobd://h", tls_ca="ca", environ={})
        self.assertRaises(UsageError, locate, "jobds://h", tls_key="key", environ={})

    def test_socket_not_in_a_shared_folder(self) -> None:
        """Without a runtime folder of the user's own, the socket is in the state folder and not in /tmp."""
        self.patch(os, "environ", {**os.environ, "XDG_RUNTIME_DIR": str(Path(self.mktemp()) / "no")})
        if sys.platform == "linux":
            self.assertEqual(paths.state_dir() / "jobd.sock", paths.socket_path())
