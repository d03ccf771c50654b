"""C{drain}: running jobs end first, then the daemon stops by itself."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import PATIENCE, Daemon
from tests.functional.conversation import Fifo, Talk


class Drains(SynchronousTestCase):
    """A daemon of the test's own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        (self.folder / "state").mkdir(mode=0o700)
        self.daemon = Daemon(self.folder / "state", "--workers", "2")
        self.addCleanup(self.daemon.stop)
        self.daemon.start()
        self.talk = Talk.unix(self.daemon)
        self.addCleanup(self.talk.close)

    def wait_for_end(self) -> None:
        """The daemon ends by itself; its end closes every connection."""
        while self.talk.line():
            pass
        assert self.daemon._process is not None
        self.assertEqual(0, self.daemon._process.wait(PATIENCE))

    def test_running_jobs_end_first(self) -> None:
        """What runs may end, what is queued stays for the next start, new jobs are refused, and every end is told."""
        told, gate = Fifo(self.folder / "told"), Fifo(self.folder / "gate")
        self.addCleanup(told.close)
        self.addCleanup(gate.close)
        self.talk.ok('queue one {"limit": 1}')
        script = f"echo x > {told.path}; read x < {gate.path}"
        running = self.talk.submit(shell=script, cpus=0, queue="one")
        queued = self.talk.submit(argv=["true"], cpus=0, queue="one")
        told.wait()
        self.assertEqual("1", self.talk.ok("drain"))
        self.assertEqual("error DRAINING the daemon is draining and accepts no more jobs", self.talk.ask("run true"))
        self.assertEqual(
            f"job {queued} is queued: the daemon is draining and starts nothing more", self.talk.ok(f"why {queued}")
        )
        self.assertTrue(self.talk.json("stats")["draining"])
        gate.release()
        self.assertEqual("succeeded", self.talk.end_of(running).state)
        self.wait_for_end()
        self.daemon.stop()
        self.daemon.start()
        with Talk.unix(self.daemon) as talk:
            talk.ok(f"wait {queued}")
            self.assertEqual("succeeded", talk.end_of(queued).state)

    def test_an_idle_daemon(self) -> None:
        """One that runs nothing stops at once, after its reply."""
        self.assertEqual("0", self.talk.ok("drain"))
        self.wait_for_end()

    def test_cancel_while_draining(self) -> None:
        """What runs for too long may be cancelled."""
        job_id = self.talk.submit(argv=["sleep", "1000"], cpus=0)
        self.talk.ok("drain")
        self.talk.ok(f"cancel {job_id}")
        self.assertEqual("cancelled", self.talk.end_of(job_id).state)
        self.wait_for_end()

    def test_several(self) -> None:
        """Of many that run each is told, then the daemon stops."""
        text = json.dumps([{"shell": "sleep 0.$JOBD_JOB_ID", "cpus": 0}] * 9)
        self.talk.ok(f"submit {text}")
        self.assertLessEqual(int(self.talk.ok("drain")), 9)
        self.assertEqual(list(range(1, 10)), sorted(event.job_id for event in self.talk.events(9)))
        self.wait_for_end()
