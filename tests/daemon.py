"""
A real daemon for tests: C{twistd jobd} in a process of its own.

    with running_daemon() as daemon:
        client = jobd.connect(daemon.url)

L{Daemon} does the same in steps, for tests that kill a daemon and start
another one on the same state.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import jobd
from jobd.worker.sweep import sweep

PATIENCE = 120.0
"""Seconds to wait for a daemon on a busy machine; never reached when all is well."""

_TWISTD = """
import sys
sys.argv[0] = "twistd"
from twisted.scripts import twistd
if "coverage" in sys.modules:
    from coverage import Coverage
    measuring, run_app = Coverage.current(), twistd.runApp
    def saving(config):
        from twisted.internet import reactor
        reactor.addSystemEventTrigger("after", "shutdown", lambda: measuring and (measuring.stop(), measuring.save()))
        run_app(config)
    twistd.runApp = saving
twistd.run()
"""
"""
twistd dies of the signal that it was stopped by: what coverage has measured must be saved before. Which
reactor there is, is known only once it has read its options.
"""

_ANNOUNCES = "listening on "
_HAS_PIDFD = hasattr(os, "pidfd_open")


class DaemonProblem(AssertionError):
    """The daemon did not start, did not stop well, or left processes behind."""


class Daemon:
    """
    One state folder and, while it runs, the daemon on it.

    @ivar state: the state folder, kept from one start to the next.
    @ivar urls: where it listens, in the order of its announcements.
    @ivar lines: what the daemon has printed since its last start.
    """

    def __init__(
        self,
        state: Path,
        *options: str,
        listen: Sequence[str] | None = None,
        tcp: bool = False,
        environment: Mapping[str, str] | None = None,
        twistd: Sequence[str] = (),
        under: Sequence[str] = (),
    ) -> None:
        """
        @param options: further options of C{twistd jobd}.
        @param listen: endpoint strings instead of the usual ones: a Unix
            socket in the state folder where there are Unix sockets.
        @param tcp: listen on a free loopback port, too.
        @param environment: variables on top of this process's own.
        @param twistd: further options of C{twistd} itself.
        @param under: a program, with its arguments, that turns into the one it is told to start.
        """
        self.state = state
        self.urls: list[str] = []
        self.lines: list[str] = []
        self._options = options
        self._twistd = twistd
        self._under = under
        if listen is None:
            unix = [] if sys.platform == "win32" else [f"unix:{self.socket_path}"]
            listen = [*unix, *(["tcp:0:interface=127.0.0.1"] if tcp or not unix else [])]
        self._listen = list(listen)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._closed = True
        self._reader: threading.Thread | None = None

    @property
    def socket_path(self) -> Path:
        """The Unix socket it listens on."""
        return self.state / "jobd.sock"

    @property
    def url(self) -> str:
        """Where to reach it: the Unix socket, or TCP where there is none."""
        return self.urls[0]

    @property
    def tcp_url(self) -> str:
        """Where to reach it over TCP."""
        return next(url for url in self.urls if not url.startswith("jobd+unix:"))

    @property
    def tcp_address(self) -> tuple[str, int]:
        """Host and port of L{tcp_url}."""
        host, _, port = self.tcp_url.partition("://")[2].rpartition(":")
        return host, int(port)

    @property
    def unix_url(self) -> str:
        """The URL that stands for L{socket_path}."""
        return "jobd+unix://" + quote(str(self.socket_path))

    @property
    def token(self) -> str:
        """What a TCP connection says first."""
        return (self.state / "token").read_text().strip()

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        return self._running().pid

    def start(self) -> None:
        """Start it and return once it listens everywhere it should."""
        listen = [word for endpoint in self._listen for word in ("--listen", endpoint)]
        twistd = [*self._under, sys.executable, "-c", _TWISTD, "-n", "--pidfile=", *self._twistd]
        command = [*twistd, "jobd", "--state-dir", str(self.state), *listen]
        self.urls, self.lines, self._closed = [], [], False
        self._process = subprocess.Popen(
            [*command, *self._options],
            cwd=self.state,
            env=self._child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self.urls) >= len(self._listen), PATIENCE)
        if self._closed or len(self.urls) < len(self._listen):
            self.kill()
            raise DaemonProblem("the daemon did not start:\n" + self.log())

    def stop(self, *, by: signal.Signals = signal.SIGTERM) -> None:
        """
        Stop it as a service manager would, and see that it ended well and
        that no process it had started is left. Does nothing if it is not
        running.

        @raise DaemonProblem: otherwise.
        """
        if self._process is None:
            self._end_workers()
            return
        process, children = self._process, _handles(_descendants(self._process.pid))
        try:
            if process.poll() is None:
                process.send_signal(by)
            try:
                status = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise DaemonProblem("the daemon did not stop:\n" + self.log()) from None
            left = _still_there(children)
        finally:
            _close(children)
        self._finish()
        # twistd stops in good order and then dies of the signal it was stopped by.
        if status not in (0, -by) and sys.platform != "win32":
            raise DaemonProblem(f"the daemon ended with {status}:\n" + self.log())
        if left:
            raise DaemonProblem(f"the daemon left {left} processes behind:\n" + self.log())

    def join(self) -> None:
        """Wait until it has ended by itself."""
        self._running().wait(PATIENCE)
        self._finish()

    def kill(self) -> None:
        """Kill the daemon itself; what it had started is not touched, and goes on with what runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._finish()

    def crash(self) -> None:
        """Kill the daemon, its workers and all that they run, as when the machine fails."""
        self.kill()
        self._end_workers()

    def workers(self) -> list[Path]:
        """The journals of its workers, and of those that earlier daemons on this state have left."""
        folder = self.state / "workers"
        return sorted(path for path in folder.iterdir() if not path.suffix) if folder.is_dir() else []

    def _end_workers(self) -> None:
        """End what workers that have outlived their daemon run, and them."""
        if sweep(map(str, self.workers())):
            raise DaemonProblem("workers would not end")

    def log(self) -> str:
        """What the daemon has printed since its last start."""
        return "".join(self.lines)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise DaemonProblem("the daemon is not running")
        return self._process

    def _child_environment(self) -> dict[str, str]:
        here = str(Path(jobd.__file__).parent.parent)
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        mine = {key: value for key, value in os.environ.items() if not key.startswith("JOBD_")}
        return {**mine, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **self._environment}

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._changed:
                self.lines.append(line)
                if _ANNOUNCES in line:
                    self.urls.append(line.rpartition(_ANNOUNCES)[2].split()[0])
                self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _finish(self) -> None:
        process, self._process = self._process, None
        if process is None or self._reader is None or process.stdout is None:
            return
        # A process left behind could hold the pipe open for ever.
        self._reader.join(5)
        if not self._reader.is_alive():
            process.stdout.close()


