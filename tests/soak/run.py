"""A daemon, cycles of load on it, and a sample after each."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.daemon import PATIENCE, Daemon
from tests.functional.conversation import Talk
from tests.soak import load, probe
from tests.soak.bystander import Bystander
from tests.soak.fit import percentile
from tests.soak.judge import FEWEST
from tests.soak.samples import Sample

KEEP = 300
"""Jobs that the daemon keeps: fewer than one cycle brings, so that it prunes all the time."""

OPTIONS = ("--workers", "2", "--keep-jobs", str(KEEP))

GIVES_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""
For the GNU C library: what is freed goes back to the system at once. Otherwise the memory of a process is the most that
it has ever needed at a time, in pieces, and it takes some ten thousand jobs until there has been everything at a time
that there can be: in a minute that cannot be told from a leak.
"""

CALM = 5
"""So many looks in a row, a moment apart, must show the same before it counts as a quiet point."""


class Soak:
    """
    @ivar samples: one for each cycle so far.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.samples: list[Sample] = []
        self._daemon = daemon
        self._database = daemon.state / "jobs.sqlite"
        self._started = time.monotonic()
        self._jobs = 0
        self._talk = Talk.unix(daemon)
        self._bystander = Bystander(daemon)

    def cycle(self) -> Sample:
        """One cycle of load, and a look at what it has left."""
        self._bystander.take()
        with self._highest_wal() as highest:
            self._jobs += load.one_cycle(self._daemon, len(self.samples))
        pings = self._bystander.take()
        self._calm_down()
        sample = self._sample(pings, highest[0])
        self.samples.append(sample)
        return sample

    def close(self) -> None:
        """The daemon is not stopped by this."""
        self._bystander.close()
        self._talk.close()

    @contextmanager
    def _highest_wal(self) -> Iterator[list[int]]:
        highest, stop = [0], threading.Event()
        wal = self._database.with_name(self._database.name + "-wal")

        def watch() -> None:
            while not stop.wait(0.05):
                highest[0] = max(highest[0], probe.size(wal))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield highest
        finally:
            stop.set()
            thread.join()

    def _calm_down(self) -> None:
        """Nothing runs, nobody else is connected, and what ends with a job or a connection has ended."""
        end = time.monotonic() + PATIENCE
        same: list[object] = []
        while len(same) < CALM:
            if time.monotonic() > end:
                raise AssertionError(f"the daemon does not come to rest: {self._talk.json('stats')}")
            time.sleep(0.03)
            stats = self._talk.json("stats")
            # The bystander and this connection.
            busy = any(stats["jobs"].values()) or stats["connections"] != 2
            pids = probe.family(self._daemon.pid)
            found = probe.look(pids)
            seen = (found.descriptors, found.threads, found.zombies, pids)
            same = [*same, seen] if not busy and (not same or same[-1] == seen) else []

    def _sample(self, pings: list[float], wal: int) -> Sample:
        pid = self._daemon.pid
        pids = probe.family(pid)
        daemon, workers = probe.look([pid]), probe.look([one for one in pids if one != pid])
        return Sample(
            seconds=round(time.monotonic() - self._started, 3),
            jobs=self._jobs,
            daemon_memory=daemon.memory,
            worker_memory=workers.memory,
            descriptors=daemon.descriptors,
            worker_descriptors=workers.descriptors,
            threads=daemon.threads,
            worker_threads=workers.threads,
            processes=len(pids),
            zombies=daemon.zombies + workers.zombies,
            wal=wal,
            database=probe.size(self._database),
            kept=probe.jobs_kept(self._database),
            files=probe.files(self._daemon.state),
            ping=round(median(pings), 3),
            slow_ping=round(percentile(pings, 0.99), 3),
            worst_ping=round(max(pings), 3),
        )


def soak(
    seconds: float,
    tell: Callable[[Sample], None] = lambda sample: None,
    under: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> list[Sample]:
    """
    Load a new daemon for so long, and for as many cycles as a verdict needs in any case.

    @param tell: called with each sample as it is taken.
    @param under: what starts the daemon, as L{Daemon} has it; so C{environment}.
    """
    with tempfile.TemporaryDirectory(prefix="jobd-test-") as folder:
        daemon = Daemon(Path(folder).resolve(), *OPTIONS, tcp=True, under=under, environment=environment)
        daemon.start()
        try:
            end = time.monotonic() + seconds
            load.fill(daemon)
            running = Soak(daemon)
            try:
                while time.monotonic() < end or len(running.samples) < FEWEST:
                    tell(running.cycle())
            finally:
                running.close()
        finally:
            daemon.stop()
    return running.samples
