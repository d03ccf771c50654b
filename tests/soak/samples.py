"""What is measured: a row for each quiet point."""

from __future__ import annotations

import attrs


@attrs.frozen
class Sample:
    """
    @ivar seconds: since the start.
    @ivar jobs: how many have ended until then.
    @ivar daemon_memory: bytes; those of the workers beside it. So with what follows.
    @ivar processes: the daemon, its workers and whatever they have left.
    @ivar zombies: ended ones that nobody has waited for.
    @ivar wal: bytes of the write-ahead log, as long as it was at any time in the cycle.
    @ivar database: bytes.
    @ivar kept: jobs in it.
    @ivar files: in the state folder.
    @ivar ping: milliseconds, the median of the bystander's in the cycle; C{slow_ping} the 99th of 100.
    """

    seconds: float
    jobs: int
    daemon_memory: int
    worker_memory: int
    descriptors: int
    worker_descriptors: int
    threads: int
    worker_threads: int
    processes: int
    zombies: int
    wal: int
    database: int
    kept: int
    files: int
    ping: float
    slow_ping: float
    worst_ping: float
