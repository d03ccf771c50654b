"""
The C{twistd} plugin's side: options, and the wiring of all parts. Nothing is live before
C{startService}: C{twistd} forks between that and C{makeService}.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python import usage

import jobd
from jobd import listening, verbs
from jobd.access import Access
from jobd.alarm import SteadyClock
from jobd.daemon import Daemon
from jobd.errors import JobdError, UsageError
from jobd.lock import FolderLock
from jobd.outputs import Outputs
from jobd.pool.processes import ProcessPool
from jobd.scheduler import NEAR, Scheduler
from jobd.server import SessionFactory
from jobd.session import ServerInfo
from jobd.settings import NAMES, Settings, from_options
from jobd.store import Store
from jobd.store.memory import MemoryStore
from jobd.store.sqlite import SqliteStore

SECONDS_A_DAY = 86_400.0


class Options(usage.Options):
    """What C{twistd jobd} takes. A wrong option ends the program with one line."""

    synopsis = "[options]"
    longdesc = "A job daemon you talk to over a socket. Without any option it works for the user who starts it."
    optParameters: ClassVar[list[list[str | None]]] = [
        ["state-dir", None, None, "Folder for jobs, output and token [the user's state folder]"],
        ["workers", None, None, "How many jobs run at a time [one for each usable core]"],
        ["token-file", None, None, "What TCP clients must know; made if missing [token in the state folder]"],
        ["tls-key", None, None, "Private key, PEM: TCP listeners speak TLS"],
        ["tls-cert", None, None, "Certificate and its chain, PEM"],
        ["tls-client-ca", None, None, "Clients must show a certificate signed by this authority, PEM"],
        ["durability", None, None, "What an 'ok' promises: commit (on disk), os, memory [commit]"],
        ["pickle", None, None, "From where pickled calls are accepted: local, all, none [local]"],
        ["on-stop", None, None, "What a stop does with running jobs: kill (they begin again later), keep [kill]"],
        ["output-limit", None, None, "How much of each stream of a job's output is kept, as 100M; none: all [1G]"],
        ["keep-jobs", None, None, "How many ended jobs are kept [100000]"],
        ["keep-days", None, None, "For how long [30]"],
        ["config", None, None, "TOML file with these options under the same names"],
    ]
    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Twisted server endpoint string; repeatable [a Unix socket, and TCP on 127.0.0.1:7733]"""
        self["listen"].append(endpoint)

    def parseOptions(self, options: Any = None) -> None:
        try:
            super().parseOptions(options)
        except usage.UsageError as problem:
            sys.exit(f"jobd: {problem}")

    def postOptions(self) -> None:
        given = {name: self[name] for name in NAMES if self.get(name)}
        try:
            self.settings = from_options(given, Path(self["config"]) if self["config"] else None)
        except UsageError as problem:
            sys.exit(f"jobd: {problem}")


