"""The C++ client against real daemons: all it can do, daemons killed in between, TLS, and what goes wrong."""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

import jobd
from tests.daemon import Daemon, running_daemon
from tests.functional.certificates import Authority

from .building import CppTestCase, clean_environment, probe

TOUR = """\
1024.0
from stdin
ValueError: factorial() not defined for negative values
skipped 1
succeeded
timed_out
job 8 is waiting for its time, in 1 h 0 min
1 cancelled
1
l 9 2 1
1
out one
err two
ended
NO_SUCH_JOB: after: there is no job 999999999
"""


class RealDaemonTests(CppTestCase):
    """What the client promises, with nothing scripted."""

    def reach(self, daemon: Daemon, url: str) -> dict[str, str]:
        return {"JOBD_URL": url, "JOBD_TOKEN_FILE": str(daemon.state / "token")}

    def test_run(self) -> None:
        """A job's result, output and story come back over a Unix socket and over TCP."""
        with running_daemon(tcp=True) as daemon:
            for number, url in enumerate(daemon.urls, 1):
                printed = self.run_program(
                    [probe(), "run", "echo hi; exit 4"], environment=self.reach(daemon, url), code=1
                )
                self.assertEqual(f"failed 4 1\nhi\njob {number} failed: attempt 1, exit code 4\n", printed)

    def test_tour(self) -> None:
        """Every kind of job and almost every verb does what it should."""
        with running_daemon() as daemon:
            environment = {"JOBD_URL": daemon.url}
            self.assertEqual(TOUR, self.run_program([probe(), "tour"], environment=environment, code=3, patience=120))

    def test_default_socket(self) -> None:
        """Without a word about where, the client finds the same daemon as the Python clients: this user's."""
        with tempfile.TemporaryDirectory() as folder:
            runtime = Path(folder).resolve()
            (runtime / "jobd").mkdir()
            with running_daemon(listen=[f"unix:{runtime}/jobd/jobd.sock"]):
                environment = {"XDG_RUNTIME_DIR": str(runtime)}
                self.assertIn("succeeded 0 1", self.run_program([probe(), "run", "true"], environment=environment))

    def test_killed_in_between(self) -> None:
        """Though daemons are killed in between, no finish is missed, none comes twice, no job is made twice."""
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder).resolve()
            daemon = Daemon(state)
            daemon.start()
            client = self.start(["many", "200"], {"JOBD_URL": daemon.url, "PROBE_FOLDER": folder})
            lines: list[str] = []
            try:
                for kill_after in (20, 60, 120):
                    self.read_until(client, lines, kill_after)
                    daemon.kill()
                    daemon.start()
                lines += self.rest_of(client)
            finally:
                client.kill()
                client.wait()
                daemon.stop()
            self.assertEqual(0, client.returncode, "\n".join(lines[-5:]))
            finishes = [line.split() for line in lines if line.startswith("finish ")]
            self.assertEqual(210, len(finishes))
            self.assertEqual(210, len({job for _, job, _ in finishes}))
            self.assertEqual(210, len({cursor for _, _, cursor in finishes}))
            states = Counter(line.split()[2] for line in lines if line.startswith("job "))
            self.assertEqual(210, sum(states.values()))
            # Each of the 200 was submitted once, so each number stands in the file, once for each attempt.
            ran = Counter((state / "ran").read_text().split())
            self.assertLessEqual({str(number) for number in range(200)} - set(ran), set(), states)
            daemon.start()
            with jobd.connect(daemon.url) as other:
                self.assertEqual(210, len(list(other.list())))
            daemon.stop()

    def test_watch_through_a_kill(self) -> None:
        """A watch sees every event once and in order, although its daemon is killed in between."""
        with tempfile.TemporaryDirectory() as folder:
            daemon = Daemon(Path(folder).resolve())
            daemon.start()
            watching = self.start(["watch", "40"], {"JOBD_URL": daemon.url})
            lines: list[str] = []
            try:
                with jobd.connect(daemon.url) as client:
                    client.wait([client.run("true") for _ in range(15)], timeout=60)
                self.read_until(watching, lines, 10)
                daemon.kill()
                daemon.start()
                with jobd.connect(daemon.url) as client:
                    client.wait([client.run("true") for _ in range(25)], timeout=60)
                lines += self.rest_of(watching)
            finally:
                watching.kill()
                watching.wait()
                daemon.stop()
            told = [line.split() for line in lines if line[:1].isdigit()]
            cursors = [int(cursor) for cursor, _, _ in told]
            self.assertEqual(sorted(set(cursors)), cursors)
            self.assertEqual(40, len({job for _, job, _ in told}))

    def test_tokens(self) -> None:
        """A wrong token, none, and a token file that is not there are each a clear error."""
        with running_daemon(tcp=True) as daemon, tempfile.TemporaryDirectory() as home:
            url = {"JOBD_URL": daemon.tcp_url, "HOME": home, "XDG_STATE_HOME": home}
            for more, said in (
                ({"JOBD_TOKEN": "wrong"}, "AUTH: wrong token"),
                ({}, "AUTH: .*JOBD_TOKEN"),
                ({"JOBD_TOKEN_FILE": f"{home}/none"}, "USAGE: the token file .* cannot be read"),
                ({"JOBD_TOKEN": "two words"}, "USAGE: a token is one word"),
            ):
                printed = self.run_program([probe(), "run", "true"], environment={**url, **more}, code=3)
                self.assertRegex(printed, said)
            self.run_program([probe(), "run", "true"], environment={**url, "JOBD_TOKEN": daemon.token})

    def test_nobody_there(self) -> None:
        """Refused, unknown hosts and wrong URLs are each a clear error."""
        for url, said in (
            ("jobd://127.0.0.1:1", "CONNECTION: cannot connect to jobd://127.0.0.1:1: .*; is the daemon running there"),
            ("jobd://no-such-host.invalid", "CONNECTION: there is no host 'no-such-host.invalid'"),
            ("http://127.0.0.1:7733", "USAGE: .*does not speak HTTP"),
        ):
            self.assertRegex(self.run_program([probe(), "run", "true"], environment={"JOBD_URL": url}, code=3), said)

    def test_tls(self) -> None:
        """Over TLS the host is verified, by name and by authority, and a client can be known by its certificate."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "other").mkdir()
            authority, stranger = Authority(Path(folder)), Authority(Path(folder) / "other")
            (certificate, key), (mine, my_key) = authority.issue("localhost"), authority.issue("client.example")
            theirs, their_key = stranger.issue("client.example")
            files = ["--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", authority.ca]
            with running_daemon(*files, listen=["tcp:0:interface=127.0.0.1"]) as daemon:
                port = daemon.tcp_url.rpartition(":")[2]
                url = f"jobds://localhost:{port}"
                good = {"JOBD_URL": url, "JOBD_TLS_CA": authority.ca, "JOBD_TLS_CERT": mine, "JOBD_TLS_KEY": my_key}
                self.assertIn("succeeded 0", self.run_program([probe(), "run", "seq 20000"], environment=good))
                self.run_program([probe(), "many", "50"], environment={**good, "PROBE_FOLDER": folder})
                for change, said in (
                    ({"JOBD_URL": f"jobds://127.0.0.1:{port}"}, "TLS: the daemon's certificate is refused: .*mismatch"),
                    ({"JOBD_TLS_CA": stranger.ca}, "TLS: the daemon's certificate is refused"),
                    ({"JOBD_TLS_CA": "", "SSL_CERT_FILE": "/dev/null"}, "TLS: the daemon's certificate is refused"),
                    ({"JOBD_TLS_CERT": theirs, "JOBD_TLS_KEY": their_key}, "(TLS|CONNECTION): "),
                    ({"JOBD_TLS_CERT": "/nowhere"}, "TLS: the certificate '/nowhere' cannot be used"),
                    ({"JOBD_TLS_KEY": key}, "TLS: the key '.*' cannot be used"),
                    ({"JOBD_URL": f"jobd://localhost:{port}"}, "(CONNECTION|PROTOCOL): "),
                ):
                    printed = self.run_program(
                        [probe(), "run", "true"], environment={**good, **change}, code=3, patience=60
                    )
                    self.assertRegex(printed, said)
                plain = {"JOBD_URL": url, "JOBD_TLS_CA": authority.ca, "JOBD_TOKEN": daemon.token}
                printed = self.run_program([probe(), "run", "true"], environment=plain, code=3)
                self.assertRegex(printed, "TLS: .*certificate required")
            with running_daemon(tcp=True) as daemon:
                url = f"jobds://localhost:{daemon.tcp_url.rpartition(':')[2]}"
                printed = self.run_program(
                    [probe(), "run", "true"], environment={**good, "JOBD_URL": url}, code=3, patience=60
                )
                self.assertRegex(printed, "(TLS|CONNECTION): ")

    def start(self, words: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [probe(), *words],
            env=clean_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rest_of(self, client: subprocess.Popen[str]) -> list[str]:
        """What it prints until it ends, which must be soon."""
        assert client.stdout is not None
        too_late = threading.Timer(180, client.kill)
        too_late.start()
        lines = client.stdout.read().splitlines()
        client.wait()
        too_late.cancel()
        return lines

    def read_until(self, client: subprocess.Popen[str], lines: list[str], events: int) -> None:
        """Read what it prints until so many events are among it."""
        assert client.stdout is not None
        while sum(bool(re.match(r"finish|\d", line)) for line in lines) < events:
            line = client.stdout.readline()
            self.assertNotEqual("", line, "the client ended early:\n" + "".join(lines))
            lines.append(line.rstrip("\n"))
