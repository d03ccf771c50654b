"""
The daemon as it is, made to kill itself with SIGKILL at a point that has a name. What it does up to there is
C{twistd jobd}'s own doing: the points lie at the seams, in wrappers that this program puts around them. Only that jobs
are far from their turn begins with a few jobs instead of many thousands, so that they die there, too.

    python -m tests.torture.victim POINT PASSAGE now|signal SABOTAGE twistd's options

C{signal}: passages are counted only once SIGUSR1 has come. A POINT of C{-} is none.

    batch given      the store gets a batch, and has done nothing with it
    in transaction   the batch is written, and its transaction not yet committed
    syncing          a moment later, inside the commit
    committed        the batch is on disk, and nothing that waited for it is done
    replying         the same for one reply: some that stand before it may have left
    replied          all that waited for a batch is done: replies, starts, announcements
    starting         an attempt that is on disk as begun is to be given to its worker
    started          it has been
    reported         a worker's report is there, and nothing is done with it
    announcing       a finish is on disk, and nobody was told
    kept             reports are on disk, and their workers do not know it
    store opened     a new daemon has read its store
    pool opened      it has looked for what still runs
    stopping         it was told to stop, and its workers were not
    handed back      it stops, and a worker has handed a job back
    store closing    it stops, and only the store is still open

SABOTAGE takes something away that the product has, to show that the loop would notice; C{-} takes nothing:

    early            replies leave before what they promise is on disk
    stale            reports of attempts that are over come a second time while the next attempt runs
    unfenced         the same, and the scheduler takes them
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any

from jobd import actions
from jobd.actions import Start
from jobd.daemon import Daemon
from jobd.events import Finished, Returned
from jobd.job import Job, State
from jobd.pool.processes import ProcessPool
from jobd.scheduler import Scheduler
from jobd.store.sqlite import SqliteStore

DURING_SYNC = 0.0005
"""Seconds from the order to commit to the death inside it."""

NEAR = 20
"""So many jobs are kept whole."""

HELD = 0.1
"""Seconds that C{early} holds a batch back."""


class Trap:
    """
    @param name: the point at which it is set.
    @param passage: it kills at this passage.
    @ivar armed: passages count.
    """

    def __init__(self, name: str, passage: int, armed: bool) -> None:
        self.name = name
        self.armed = armed
        self._left = passage

    def arm(self, *signalled: object) -> None:
        self.armed = True

    def sprung(self, name: str) -> bool:
        """The daemon passes this point: whether it is to die now."""
        if name != self.name or not self.armed:
            return False
        self._left -= 1
        return self._left == 0

    def passes(self, name: str) -> None:
        if self.sprung(name):
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replace(owner: type, method: str, make: Callable[[Any], Callable[..., Any]]) -> None:
    """Put in the place of a method what C{make} makes of it."""
    setattr(owner, method, make(getattr(owner, method)))


def before(owner: type, method: str, act: Callable[..., object]) -> None:
    """Call C{act} with the same arguments before each call of a method."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            act(*args)
            return original(*args, **kwargs)

        return wrapped

    replace(owner, method, make)


def after(owner: type, method: str, act: Callable[..., object]) -> None:
    """The same, after each call."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            act(*args)
            return found

        return wrapped

    replace(owner, method, make)


def set_points(trap: Trap) -> None:
    """Put the points into the daemon's classes."""
    set_store_points(trap)
    before(Daemon, "_reply", lambda *_: trap.passes("replying"))
    after(Daemon, "_perform", lambda *_: trap.passes("replied"))
    before(Daemon, "_announce", lambda *_: trap.passes("announcing"))
    before(ProcessPool, "start", lambda *_: trap.passes("starting"))
    begun: list[Start] = []
    before(ProcessPool, "start", lambda pool, start: begun.append(start))

    def flushed(pool: ProcessPool) -> None:
        if begun:
            begun.clear()
            trap.passes("started")

    after(ProcessPool, "flush", flushed)
    before(ProcessPool, "kept", lambda pool, heard: trap.passes("kept" if any(heard) else ""))
    after(ProcessPool, "open", lambda *_: trap.passes("pool opened"))
    stopping: list[bool] = []
    before(ProcessPool, "close", lambda *_: trap.passes("stopping"))
    before(ProcessPool, "close", lambda *_: stopping.append(True))

    def reported(report: object) -> None:
        if isinstance(report, Finished | Returned):
            trap.passes("reported")
        if stopping and isinstance(report, Returned):
            trap.passes("handed back")

    on_report(lambda pool, report: reported(report))


