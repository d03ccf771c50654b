"""
What may grow by how much. A quantity is judged by what it has grown by from the end of the warm-up to the end of the
run, by L{theil_sen}'s low estimate: noise is no growth, and neither is a step or a peak that is gone again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import attrs

from tests.soak.fit import Slope, theil_sen
from tests.soak.samples import Sample

MIB = 1 << 20

WARM_UP = 0.25
"""The share of the samples in which caches and pools are filled."""

FEWEST = 12
"""Samples without which there is no verdict."""


@attrs.frozen
class Quantity:
    """
    @ivar get: a sample's value of it, in C{unit}.
    @ivar growth: how much more of it there may be at the end of a run than after its warm-up, however long it took.
    @ivar most: what it may be at any time; None: it is judged by its growth alone.
    @ivar timed: it depends on who else is busy on this machine, so only a long run tells anything.
    """

    name: str
    unit: str
    get: Callable[[Sample], float]
    growth: float
    most: float | None = None
    timed: bool = False


QUANTITIES = (
    Quantity("memory of the daemon", "MiB", lambda sample: sample.daemon_memory / MIB, 16.0, 512.0),
    Quantity("memory of the workers", "MiB", lambda sample: sample.worker_memory / MIB, 16.0),
    Quantity("descriptors of the daemon", "", lambda sample: sample.descriptors, 0.9),
    Quantity("descriptors of the workers", "", lambda sample: sample.worker_descriptors, 0.9),
    Quantity("threads of the daemon", "", lambda sample: sample.threads, 3.0, 24),
    Quantity("threads of the workers", "", lambda sample: sample.worker_threads, 3.0, 96),
    Quantity("processes", "", lambda sample: sample.processes, 0.9, 5),
    Quantity("zombies", "", lambda sample: sample.zombies, 0.0, 0),
    Quantity("write-ahead log", "MiB", lambda sample: sample.wal / MIB, 16.0, 128.0),
    Quantity("database", "MiB", lambda sample: sample.database / MIB, 4.0, 128.0),
    Quantity("jobs kept", "", lambda sample: sample.kept, 50.0, 1200),
    Quantity("files in the state folder", "", lambda sample: sample.files, 20.0, 400),
    Quantity("ping under load, median", "ms", lambda sample: sample.ping, 50.0, 2000.0, timed=True),
)
"""Limits that a noisy machine with two cores keeps, and no leak does for long."""


@attrs.frozen
class Verdict:
    """
    @ivar slope: growth for each job.
    @ivar grown: by how much it has grown in the run, at least, after the warm-up.
    @ivar first, last: medians of the first and the last third after the warm-up.
    """

    quantity: Quantity
    slope: Slope
    grown: float
    first: float
    last: float
    highest: float

    @property
    def good(self) -> bool:
        """Whether it keeps its limits."""
        most = self.quantity.most
        return self.grown <= self.quantity.growth and (most is None or self.highest <= most)


def judge(samples: Sequence[Sample], timed: bool = True) -> list[Verdict]:
    """
    A verdict on each quantity.

    @param timed: also on times. In a minute they say more about this machine's other work than about the daemon.
    @raise ValueError: there are too few samples.
    """
    if len(samples) < FEWEST:
        raise ValueError(f"{len(samples)} samples are too few: {FEWEST} are needed")
    warm = samples[int(len(samples) * WARM_UP) :]
    jobs = [float(sample.jobs) for sample in warm]
    return [
        _verdict(quantity, jobs, [quantity.get(sample) for sample in warm])
        for quantity in QUANTITIES
        if timed or not quantity.timed
    ]


def _verdict(quantity: Quantity, jobs: Sequence[float], values: Sequence[float]) -> Verdict:
    slope = theil_sen(jobs, values)
    third = max(1, len(values) // 3)
    return Verdict(
        quantity,
        slope,
        max(0.0, slope.low * (jobs[-1] - jobs[0])),
        median(values[:third]),
        median(values[-third:]),
        max(values),
    )
