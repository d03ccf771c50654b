"""The service: nothing is live before it starts, nothing is left after it has stopped."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from jobd.errors import UsageError
from jobd.lock import FolderLock
from jobd.service import JobdService, Options, make_folder, makeService


class Services(TestCase):
    """A service in this process, on the reactor of the tests."""

    timeout = 300

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name).resolve() / "state"

    def make(self, *words: str) -> JobdService:
        options = Options()
        options.parseOptions(["--state-dir", str(self.state), "--workers", "1", *words])
        return makeService(options)

    def stop(self, service: JobdService) -> Deferred[None]:
        return maybeDeferred(service.stopService)

    async def test_nothing_before_the_start(self) -> None:
        """Making a service opens no file, no socket and no thread: twistd forks before it starts."""
        threads = threading.active_count()
        opened = len(os.listdir("/proc/self/fd")) if sys.platform.startswith("linux") else 0
        service = self.make("--listen", f"unix:{self.state}/s")
        self.assertEqual((threads, []), (threading.active_count(), service.urls))
        self.assertEqual([], list(self.state.iterdir()))
        if sys.platform.startswith("linux"):
            self.assertEqual(opened, len(os.listdir("/proc/self/fd")))

    async def test_start_and_stop(self) -> None:
        """It listens and has its state; when it has stopped the socket, the lock and the threads are gone."""
        before = {thread.name for thread in threading.enumerate()}
        service = self.make("--listen", f"unix:{self.state}/s", "--listen", "tcp:0:interface=127.0.0.1")
        service.startService()
        self.assertEqual(["jobd+unix", "jobd"], [url.partition(":")[0] for url in service.urls])
        names = {path.name for path in self.state.iterdir()}
        self.assertLessEqual({"s", "token", "lock", "output", "jobs.sqlite"}, names)
        self.assertRaises(UsageError, FolderLock(self.state).take)
        await self.stop(service)
        self.assertFalse((self.state / "s").exists())
        lock = FolderLock(self.state)
        lock.take()
        lock.release()
        after = {thread.name for thread in threading.enumerate() if "pool" not in thread.name.lower()}
        self.assertEqual(set(), {name for name in after - before if name.startswith("jobd")})

    async def test_again(self) -> None:
        """The state can be used again at once, with the same token."""
        tokens = []
        for _ in range(2):
            service = self.make("--listen", f"unix:{self.state}/s")
            service.startService()
            tokens.append((self.state / "token").read_text())
            await self.stop(service)
        self.assertEqual(tokens[0], tokens[1])

    async def test_a_start_that_fails(self) -> None:
        """A start that fails ends the program with one line, and lets go of all it has taken."""
        service = self.make("--listen", f"unix:{self.state}/s", "--listen", "tcp:0")
        problem = self.assertRaises(SystemExit, service.startService)
        self.assertTrue(str(problem.code).startswith("jobd: refusing to listen on tcp:0"), problem.code)
        lock = FolderLock(self.state)
        lock.take()
        lock.release()
        self.assertFalse(service.running)
        service._clock.stop()
        # The port closes in the next turn; a program that ends does not wait for it.
        while (self.state / "s").exists():
            await deferLater(service._reactor, 0.0)

    async def test_jobs_reach_it(self) -> None:
        """Jobs are told a Unix socket where there is one, though the operator named only TCP."""
        service = self.make("--listen", "tcp:0:interface=127.0.0.1")
        service.startService()
        environment = service._environment(False)
        await self.stop(service)
        self.assertEqual(f"jobd+unix://{self.state}/jobd.sock", environment["JOBD_URL"])
        self.assertNotIn("JOBD_TOKEN_FILE", environment)


class Parts(TestCase):
    """What the service is made of besides."""

    def test_folders(self) -> None:
        """A folder is made for its owner only; one that cannot be made is one clear line."""
        path = Path(self.mktemp()) / "a" / "b"
        make_folder(path)
        self.assertEqual(0o700, path.stat().st_mode & 0o777)
        make_folder(path)
        (path / "file").touch()
        self.assertRaises(UsageError, make_folder, path / "file")