@contextlib.contextmanager
def running_daemon(
    *options: str,
    tcp: bool = False,
    listen: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    twistd: Sequence[str] = (),
) -> Iterator[Daemon]:
    """
    A daemon on a fresh state folder while the block runs; the parameters are
    those of L{Daemon}. At the end it is stopped and its folder is removed.

    @raise DaemonProblem: if it does not start, does not stop well, or leaves
        a process behind.
    """
    with tempfile.TemporaryDirectory(prefix="jobd-test-") as folder:
        state = Path(folder).resolve()
        daemon = Daemon(state, *options, listen=listen, tcp=tcp, environment=environment, twistd=twistd)
        daemon.start()
        try:
            yield daemon
        except BaseException:
            with contextlib.suppress(DaemonProblem):
                daemon.stop()
            raise
        daemon.stop()


def _descendants(pid: int) -> list[int]:
    """Ids of the processes below C{pid}, where the system has C{/proc}."""
    if not sys.platform.startswith("linux"):
        return []
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def _handles(pids: Sequence[int]) -> list[int]:
    """A descriptor for each process: unlike its id it can never come to mean another one."""
    handles: list[int] = []
    if sys.platform.startswith("linux") and _HAS_PIDFD:
        for pid in pids:
            with contextlib.suppress(OSError):
                handles.append(os.pidfd_open(pid))
    return handles


def _still_there(handles: Sequence[int]) -> int:
    """
    How many of the processes have not ended. One whose parent has just died
    is given a moment to notice.
    """
    if sys.platform == "win32" or not handles:
        return 0
    left = set(handles)
    poller = select.poll()
    for handle in handles:
        poller.register(handle, select.POLLIN)
    while left and (ended := poller.poll(PATIENCE * 1000)):
        for handle, _ in ended:
            left.discard(handle)
            poller.unregister(handle)
    return len(left)


def _close(handles: Sequence[int]) -> None:
    for handle in handles:
        os.close(handle)