def set_store_points(trap: Trap) -> None:
    after(SqliteStore, "open", lambda *_: trap.passes("store opened"))
    before(SqliteStore, "close", lambda *_: trap.passes("store closing"))
    replace(SqliteStore, "commit", lambda commit: committing(commit, trap))
    if trap.name in ("in transaction", "syncing"):
        replace(SqliteStore, "_connect", lambda connect: lambda store: traced(connect(store), trap))


def committing(commit: Callable[..., None], trap: Trap) -> Callable[..., None]:
    """C{Store.commit}, with a point before it and one after the batch is safe."""

    def wrapped(store: SqliteStore, batch: Any, done: Callable[[Exception | None], None]) -> None:
        def committed(problem: Exception | None) -> None:
            trap.passes("committed")
            done(problem)

        trap.passes("batch given")
        commit(store, batch, committed)

    return wrapped


def traced(database: sqlite3.Connection, trap: Trap) -> sqlite3.Connection:
    """With points where a transaction is committed."""

    def seen(statement: str) -> None:
        if statement == "COMMIT":
            trap.passes("in transaction")
            if trap.sprung("syncing"):
                threading.Timer(DURING_SYNC, die).start()

    database.set_trace_callback(seen)
    return database


def on_report(act: Callable[[ProcessPool, object], None]) -> None:
    """Have each report of the pool seen before the daemon gets it."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        def opened(pool: ProcessPool, report: Callable[..., None], *rest: Any) -> None:
            def seen(*reports: Any) -> None:
                for one in reports:
                    act(pool, one)
                    report(one)

            original(pool, seen, *rest)

        return opened

    replace(ProcessPool, "open", make)


# What is taken away.


def answer_early() -> None:
    """Replies leave first, then, after a while, what they promise is given to the store."""

    def make(commit: Callable[..., None]) -> Callable[..., None]:
        def early(daemon: Daemon, kept: list[Any], rest: list[Any], heard: list[Any]) -> None:
            replies = [action for action in rest if isinstance(action, actions.Reply | actions.Refuse)]
            daemon._perform(list(replies), [])
            others = [action for action in rest if not isinstance(action, actions.Reply | actions.Refuse)]
            daemon.clock.callLater(HELD, commit, daemon, kept, others, heard)

        return early

    replace(Daemon, "_commit", make)


def repeat_reports() -> None:
    """Reports of attempts that were not the last come again once the next attempt has begun."""
    over: dict[int, tuple[ProcessPool, Finished]] = {}

    def seen(pool: ProcessPool, report: object) -> None:
        if isinstance(report, Finished) and report.state is not State.SUCCEEDED:
            over[report.job_id] = (pool, report)

    def begun(pool: ProcessPool, start: Start) -> None:
        if start.job_id in over:
            _, stale = over.pop(start.job_id)
            pool._clock.callLater(0.0, pool._report, stale)

    on_report(seen)
    after(ProcessPool, "start", begun)


def take_fence_down() -> None:
    """Any report for a job that runs is taken, whichever attempt it is of."""

    def current(scheduler: Scheduler, job_id: int, attempt: int, out: list[Any]) -> Job | None:
        job = scheduler.jobs.get(job_id)
        return job if job is not None and job.state is State.RUNNING else None

    replace(Scheduler, "_current", lambda original: current)


SABOTAGES: dict[str, tuple[Callable[[], None], ...]] = {
    "-": (),
    "early": (answer_early,),
    "stale": (repeat_reports,),
    "unfenced": (repeat_reports, take_fence_down),
}


def main(point: str, passage: str, when: str, sabotage: str, *options: str) -> None:
    """The program."""
    trap = Trap(point, int(passage), when == "now")
    signal.signal(signal.SIGUSR1, trap.arm)
    set_points(trap)
    replace(Scheduler, "__init__", lambda original: lambda scheduler, cpus, near: original(scheduler, cpus, NEAR))
    for take_away in SABOTAGES[sabotage]:
        take_away()
    sys.argv = ["twistd", *options]
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main(*sys.argv[1:])
