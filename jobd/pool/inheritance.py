"""
The workers that have outlived the daemon that started them, and what those have left that have not.

Their journals are read. To a worker that lives the link is taken up again; of one that is dead it is settled what
its journal tells. What nobody can tell of is lost, but not before a program has ended whatever may still run of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

from jobd.actions import Start
from jobd.alarm import Clock, Timer
from jobd.job import BY_WORD, Lane, State
from jobd.pool.adopted import AdoptedWorker
from jobd.pool.estate import Estate
from jobd.pool.journals import Found, Journals
from jobd.pool.worker import Attempt, Owner
from jobd.worker.sweep import MARK

Outcome = dict[str, Any]

SWEEP_TRIES, SWEEP_PAUSE = 20, 0.5
"""How often, and with which pause in seconds, the program that ends what is left is tried to be started."""

RETRY = 0.2
"""Seconds until a worker that cannot be reached is tried again: it is on its way to its end, or too busy."""


class Heir(Owner, Protocol):
    """The pool, as it is needed here."""

    def settled(self, start: Start, state: State, wall: float, outcome: bytes) -> None:
        """An attempt has ended while there was no daemon."""

    def unbegun(self, start: Start) -> None:
        """An attempt was never begun."""

    def lost(self, start: Start, outcome: Outcome) -> None:
        """Nobody knows what became of an attempt, and nothing of it runs any more."""

    def adopted(self, worker: AdoptedWorker) -> None:
        """A worker has told what it runs."""

    def buried(self, found: Found) -> None:
        """A dead worker's journal has been read."""

    def left(self) -> None:
        """One that was adopted is gone, and all is settled that it had."""


class Inheritance:
    """
    @ivar workers: those that are linked.
    @ivar spent: the journals of dead workers, of which all has been reported.
    """

    def __init__(self, reactor: Any, clock: Clock, journals: Journals, heir: Heir) -> None:
        self.workers: set[AdoptedWorker] = set()
        self.spent: list[str] = []
        self._reactor = reactor
        self._clock = clock
        self._journals = journals
        self._heir = heir
        self._estate = Estate((), ())
        self._tries: set[Timer] = set()
        self._ends: set[Timer] = set()
        self._sweeps = 0

    @property
    def busy(self) -> bool:
        """Something is still to be reported of workers that were linked."""
        return bool(self.workers or self._ends or self._sweeps)

    def take(self, running: Sequence[Start]) -> None:
        """Before any worker is started: find out what has become of what was running when the last daemon ended."""
        found = self._journals.find()
        self._estate = Estate(running, found)
        for one in found:
            self._attend(one)
        self._settle()

    def bequeath(self, lane: Lane) -> tuple[str, list[str], dict[str, str]]:
        """
        For a worker that is to be started: its name, and what is to be added to its arguments and to its environment so
        that what it starts, and by its journal it itself, is found again.
        """
        name = self._journals.new(lane)
        return name, ["--journal", self._journals.path(name)] if self._journals else [], {MARK: name}

    def forget(self, names: Sequence[str]) -> None:
        """All that was reported of these is kept."""
        self._journals.remove(names)

    def close(self) -> None:
        """Look no more for what could not be reached: to find that out is left to the next daemon."""
        for timer in self._tries:
            timer.cancel()
        self._tries.clear()

    def awaits(self, attempt: Attempt) -> bool:
        """It is not known yet what has become of it."""
        return attempt in self._estate.open

    # One worker after the other.

    def _attend(self, found: Found) -> None:
        if not found.alive:
            self._bury(found)
            return
        connection = self._journals.connect(found.name)
        if connection is None:
            self._later(self._tries, found.name)
            return
        worker = AdoptedWorker(found, self._clock, self._heir, self._estate, self._answered, self._journals)
        self.workers.add(worker)
        with connection:
            self._reactor.adoptStreamConnection(connection.fileno(), connection.family, _Only(worker))

    def _later(self, timers: set[Timer], name: str) -> None:
        def due() -> None:
            timers.discard(timer)
            self._attend(self._journals.look(name))
            self._settle()
            self._heir.left()

        timer = self._clock.callLater(RETRY, due)
        timers.add(timer)

    def _answered(self, worker: AdoptedWorker) -> None:
        self._estate.answered(worker.name)
        self._heir.adopted(worker)
        self._settle()

    def gone(self, worker: AdoptedWorker) -> None:
        """The link to it has ended: it is dead, or will be in a moment."""
        self.workers.discard(worker)
        self._estate.reopen(worker.name, worker.lane, list(worker.inflight.values()))
        worker.inflight.clear()
        found = self._journals.look(worker.name)
        if found.alive:
            self._later(self._ends, worker.name)
        else:
            self._bury(found)
            self._settle()
            self._heir.left()

    def _bury(self, found: Found) -> None:
        for attempt, line in found.reports.items():
            start = self._estate.claim(attempt)
            if start is not None:
                _, _, _, word, wall, outcome = line.split(b" ", 5)
                self._heir.settled(start, BY_WORD[word.decode()], float(wall), outcome)
        self._heir.buried(found)
        if not self._estate.died(found):
            self.spent.append(found.name)

    def _settle(self) -> None:
        settlement = self._estate.settle()
        for start in settlement.unbegun:
            self._heir.unbegun(start)
        if settlement.lost or settlement.ended or settlement.suspects:
            error = "its worker was gone when the daemon came back"
            lost = [(start, {"error": error}) for start in settlement.lost]
            self.sweep(settlement.suspects, lost, settlement.ended)

    def tidy(self, name: str) -> bool:
        """Whether it is certain that a worker of this daemon that has ended has left nothing running."""
        try:
            return self._journals.look(name).tidy
        except OSError:
            return False

    def sweep(self, names: set[str], lost: Sequence[tuple[Start, Outcome]], ended: Sequence[Start] = ()) -> None:
        """Report these as lost or as handed back, once nothing is left of what these dead workers have started."""

        def swept(clean: bool) -> None:
            self._sweeps -= 1
            for start, outcome in lost:
                if not clean:
                    outcome["error"] += "; some of what it ran would not end"
                self._heir.lost(start, outcome)
            for start in ended:
                self._heir.unbegun(start)
            # Not sooner: until then it says that this worker may have begun them.
            self.spent += names
            self._heir.left()

        self._sweeps += 1
        if sys.platform == "linux" and names:
            paths = map(self._journals.path, sorted(names))
            self._start_sweep([sys.executable, "-m", "jobd.worker.sweep", *paths], swept, SWEEP_TRIES)
        else:
            swept(True)

    def _start_sweep(self, program: list[str], swept: Callable[[bool], None], tries: int) -> None:
        try:
            self._reactor.spawnProcess(_Sweep(swept), sys.executable, program, env=os.environ)
        except OSError:
            # The system has no room for one more process.
            if tries:
                self._clock.callLater(SWEEP_PAUSE, self._start_sweep, program, swept, tries - 1)
            else:
                swept(False)


class _Only(Factory):
    """For one connection."""

    noisy = False

    def __init__(self, worker: AdoptedWorker) -> None:
        self._worker = worker

    def buildProtocol(self, addr: IAddress | None) -> AdoptedWorker:
        return self._worker


class _Sweep(ProcessProtocol):
    """The program that ends what dead workers have left."""

    def __init__(self, swept: Callable[[bool], None]) -> None:
        self._swept = swept

    def processEnded(self, reason: Failure) -> None:
        self._swept(isinstance(reason.value, ProcessDone))
