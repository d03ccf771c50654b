"""The pool of this machine's processes: call workers, one io worker, one runner of commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from jobd import wire
from jobd.actions import Kill, Start
from jobd.alarm import Clock, Timer
from jobd.events import Capacity, Finished, Long, Returned, Stuck
from jobd.job import COMMAND, CPU, SUCCEEDED, Lane, State
from jobd.pool import Report, Tell
from jobd.pool.adopted import AdoptedWorker
from jobd.pool.depth import CALL, COMMANDS, MOST_CALLS, MOST_COMMANDS, Depth
from jobd.pool.inheritance import Inheritance
from jobd.pool.journals import Found, Journals
from jobd.pool.shortage import Shortage
from jobd.pool.worker import Attempt, SpawnedWorker, Worker
from jobd.worker.gate import begun_of
from jobd.worker.output import claim_output, discard_scratch
from jobd.worker.unsent import Shared

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorProcess

PROGRAMS = {Lane.COMMAND: "jobd.worker.runner", Lane.CPU: "jobd.worker.call", Lane.IO: "jobd.worker.io"}

OVERDUE = 2.0
"""Seconds after a grace period when a worker that did not end its call itself is killed."""

STUCK = 5.0
"""Seconds after that when a worker that is still there hangs in the kernel."""

HEAVIEST = 1 << 30
"""More than any worker's load."""

PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a worker is started anew that died before it was ready: the first time, and at most."""

COMPLAIN = 60.0
"""Seconds between two lines in the log that the system has no room."""

STOP = 30.0
"""Seconds for the workers to end everything when the daemon stops; then they are killed."""


def _simply(happen: Callable[[bytes], object], data: bytes) -> None:
    happen(data)


class ProcessPool:
    """
    @param cpus: places for work that needs a processor, and the number of call workers.
    @param output: the folder for the jobs' output.
    @param environment: of the workers, and so of the jobs.
    @param journals: the folder by which workers are found again that have outlived their daemon; none: all that runs
        ends with the daemon.
    @param limit: how many bytes of each output stream of an attempt are kept; 0: all.
    @param at_once: calls a function with what was read in one piece: L{jobd.daemon.Daemon.at_once}.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorProcess,
        clock: Clock,
        cpus: int,
        output: str,
        environment: Mapping[str, str],
        journals: str = "",
        limit: int = 0,
        at_once: Callable[[Callable[[bytes], object], bytes], None] = _simply,
    ) -> None:
        self.at_once = at_once
        self._reactor = reactor
        self._clock = clock
        self._cpus = cpus
        self._output = output
        self._options = ["--output", output, *(["--output-limit", str(limit)] if limit else [])]
        self._environment = dict(environment)
        self._workers: dict[Lane, list[SpawnedWorker]] = {lane: [] for lane in Lane}
        self._waiting: dict[Lane, list[Start]] = {lane: [] for lane in Lane}
        self._touched: set[Worker] = set()
        self._pauses = dict.fromkeys(Lane, PAUSE)
        self._shortages = {lane: Shortage() for lane in Lane}
        self._complained = float("-inf")
        self._depth = Depth(MOST_CALLS, CALL)
        self._ahead = Depth(MOST_COMMANDS, COMMANDS)
        self._taken: dict[Attempt, int] = {}
        self._stopping = self._leaving = False
        self._remembered = bool(journals)
        self._inheritance = Inheritance(reactor, clock, Journals(journals), self)
        self._wall = time.time
        self._kills: dict[Attempt, Kill] = {}
        self._stuck: set[Attempt] = set()
        self._untidy: list[tuple[str, list[Start]]] = []
        self._fresh: set[Worker] = set()
        self._gone: Deferred[None] = Deferred()
        self._timers: set[Timer] = set()
        self._report: Tell
        self._progress: Callable[[int, int, bytes], None]

    def open(
        self,
        report: Tell,
        progress: Callable[[int, int, bytes], None],
        running: Sequence[Start],
    ) -> None:
        self._report, self._progress = report, progress
        self._inheritance.take(running)
        for lane, count in ((Lane.COMMAND, 1), (Lane.CPU, self._cpus), (Lane.IO, 1)):
            for _ in range(count):
                self._spawn(lane)
        self._report_capacity()

    def _spawn(self, lane: Lane) -> None:
        try:
            worker = self._begin(lane)
        except OSError as problem:
            self._complain(f"a worker cannot be started: {problem}")
            self._spawn_later(lane)
            return
        self._workers[lane].append(worker)
        if lane is COMMAND:
            self._tell_places()
        self._give_waiting(lane)

    def _begin(self, lane: Lane) -> SpawnedWorker:
        name, arguments, marks = self._inheritance.bequeath(lane)
        try:
            unsent = Shared(lane is CPU)
            worker = SpawnedWorker(lane, name, self._clock, self, unsent)
            program = [sys.executable, "-m", PROGRAMS[lane], *unsent.option, *self._options, *arguments]
            environment = {**self._environment, **marks}
            try:
                self._reactor.spawnProcess(worker, sys.executable, program, environment, childFDs=unsent.descriptors)
            except OSError:
                unsent.close()
                raise
        except OSError:
            self._inheritance.forget([name])
            raise
        return worker

    def _spawn_later(self, lane: Lane) -> None:
        """What is started meanwhile waits for it."""
        self._after(self._pauses[lane], self._spawn, lane)
        self._pauses[lane] = min(LONGEST_PAUSE, 2 * self._pauses[lane])

    def _give_waiting(self, lane: Lane) -> None:
        waiting, self._waiting[lane] = self._waiting[lane], []
        for start in waiting:
            self.start(start)
        self.flush()

    def _complain(self, reason: str) -> None:
        """One line a minute: what cannot be done now is tried again and again."""
        if self._clock.seconds() - self._complained >= COMPLAIN:
            self._complained = self._clock.seconds()
            self.log.warn("{reason}; it is tried again", reason=reason)

    # What is asked of it.

    def start(self, start: Start) -> None:
        lane = start.lane
        worker = None if self._shortages[lane].lasts else self._choose(lane)
        if worker is None:
            self._waiting[lane].append(start)
            return
        worker.give(start)
        self._touched.add(worker)

    def _choose(self, lane: Lane) -> Worker | None:
        """The one with the least to do that is not in a long job."""
        workers = self._workers[lane]
        if len(workers) < 2:
            return workers[0] if workers else None
        best, least = workers[0], HEAVIEST
        for worker in workers:
            load = worker.load if worker.slow or worker.closing else len(worker.inflight)
            if load < least:
                best, least = worker, load
        return best

    def _worker_of(self, attempt: Attempt) -> Worker | None:
        return next((worker for worker in self._all() if attempt in worker.inflight), None)

    def _all(self) -> list[Worker]:
        return [*chain.from_iterable(self._workers.values()), *self._inheritance.workers]

    def kill(self, kill: Kill) -> None:
        worker = self._worker_of((kill.job_id, kill.attempt))
        if self._inheritance.awaits((kill.job_id, kill.attempt)):
            self._kills[kill.job_id, kill.attempt] = kill
            return
        if worker is None:
            self._take_back(lambda start: (start.job_id, start.attempt) == (kill.job_id, kill.attempt))
            return
        worker.ask_to_end(kill.job_id, kill.attempt, kill.grace)
        self._touched.add(worker)
        if kill.lane is Lane.CPU:
            worker.closing = True
            self._after(kill.grace + OVERDUE, self._overdue, worker, (kill.job_id, kill.attempt))

    def _tell_places(self) -> None:
        """The runner itself sees to it that no more commands run than there are places."""
        for runner in self._workers[COMMAND]:
            runner.set_places(self._cpus, sum(self._taken.values()))
            self._touched.add(runner)

    def _take_back(self, which: Callable[[Start], bool]) -> None:
        """Report as returned what still waits for a worker."""
        for lane, starts in self._waiting.items():
            back = [start for start in starts if which(start)]
            self._waiting[lane] = [start for start in starts if start not in back]
            for start in back:
                self._report(Returned(start.job_id, start.attempt))

    def _after(self, delay: float, function: Callable[..., object], *args: Any) -> Timer:
        def due() -> None:
            self._timers.discard(timer)
            function(*args)

        timer = self._clock.callLater(delay, due)
        self._timers.add(timer)
        return timer

    def _overdue(self, worker: Worker, attempt: Attempt) -> None:
        # Only if it is this very call that keeps the worker: those behind it have not begun.
        if worker.running == attempt:
            worker.kill()
            self._after(STUCK, self._still_there, worker, attempt)

    def _still_there(self, worker: Worker, attempt: Attempt) -> None:
        if attempt in worker.inflight:
            self.stuck(worker, attempt)

    def flush(self) -> None:
        for worker in self._touched:
            worker.flush()
        self._touched.clear()

    def rest(self) -> None:
        for runner in self._workers[COMMAND]:
            # One with nothing to begin when a place is free waits for us.
            if self._more_waits_in(runner):
                runner.rest()

    def _more_waits_in(self, worker: Worker) -> bool:
        """It has more commands than can run."""
        return worker.lane is COMMAND and len(worker.inflight) > self._cpus

    def listen(self) -> None:
        for runner in self._workers[COMMAND]:
            runner.listen()

    def heard(self) -> tuple[list[tuple[Worker, int]], list[str]] | None:
        if not self._fresh and not self._inheritance.spent:
            return None
        heard = [(worker, worker.reports) for worker in self._fresh], self._inheritance.spent
        self._fresh, self._inheritance.spent = set(), []
        return heard

    def kept(self, heard: tuple[list[tuple[Worker, int]], list[str]]) -> None:
        if self._leaving:
            # What was heard since is not listened to any more, so nothing more is told to be kept: a report that the
            # next daemon hears again is dropped by it, one that nobody remembers is lost.
            return
        reports, spent = heard
        for worker, count in reports:
            worker.kept(count)
            if not self._more_waits_in(worker):
                # Else this is no reason to wake it: it will be given something more soon.
                self._touched.add(worker)
            if isinstance(worker, AdoptedWorker) and worker.spent:
                worker.flush()
                worker.let_go()
        self._inheritance.forget(spent)

    def close(self, keep: bool = False) -> Deferred[None]:
        self._stopping, self._leaving = True, keep
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._inheritance.close()
        self._take_back(lambda start: True)
        workers = self._all()
        for worker in workers:
            if keep:
                worker.let_go()
                continue
            worker.finish()
            if worker.lane is Lane.CPU and worker.inflight:
                # It has something to write down first, unless its call does not let go of the interpreter.
                self._after(OVERDUE, worker.kill)
        if workers and not keep:
            self._after(STOP, self._kill_all)
        else:
            self._gone.callback(None)
        return self._gone

    def _kill_all(self) -> None:
        for worker in self._all():
            worker.kill()

    # What it is told by its workers.

    def reported(self, worker: Worker) -> None:
        if self._remembered:
            self._fresh.add(worker)

    def ended(self, worker: Worker, ends: list[Finished], seconds: list[float]) -> None:
        if self._leaving:
            return
        lane = worker.lane
        # How it ended, and whether the pool is stopping, is nothing to this: it is there no more.
        if self._stuck or self._taken:
            for end in ends:
                self._stuck.discard((end.job_id, end.attempt))
                self._leave_place((end.job_id, end.attempt))
        if (worker.slow or worker.closing) and not worker.inflight and not isinstance(worker, AdoptedWorker):
            worker.slow = worker.closing = False
        self._shortages[lane].worked()
        self._report(*(map(self._as_stopping, ends) if self._stopping else ends))
        depth = self._depth if lane is CPU else self._ahead if lane is COMMAND else None
        if depth is not None and depth.ended(seconds):
            self._report_capacity()

    @staticmethod
    def _as_stopping(end: Finished) -> Report:
        """What does not succeed now was ended by us."""
        return end if end.state is SUCCEEDED else Returned(end.job_id, end.attempt)

    def progressed(self, job_id: int, attempt: int, json: bytes) -> None:
        self._progress(job_id, attempt, json)

    def _leave_place(self, attempt: Attempt) -> None:
        """If it was an adopted command, there is one place more for the runner's."""
        if self._taken and self._taken.pop(attempt, 0):
            self._tell_places()
            self.flush()

    def _report_capacity(self) -> None:
        self._report(Capacity(self._cpus, self._depth.value, self._ahead.value))

    def returned(self, worker: Worker, start: Start) -> None:
        if self._leaving:
            return
        attempt = (start.job_id, start.attempt)
        self._leave_place(attempt)
        if worker.lane is COMMAND:
            self._found_long(worker)
        elif not worker.slow and worker.inflight and worker.lane is CPU:
            worker.slow = True
            self._report(Long(*next(iter(worker.inflight))))
        self._report(Returned(*attempt))

    def _found_long(self, runner: Worker) -> None:
        """It has handed back commands, since those that run do not end."""
        if self._ahead.reset():
            self._report_capacity()
        for running in begun_of(runner.inflight.values(), self._cpus)[0]:
            self._report(Long(running.job_id, running.attempt))

    def stuck(self, worker: Worker, attempt: Attempt) -> None:
        self._stuck.add(attempt)
        self._report(Stuck(*attempt))

    def crowded_out(self, worker: Worker, start: Start, reason: str) -> None:
        if self._stopping:
            self.returned(worker, start)
            return
        # It keeps its place, and nothing else is tried before it.
        self._waiting[worker.lane].append(start)
        shortage = self._shortages[worker.lane]
        if not shortage.lasts:
            self._complain(f"job {start.job_id} cannot be started: {reason}")
            self._after(shortage.begin(), self._try_again, worker.lane)

    def _try_again(self, lane: Lane) -> None:
        self._shortages[lane].over()
        self._give_waiting(lane)

    def gone(self, worker: Worker) -> None:
        self._touched.discard(worker)
        if self._leaving:
            return
        if isinstance(worker, SpawnedWorker):
            self._died(worker)
        elif isinstance(worker, AdoptedWorker):
            self._inheritance.gone(worker)

    def _died(self, worker: SpawnedWorker) -> None:
        """
        A worker is gone. Calls run in the order they were given, and each is reported as soon
        as it has ended, though not sent as soon: of those not reported only the first can have begun. Of commands as
        many as there are places.
        """
        lane = worker.lane
        self._workers[lane].remove(worker)
        worker.hear_the_rest()
        if lane is Lane.CPU and worker.inflight:
            claim_output(self._output, worker.pid, *next(iter(worker.inflight)))
        discard_scratch(self._output, worker.pid)
        starts = list(worker.inflight.values())
        worker.inflight.clear()
        if self._stopping:
            if starts or not self._inheritance.tidy(worker.name):
                self._untidy.append((worker.name, starts))
            else:
                self._inheritance.spent.append(worker.name)
            self._check_stopped()
            return
        if not worker.ready:
            lost, others = [], starts
        elif lane is CPU:
            lost, others = starts[:1], starts[1:]
        elif lane is COMMAND:
            lost, others = begun_of(starts, self._cpus)
        else:
            lost, others = starts, []
        # The last one first: each goes to the head of its queue.
        for start in reversed(others):
            self._report(Returned(start.job_id, start.attempt))
        self._inheritance.sweep({worker.name}, [(start, worker.lost_outcome()) for start in lost])
        if self._stopping:
            # Whoever heard of the loss has closed the pool.
            self._check_stopped()
            return
        self.log.warn(
            "worker {pid} for {lane} {status}; another takes its place",
            pid=worker.pid,
            lane=lane.name,
            status=worker.status,
        )
        if worker.ready:
            self._pauses[lane] = PAUSE
            self._spawn(lane)
        else:
            self._spawn_later(lane)

    # What it is told of workers that an earlier daemon has started, and of the dead.

    def settled(self, start: Start, state: State, wall: float, outcome: bytes) -> None:
        self._leave_place((start.job_id, start.attempt))
        self._report(Finished(start.job_id, start.attempt, state, outcome))

    def unbegun(self, start: Start) -> None:
        self._leave_place((start.job_id, start.attempt))
        self._report(Returned(start.job_id, start.attempt))

    def lost(self, start: Start, outcome: dict[str, Any]) -> None:
        self._leave_place((start.job_id, start.attempt))
        if self._stopping and (start.job_id, start.attempt) not in self._stuck:
            self._report(Returned(start.job_id, start.attempt))
            return
        self._stuck.discard((start.job_id, start.attempt))
        whole = {"attempt": start.attempt, "wall": round(max(0.0, self._wall() - start.began), 6), **outcome}
        self._report(Finished(start.job_id, start.attempt, State.LOST, wire.to_json(whole)))

    def adopted(self, worker: AdoptedWorker) -> None:
        self.log.info("worker {pid} goes on with {number} jobs", pid=worker.pid, number=len(worker.inflight))
        for attempt, start in worker.inflight.items():
            if start.lane is Lane.COMMAND:
                self._taken[attempt] = start.cpus
            kill = self._kills.pop(attempt, None)
            if kill is not None:
                self.kill(kill)
        self._tell_places()
        self.flush()
        worker.flush()
        if worker.spent:
            worker.let_go()

    def buried(self, found: Found) -> None:
        if found.lane is Lane.CPU:
            for attempt in found.begun - set(found.reports):
                claim_output(self._output, found.pid, *attempt)
        discard_scratch(self._output, found.pid)

    def left(self) -> None:
        if self._stopping:
            self._check_stopped()

    def _check_stopped(self) -> None:
        if any(self._workers.values()) or self._inheritance.busy or self._gone.called:
            return
        if self._untidy:
            # What they have left must have ended before it is said that they can begin again.
            untidy, self._untidy = self._untidy, []
            error = "it was stuck when the daemon stopped"
            starts = [(start, {"error": error}) for _, starts in untidy for start in starts]
            self._inheritance.sweep({name for name, _ in untidy}, starts)
            return
        for timer in self._timers:
            timer.cancel()
        self._gone.callback(None)

    # What others want to know.

    def stats(self) -> dict[str, Any]:
        return {
            "workers": {lane.name.lower(): [worker.pid for worker in group] for lane, group in self._workers.items()},
            "depth": self._depth.value,
            "ahead": self._ahead.value,
            "waiting": sum(map(len, self._waiting.values())),
        }