class JobdService(Service):
    """The whole daemon, from C{startService} to C{stopService}."""

    log = Logger()

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self.settings = settings
        self._reactor = reactor
        self._lock = FolderLock(settings.state_dir)
        self._ports: list[IListeningPort] = []
        self._clock = SteadyClock(reactor.callFromThread)
        self._keep = settings.on_stop == "keep"
        self.urls: list[str] = []

    def startService(self) -> None:
        """
        Take the state, listen, begin to work. What cannot be had ends the
        program with one line.
        """
        try:
            self._start()
        except JobdError as problem:
            for port in self._ports:
                port.stopListening()
            self._lock.release()
            sys.exit(f"jobd: {problem}")
        super().startService()

    def _start(self) -> None:
        settings = self.settings
        make_folder(settings.state_dir)
        make_folder(settings.output_dir)
        self._lock.take()
        token = listening.make_token(settings.token_path)
        tls = listening.tls_options(settings)
        self._clock.start()
        outputs = Outputs(str(settings.output_dir))
        info = ServerInfo(jobd.__version__, str(settings.state_dir), self._clock.seconds(), self._clock)
        self._daemon = Daemon(
            # With durability memory the store has them here as well.
            Scheduler(settings.workers, NEAR if settings.durability != "memory" else sys.maxsize),
            self._make_store(),
            self._clock,
            self._reactor.callFromThread,
            self._broken,
            self._drained,
        )
        most = listening.most_connections(settings.workers)
        self._factory = SessionFactory(self._daemon, outputs, Access(token, settings.pickle), info, verbs.VERBS, most)
        self._listen(tls)
        self._pool = ProcessPool(
            self._reactor,
            self._clock,
            settings.workers,
            str(settings.output_dir),
            self._environment(tls is not None),
            str(settings.journals_dir or ""),
            settings.output_limit,
            self._daemon.at_once,
        )
        self._daemon.retention.forgotten = lambda gone: self._reactor.callInThread(outputs.remove, gone)
        self._daemon.open(self._pool)
        self._daemon.retention.keep(settings.keep_jobs, settings.keep_days * SECONDS_A_DAY)
        self._daemon.retention.prune_regularly()
        self._tell()
        spare_the_collector()

    def _make_store(self) -> Store:
        if self.settings.durability == "memory":
            return MemoryStore()
        synced = self.settings.durability == "commit"
        return SqliteStore(self.settings.state_dir / "jobs.sqlite", synced, self._reactor.callFromThread)

    def _listen(self, tls: Any) -> None:
        descriptions = list(self.settings.listen) or listening.default_endpoints()
        inner = self.settings.state_dir / "jobd.sock"
        if not any(text.startswith("unix:") for text in descriptions) and sys.platform != "win32":
            # Jobs reach their daemon by it, whatever the other listeners are.
            if len(os.fsencode(inner)) <= listening.LONGEST_SOCKET_PATH:
                descriptions.append(listening.unix_endpoint(inner))
        for description, endpoint in listening.parse_endpoints(descriptions, self._reactor):
            port = listening.listen(description, endpoint, self._factory, tls)
            self._ports.append(port)
            self.urls.append(listening.url_of(port.getHost(), tls is not None))

    def _environment(self, tls: bool) -> dict[str, str]:
        """What every job finds: how to reach this daemon."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBD_")}
        url = next((url for url in self.urls if url.startswith("jobd+unix:")), self.urls[0])
        environment["JOBD_URL"] = url
        if not url.startswith("jobd+unix:"):
            environment["JOBD_TOKEN_FILE"] = str(self.settings.token_path)
        return environment

    def _tell(self) -> None:
        for url in self.urls:
            self.log.info("listening on {url}", url=url)
        self.log.info("state in {folder}", folder=str(self.settings.state_dir))
        if any(not url.startswith("jobd+unix:") for url in self.urls):
            self.log.info("clients over TCP need the token in {file}", file=str(self.settings.token_path))
        self.log.info("try: jobctl --url {url} run echo hello", url=self.urls[0])

    def _drained(self, keep: bool) -> None:
        self._keep = self._keep or keep
        self.log.info("stopping, and leaving what runs to the next daemon" if keep else "drained; stopping")
        self._reactor.stop()

    def _broken(self, problem: Exception) -> None:
        # Nothing can be promised any more, so nothing more is said: not even goodbye.
        self.log.critical("{problem}; stopping at once", problem=problem)
        print(f"jobd: {problem}; stopping at once", file=sys.stderr, flush=True)
        os._exit(1)

    def stopService(self) -> defer.Deferred[None]:
        super().stopService()
        return defer.Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for port in self._ports:
            await defer.maybeDeferred(port.stopListening)
        await self._daemon.close(self._keep)
        await self._factory.close()
        self._clock.stop()
        self._lock.release()


def spare_the_collector() -> None:
    """
    The daemon makes very many small objects without cycles. Left to itself the collector would walk
    over all queued jobs again and again; what is there now it need never look at.
    """
    sys.setswitchinterval(0.0001)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


def make_folder(folder: Path) -> None:
    """
    @raise UsageError: it is not there and cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"the folder {folder} cannot be made: {problem.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"the folder {folder} cannot be written to")


def makeService(options: Options) -> JobdService:
    """What the plugin names."""
    from twisted.internet import reactor

    try:
        listening.parse_endpoints(list(options.settings.listen), reactor)
        make_folder(options.settings.state_dir)
        listening.tls_options(options.settings)
    except UsageError as problem:
        sys.exit(f"jobd: {problem}")
    return JobdService(options.settings, reactor)
