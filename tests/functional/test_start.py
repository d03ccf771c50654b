"""How the daemon starts: with no option at all, or not at all, with one clear line."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from jobd.paths import DEFAULT_PORT
from tests.daemon import PATIENCE, Daemon
from tests.functional.certificates import Authority
from tests.functional.conversation import Talk

ROOT = str(Path(__file__).parent.parent.parent)

TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
TWIST = "import sys; sys.argv[0] = 'twist'; from twisted.application.twist._twist import Twist; Twist.main()"

FRONTS = {
    "twistd": [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "jobd"],
    "twist": [sys.executable, "-c", TWIST, "--log-format=text", "jobd"],
}
"""The two programs that know the plugin."""


class Starting(SynchronousTestCase):
    """A folder of the test's own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.state = self.folder / "state"

    def environment(self, **variables: str) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "XDG_"))}
        return {**mine, "PYTHONPATH": ROOT, "HOME": str(self.folder), **variables}

    def refused(self, *options: str) -> str:
        """The one line with which both programs end, and which says why; they listen nowhere."""
        said = ""
        for name, front in FRONTS.items():
            done = subprocess.run(
                [*front, *options],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            # What is found once the daemon starts stands in the log.
            lines = [line for line in (done.stdout + done.stderr).splitlines() if not _is_log(line) or "jobd: " in line]
            self.assertEqual(1, len(lines), (name, done.stdout, done.stderr))
            self.assertIn("jobd: ", lines[0])
            self.assertNotIn(done.returncode, (0, -9), name)
            self.assertNotIn("Traceback", done.stdout + done.stderr)
            said = lines[0].partition("jobd: ")[2]
        return said


def _is_log(line: str) -> bool:
    """A line that begins with a time."""
    return len(line) > 20 and line[4] == "-" and line[10] == "T"


def _as_user(user: int) -> list[str]:
    """Run as somebody without privileges, but for reading this Python and this checkout wherever they are."""
    read = "-all,+dac_read_search"
    return [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        f"--inh-caps={read}",
        f"--ambient-caps={read}",
    ]


class Refusals(Starting):
    """Each ends with one clear line and an exit code that is not 0, under twistd and twist."""

    def test_options(self) -> None:
        """A wrong option or a wrong value."""
        for options, text in (
            (["--nonsense"], "nonsense"),
            (["surplus"], ""),
            (["--workers", "0"], "workers takes a number from 1 on"),
            (["--durability", "maybe"], "durability is one of commit, os, memory"),
            (["--tls-key", "key"], "TLS needs both"),
        ):
            self.assertIn(text, self.refused("--state-dir", str(self.state), *options))

    def test_a_file(self) -> None:
        """A configuration that is not there, is not TOML, or has a wrong name in it."""
        self.assertIn("cannot be read: No such file", self.refused("--config", "none.toml"))
        config = self.folder / "jobd.toml"
        config.write_text("wokers = 3\n")
        self.assertIn("no option 'wokers'; did you mean 'workers'?", self.refused("--config", str(config)))

    def test_endpoints(self) -> None:
        """What is no endpoint, cannot be listened on, is taken, or could be reached from outside without TLS."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            for endpoint, text in (
                ("nonsense", "is not a server endpoint"),
                ("tcp:0", "refusing to listen"),
                (f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1", "Address already in use"),
                (f"unix:{self.folder}/{'x' * 120}", "is too long"),
                ("unix:/dev/null/x", "cannot be made"),
            ):
                self.assertIn(text, self.refused("--state-dir", str(self.state), "--listen", endpoint))

    def test_folders(self) -> None:
        """A state folder that cannot be made, or is a file."""
        for state in ("/dev/null/state", "/proc/state"):
            self.assertIn("cannot be made", self.refused("--state-dir", state))
        self.state.write_text("a file")
        self.assertIn("cannot be made", self.refused("--state-dir", str(self.state)))

    def test_the_token(self) -> None:
        """A token file that others can read."""
        token = self.folder / "token"
        token.write_text("sesame")
        token.chmod(0o644)
        options = ("--state-dir", str(self.state), "--token-file", str(token), "--listen", "tcp:0:interface=127.0.0.1")
        self.assertIn(f"chmod 600 {token}", self.refused(*options))

    def test_tls(self) -> None:
        """TLS files that are missing, or do not belong together."""
        options = ("--state-dir", str(self.state), "--tls-cert")
        self.assertIn("none cannot be read", self.refused(*options, "none", "--tls-key", "none"))
        authority = Authority(self.folder)
        certificate, _ = authority.issue("one")
        _, key = authority.issue("two")
        self.assertIn("cannot be used", self.refused(*options, certificate, "--tls-key", key))

    def test_the_store(self) -> None:
        """A store that is none, or is of a version that is not known."""
        self.state.mkdir(mode=0o700)
        (self.state / "jobs.sqlite").write_bytes(b"nonsense" * 1000)
        listen = f"unix:{self.folder}/s"
        self.assertIn("cannot be read", self.refused("--state-dir", str(self.state), "--listen", listen))

    def test_a_second_daemon(self) -> None:
        """A second daemon on the same state is refused; the first does not notice."""
        self.state.mkdir(mode=0o700)
        daemon = Daemon(self.state)
        daemon.start()
        self.addCleanup(daemon.stop)
        listen = f"unix:{self.folder}/other"
        text = self.refused("--state-dir", str(self.state), "--listen", listen)
        self.assertIn(f"another jobd uses the state folder {self.state}", text)
        with Talk.unix(daemon) as talk:
            self.assertEqual("succeeded", talk.run(argv=["true"]).state)


class Defaults(Starting):
    """No option at all."""

    def begin(
        self, *command: str, user: int | None = None, **variables: str
    ) -> tuple[subprocess.Popen[str], list[str]]:
        """Start it; returns its lines up to the one that says how to reach it."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self.end, process)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "try: jobctl" in line:
                return process, lines
        self.fail("it did not start:\n" + "".join(lines))

    def end(self, process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()

    def alone(self) -> None:
        """Of all tests, whatever process they are in, one at a time may have the usual port until it is over."""
        lock = (Path(tempfile.gettempdir()) / "jobd-test-port.lock").open("a")
        self.addCleanup(lock.close)
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)

    def options(self) -> list[str]:
        """None; but where somebody has taken the usual port, another one."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", DEFAULT_PORT))
                return []
        return ["--listen", f"unix:{self.folder}/run/jobd.sock", "--listen", "tcp:0:interface=127.0.0.1"]

    def check(self, front: str, user: int | None = None) -> None:
        if sys.platform == "win32":
            raise SkipTest("there are no Unix sockets")
        runtime = self.folder / "runtime"
        runtime.mkdir(mode=0o700)
        if user is not None:
            for path in (self.folder, runtime):
                os.chown(path, user, user)
        prefix = [] if user is None else _as_user(user)
        self.alone()
        _, lines = self.begin(*prefix, *FRONTS[front], *self.options(), XDG_RUNTIME_DIR=str(runtime))
        text = "".join(lines)
        urls = [line.rpartition("listening on ")[2].strip() for line in lines if "listening on " in line]
        self.assertEqual(["jobd+unix", "jobd"], [url.partition(":")[0] for url in urls][:2])
        state = Path(text.partition("state in ")[2].partition("\n")[0])
        self.assertTrue(state.is_relative_to(self.folder), state)
        token = Path(text.partition("need the token in ")[2].partition("\n")[0])
        self.assertEqual(0o600, token.stat().st_mode & 0o777)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(unquote(urls[0].removeprefix("jobd+unix://")))
        with Talk(sock) as talk:
            job_id = talk.run(shell="id -u; pwd").job_id
            expected = f"{os.getuid() if user is None else user}\n{self.folder}\n"
            self.assertEqual(expected, talk.output(job_id))
            self.assertEqual(3628800, talk.run(call="math:factorial", args=[10]).json["result"])
        host, _, port = urls[1].removeprefix("jobd://").rpartition(":")
        with Talk(socket.create_connection((host, int(port)))) as talk:
            self.assertEqual("ok", talk.ask(f"auth {token.read_text().strip()}"))
            self.assertEqual("succeeded", talk.run(argv=["true"]).state)

    def test_twistd(self) -> None:
        """twistd -n jobd works, and says where it listens, keeps its state and how to reach it."""
        self.check("twistd")

    def test_twist(self) -> None:
        """twist jobd does the same."""
        self.check("twist")

    def test_unprivileged(self) -> None:
        """It works for a user without any privilege."""
        if sys.platform == "win32" or os.geteuid():
            raise SkipTest("all tests run without privileges")
        if not shutil.which("setpriv"):
            raise SkipTest("needs setpriv")
        self.check("twistd", 65534)

    def test_a_configuration(self) -> None:
        """Options from a file are taken; those on the command line win."""
        self.state.mkdir(mode=0o700)
        config = self.folder / "jobd.toml"
        listen = f"unix:{self.state}/jobd.sock"
        config.write_text(f'state-dir = "{self.state}"\nworkers = 3\nlisten = ["{listen}"]\npickle = "none"\n')
        self.begin(*FRONTS["twistd"], "--config", str(config), "--workers", "1")
        with Talk.unix(Daemon(self.state)) as talk:
            self.assertEqual(1, len(talk.json("stats")["pool"]["workers"]["cpu"]))
            self.assertIn("error DENIED", talk.ask('submit {"pickle": "gASVAgAAAAAAAABLAS4="}'))

    def test_help(self) -> None:
        """--help names every option."""
        said = subprocess.run(
            [*FRONTS["twistd"], "--help"], env=self.environment(), cwd=self.folder, capture_output=True, text=True
        ).stdout
        for name in (
            "listen",
            "state-dir",
            "workers",
            "token-file",
            "tls-key",
            "tls-cert",
            "tls-client-ca",
            "durability",
            "config",
        ):
            self.assertIn(f"--{name}", said)

    def test_detached(self) -> None:
        """twistd without -n detaches, and is stopped by its pid file; nothing of it was live before it forked."""
        if sys.platform != "linux":
            raise SkipTest("needs pidfd")
        self.state.mkdir(mode=0o700)
        listen = f"unix:{self.state}/jobd.sock"
        pidfile = self.folder / "twistd.pid"
        command = [sys.executable, "-c", TWISTD, f"--pidfile={pidfile}", f"--logfile={self.folder}/log", "jobd"]
        subprocess.run(
            [*command, "--state-dir", str(self.state), "--listen", listen],
            env=self.environment(),
            cwd=self.folder,
            check=True,
            timeout=PATIENCE,
        )
        pid = int(pidfile.read_text())
        handle = os.pidfd_open(pid)
        self.addCleanup(os.close, handle)
        try:
            with Talk.unix(Daemon(self.state)) as talk:
                self.assertEqual("succeeded", talk.run(argv=["true"]).state)
                self.assertEqual(120, talk.run(call="math:factorial", args=[5]).json["result"])
        finally:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            select.select([handle], [], [], PATIENCE)
        self.assertFalse(pidfile.exists())
