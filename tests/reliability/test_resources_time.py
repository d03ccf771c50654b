"""The wall clock jumps: timeouts, retries and everything else that takes its time do not notice."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from jobd.events import Finished, Now
from jobd.job import State
from jobd.testing import WALL, FakePool, MemoryDaemon
from tests.daemon import Daemon
from tests.functional.conversation import Fifo, Talk
from tests.reliability.measures import comes_to_rest

DAY = 86_400.0

SHIFT = """
import time

_real = time.time

def _shifted():
    with open({path!r}) as file:
        return _real() + float(file.read() or 0)

time.time = _shifted
"""
"""Python runs this before anything else in the daemon and its workers: their wall clock goes as a file says."""


class Jumps(SynchronousTestCase):
    """A daemon whose wall clock a test can set."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        for name in ("state", "python"):
            (self.folder / name).mkdir(mode=0o700)
        self.shift = self.folder / "shift"
        self.set_clock(0.0)
        (self.folder / "python" / "sitecustomize.py").write_text(SHIFT.format(path=str(self.shift)))
        self.daemon = Daemon(
            self.folder / "state", "--workers", "2", environment={"PYTHONPATH": self.path(self.folder / "python")}
        )
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.talk = Talk.unix(self.daemon)
        self.addCleanup(self.talk.close)

    def path(self, first: Path) -> str:
        return ":".join([str(first), str(Path(__file__).parent.parent.parent), *filter(None, sys.path)])

    def set_clock(self, seconds: float) -> None:
        """By so many seconds it is wrong now."""
        written = self.shift.with_name("written")
        written.write_text(str(seconds))
        written.rename(self.shift)

    def fifo(self, name: str) -> Fifo:
        fifo = Fifo(self.folder / name)
        self.addCleanup(fifo.close)
        return fifo

    def jump(self, by: float) -> None:
        """
        With a job running that may take long, one that may not, and one that waits for its next attempt: the
        first goes on, the second is ended when its own time is over, the third is tried again when its pause is.
        """
        told, gate = self.fifo(f"told{by}"), self.fifo(f"gate{by}")
        patient = self.talk.submit(shell=f"echo x > {told.path}; read x < {gate.path}", timeout=DAY / 2, cpus=0)
        told.wait()
        before = self.talk.json(f"show {patient}")["started"]
        short = self.talk.submit(shell=f"echo x > {told.path}; sleep 1000", timeout=5, grace=0, cpus=0)
        told.wait()
        flag = self.folder / f"flag{by}"
        again = self.talk.submit(shell=f"[ -e {flag} ] || {{ touch {flag}; exit 1; }}", attempts=2, backoff=1, cpus=0)
        begun = time.monotonic()
        self.set_clock(by)
        self.assertEqual("timed_out", self.talk.end_of(short).state)
        self.assertEqual(
            ("succeeded", 2), (lambda event: (event.state, event.json["attempt"]))(self.talk.end_of(again))
        )
        self.assertLess(time.monotonic() - begun, 60)
        self.assertEqual("running", self.talk.state(patient))
        gate.release()
        event = self.talk.end_of(patient)
        self.assertEqual("succeeded", event.state)
        self.assertLess(event.json["wall"], 60)
        # The jump has reached the daemon: it shows in the stamps.
        ended = self.talk.json(f"show {patient}")["ended"]
        self.assertGreater((ended - before) / by, 0.9)
        for lane in ("cpu", "io"):
            self.assertEqual("succeeded", self.talk.run(call="math:sqrt", args=[2], lane=lane, timeout=60).state)
        comes_to_rest(self.daemon.pid)

    def test_a_day_forward(self) -> None:
        """Set forward by a day."""
        self.jump(DAY)

    def test_a_day_back(self) -> None:
        """Set back by a day."""
        self.jump(-DAY)


class Pauses(SynchronousTestCase):
    """In memory, with time that passes when the test says so."""

    def test_pause_before_the_next_attempt(self) -> None:
        """The pause before the next attempt is as long as it was to be, wherever the wall clock has gone meanwhile."""
        for by in (DAY, -DAY):
            daemon = MemoryDaemon(pool=FakePool(cpus=2))
            scheduler = daemon.scheduler
            client = daemon.connect()
            client.send('submit {"argv": ["a"], "attempts": 2, "backoff": 1000, "notify": false}')
            daemon.pool.finish(1, exit_code=1)
            daemon.settle()
            steady = daemon.clock.seconds()
            # Something happens under the new time: what was noted is not looked at in another light.
            scheduler.handle(Finished(1, 1, State.FAILED, b"{}"), Now(steady, WALL + by))
            self.assertEqual(steady + 1000, scheduler.next_deadline())
            daemon.advance(999)
            self.assertEqual(State.WAITING, scheduler.jobs[1].state)
            daemon.advance(2)
            self.assertEqual((State.RUNNING, 2), (scheduler.jobs[1].state, scheduler.jobs[1].attempt))
