"""TLS: from other machines only with it, with a token or with a certificate that the daemon verifies."""

from __future__ import annotations

import ssl
import tempfile
import warnings
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon
from tests.functional.certificates import Authority
from tests.functional.conversation import Talk


class Tls(SynchronousTestCase):
    """An authority, and a daemon that has a certificate of it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        for name in ("state", "ours", "theirs"):
            (self.folder / name).mkdir(mode=0o700)
        self.authority = Authority(self.folder / "ours")

    def begin(self, *options: str, listen: str = "tcp:0:interface=127.0.0.1") -> Daemon:
        certificate, key = self.authority.issue("localhost")
        files = ("--tls-cert", certificate, "--tls-key", key)
        daemon = Daemon(self.folder / "state", *files, *options, listen=[listen])
        daemon.start()
        self.addCleanup(daemon.stop)
        return daemon

    def context(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def test_with_a_token(self) -> None:
        """Over TLS one says the token first, and then may do everything."""
        daemon = self.begin()
        self.assertTrue(daemon.tcp_url.startswith("jobds://127.0.0.1:"))
        with Talk.tcp(daemon, daemon.token, self.context()) as talk:
            self.assertEqual("succeeded", talk.run(argv=["true"]).state)
        with Talk.tcp(daemon, tls=self.context()) as talk:
            self.assertIn("error AUTH", talk.ask("list"))
            self.assertEqual("error AUTH wrong token", talk.ask("auth x"))

    def test_large_lines(self) -> None:
        """Long lines pass in both directions."""
        daemon = self.begin()
        with Talk.tcp(daemon, daemon.token, self.context()) as talk:
            text = "x" * 1_000_000
            self.assertEqual(text, talk.ok(f"ping {text}"))

    def test_without_tls(self) -> None:
        """Who speaks no TLS is not understood, and learns nothing."""
        daemon = self.begin()
        with Talk.tcp(daemon) as talk:
            talk.send("hello")
            talk.sock.shutdown(1)
            data = talk.sock.recv(4096)
        self.assertNotIn(b"jobd", data)

    def test_old_versions(self) -> None:
        """Nothing below TLS 1.2 is spoken."""
        daemon = self.begin()
        context = self.context()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertRaises((ssl.SSLError, OSError), Talk.tcp, daemon, None, context)

    def test_a_client_certificate(self) -> None:
        """A certificate that the daemon verifies stands for the token, and tells who one is."""
        daemon = self.begin("--tls-client-ca", self.authority.ca)
        with Talk.tcp(daemon, tls=self.context(self.authority.issue("alice"))) as talk:
            self.assertEqual("cert:alice", talk.json("hello")["identity"])
            self.assertEqual("succeeded", talk.run(argv=["true"]).state)

    def refused(self, daemon: Daemon, context: ssl.SSLContext) -> None:
        """The connection is refused, by the time the first answer is due at the latest."""
        try:
            with Talk.tcp(daemon, tls=context) as talk:
                talk.send("ping")
                answer = talk.line()
        except OSError:
            return
        self.assertEqual("", answer)

    def test_no_client_certificate(self) -> None:
        """Where client certificates are asked for, who has none is refused, with or without the token."""
        daemon = self.begin("--tls-client-ca", self.authority.ca)
        self.refused(daemon, self.context())

    def test_a_strangers_certificate(self) -> None:
        """So is who has one of another authority."""
        daemon = self.begin("--tls-client-ca", self.authority.ca)
        stranger = Authority(self.folder / "theirs").issue("alice")
        self.refused(daemon, self.context(stranger))
        with Talk.tcp(daemon, tls=self.context(self.authority.issue("bob"))) as talk:
            self.assertEqual("ok", talk.ask("ping"))

    def test_beyond_loopback(self) -> None:
        """With TLS the daemon listens beyond loopback."""
        daemon = self.begin(listen="tcp:0")
        self.assertTrue(daemon.tcp_url.startswith("jobds://"))
        daemon.urls = [daemon.tcp_url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "127.0.0.1")]
        with Talk.tcp(daemon, daemon.token, self.context()) as talk:
            self.assertEqual("ok", talk.ask("ping"))

    def test_jobs_reach_their_daemon(self) -> None:
        """Jobs of a daemon that listens with TLS only still reach it, by a socket of their own."""
        daemon = self.begin()
        with Talk.tcp(daemon, daemon.token, self.context()) as talk:
            job_id = talk.run(shell='echo "$JOBD_URL"').job_id
            self.assertEqual(f"{daemon.unix_url}\n", talk.output(job_id))
