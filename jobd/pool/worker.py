"""One worker process, seen from the daemon: the other end of L{jobd.worker.link}."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from jobd import prompt
from jobd.actions import Start
from jobd.alarm import Clock, Timer
from jobd.events import Finished
from jobd.job import FINAL, Lane
from jobd.worker.unsent import Shared

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProcessTransport

DRAIN = 1.0
"""Seconds to read what a dead worker had written, while something it started holds its pipe open."""

LONGEST = 16 << 20
"""Bytes of a line: several times what the longest outcome has."""

_ENDS = {state.word.encode(): state for state in FINAL}

Attempt = tuple[int, int]
"""A job's id and the number of its attempt."""


class Owner(Protocol):
    """The pool, as its workers see it."""

    def at_once(self, happen: Callable[[bytes], object], data: bytes) -> None:
        """Let happen what the worker has said in one piece."""

    def ended(self, worker: Worker, ends: list[Finished], seconds: list[float]) -> None:
        """Attempts have ended, in this order, each after so many seconds."""

    def returned(self, worker: Worker, start: Start) -> None:
        """An attempt it was given was not begun."""

    def stuck(self, worker: Worker, attempt: Attempt) -> None:
        """An attempt was killed and does not go away."""

    def crowded_out(self, worker: Worker, start: Start, reason: str) -> None:
        """An attempt it was given was not begun, as the system has no room for it now."""

    def progressed(self, job_id: int, attempt: int, json: bytes) -> None:
        """What an attempt says of its progress."""

    def reported(self, worker: Worker) -> None:
        """It has told an outcome, which it remembers until it is told that it is kept."""

    def gone(self, worker: Worker) -> None:
        """It has ended, or the link to it has."""


class Worker:
    """
    What a worker was given, and what it says, however it is linked.

    @ivar name: of its journal, if it has one, and the mark of what it starts.
    @ivar inflight: the attempts it was given that it has not reported, in their order.
    @ivar begun: when the first of them began, on the steady clock.
    @ivar slow: it is known to be in a long job, and is given nothing more.
    @ivar closing: it is to end; it is given nothing more.
    @ivar reports: how many outcomes it has told.
    @ivar used: what the call has used for which it is being ended, as its outcome has it.
    @ivar status: how its process ended, in words, once it has; C{signal} the name of the signal if it was one.
    """

    log = Logger()

    def __init__(self, lane: Lane, name: str, clock: Clock, owner: Owner) -> None:
        self.lane = lane
        self.name = name
        self.inflight: dict[Attempt, Start] = {}
        self.begun = 0.0
        self.slow = False
        self.closing = False
        self.ready = False
        self.pid = 0
        self.reports = self._told = 0
        self.status = ""
        self.signal = ""
        self.exit_code: int | None = None
        self.used: dict[str, float] = {}
        self._clock = clock
        self._owner = owner
        self._lines: list[bytes] = []
        self._tail = b""

    @property
    def load(self) -> int:
        """The less, the sooner it can begin something more."""
        if self.slow or self.closing:
            return len(self.inflight) + 1_000_000 * self.slow + 2_000_000 * self.closing
        return len(self.inflight)

    @property
    def running(self) -> Attempt | None:
        """Of a call worker: what it is at."""
        return next(iter(self.inflight), None)

    # To the worker.

    def give(self, start: Start) -> None:
        if not self.inflight:
            self.begun = self._clock.seconds()
        self.inflight[start.job_id, start.attempt] = start
        self._lines.append(b"S %d %d %s\n" % (start.job_id, start.attempt, start.spec))

    def ask_to_end(self, job_id: int, attempt: int, grace: float) -> None:
        self._lines.append(b"C %d %d %f\n" % (job_id, attempt, grace))

    def set_places(self, places: int, taken: int) -> None:
        """There are so many places for commands; so many of them those of other runners have."""
        self._lines.append(b"N %d %d\n" % (places, taken))

    def kept(self, reports: int) -> None:
        """So many of its reports are kept."""
        self._lines.append(b"K %d\n" % reports)

    def flush(self) -> None:
        if self._lines:
            self._write(b"".join(self._lines))
            self._lines = []

    def finish(self) -> None:
        """It is to end everything and then itself."""
        self.closing = True
        self._lines.append(b"Q\n")
        self.flush()
        self.let_go()

    def _write(self, data: bytes) -> None:
        raise NotImplementedError

    def let_go(self) -> None:
        """Say nothing more to it: it ends when all it has begun has ended."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once, and what its calls have started with it: it leads a process group."""
        raise NotImplementedError

    # From the worker.

    def received(self, data: bytes) -> None:
        self._owner.at_once(self._received, data)

    def _received(self, data: bytes) -> None:
        lines = data.split(b"\n")
        if self._tail:
            lines[0] = self._tail + lines[0]
        self._tail = lines.pop()
        if len(self._tail) > LONGEST:
            self.log.error("worker {pid} says a line without an end, and is killed", pid=self.pid)
            self._tail = b""
            self.kill()
        claim = self.claim
        ends: list[Finished] = []
        seconds: list[float] = []
        for line in lines:
            try:
                if line[:2] == b"D ":
                    _, job, number, word, wall, outcome = line.split(b" ", 5)
                    job_id, attempt, state, lasted = int(job), int(number), _ENDS[word], float(wall)
                    wanted = claim((job_id, attempt)) is not None
                    self.reports += 1
                    if wanted:
                        ends.append(Finished(job_id, attempt, state, outcome))
                        seconds.append(lasted)
                    continue
                self._report(ends, seconds)
                ends, seconds = [], []
                self._said(line)
            except (ValueError, KeyError, IndexError):
                self.log.error("worker {pid} said what it should not: {line}", pid=self.pid, line=line[:200])
        self._report(ends, seconds)

    def _report(self, ends: list[Finished], seconds: list[float]) -> None:
        """What has ended up to now, each after so many seconds."""
        if self.reports != self._told:
            self._told = self.reports
            self._owner.reported(self)
        if ends:
            self.begun = self._clock.seconds()
            self._owner.ended(self, ends, seconds)

    def _said(self, line: bytes) -> None:
        kind = line[:2]
        if kind == b"R ":
            _, job_id, attempt = line.split(b" ")
            start = self.claim((int(job_id), int(attempt)))
            if start is not None:
                self._owner.returned(self, start)
        elif kind == b"F ":
            _, job_id, attempt, reason = line.split(b" ", 3)
            start = self.claim((int(job_id), int(attempt)))
            if start is not None:
                self._owner.crowded_out(self, start, reason.decode("utf-8", "replace"))
        elif kind == b"U ":
            _, _, _, user, system, max_rss = line.split(b" ")
            self.used = {"user": float(user), "sys": float(system), "max_rss": int(max_rss)}
        elif kind == b"P ":
            _, job_id, attempt, json = line.split(b" ", 3)
            self._owner.progressed(int(job_id), int(attempt), json)
        elif kind == b"T ":
            _, job_id, attempt = line.split(b" ")
            if (int(job_id), int(attempt)) in self.inflight:
                self._owner.stuck(self, (int(job_id), int(attempt)))
        elif kind == b"L ":
            self.log.info("worker {pid}: {text}", pid=self.pid, text=line[2:].decode("utf-8", "replace"))
        elif kind == b"H ":
            self.ready = True
        else:
            raise ValueError(line)

    def claim(self, attempt: Attempt) -> Start | None:
        """It reports this attempt. None if nobody wants to know."""
        return self.inflight.pop(attempt)


class SpawnedWorker(Worker, ProcessProtocol):
    """
    A worker that this daemon has started: the link is two pipes.

    @param unsent: where it has reports that it has not sent yet.
    """

    transport: IProcessTransport

    def __init__(self, lane: Lane, name: str, clock: Clock, owner: Owner, unsent: Shared) -> None:
        super().__init__(lane, name, clock, owner)
        self._unsent = unsent
        self._exited = False
        self._resting = False
        self._drain: Timer | None = None

    def _write(self, data: bytes) -> None:
        pipe = getattr(self.transport, "pipes", {}).get(0)
        prompt.write(pipe or self.transport, data)

    def let_go(self) -> None:
        self.transport.closeStdin()

    def kill(self) -> None:
        if self._exited:
            return
        try:
            # It was not waited for, or this would know: the number is its own.
            if sys.platform != "win32" and self.pid and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self.transport.signalProcess("KILL")
        except OSError as problem:
            self.log.info("worker {pid} could not be killed: {problem}", pid=self.pid, problem=problem)

    @property
    def running(self) -> Attempt | None:
        ended = set()
        for line in self._unsent.lines():
            # It may be at work there just now: half of a line says nothing.
            with suppress(ValueError):
                ended.add(_attempt_of(line))
        return next((attempt for attempt in self.inflight if attempt not in ended), None)

    def hear_the_rest(self) -> None:
        """It has died: hear what it had not sent yet. The half of a line that it has sent may be the beginning."""
        lines = [line for line in self._unsent.lines() if _attempt_of(line) in self.inflight]
        self._tail, begun = b"", self.begun
        if lines:
            self.received(b"".join(b"%b\n" % line for line in lines))
            # When they ended is not known, but that it was shortly after what was heard before.
            self.begun = begun

    def lost_outcome(self) -> dict[str, Any]:
        """Of the attempt that it took with it."""
        outcome: dict[str, Any] = {"error": f"its worker {self.status or 'ended'}"}
        if self.lane is Lane.CPU:
            # The process that ended was the call's own, so how it ended is how the call ended.
            outcome["exit_code"] = self.exit_code
            outcome["wall"] = round(self._clock.seconds() - self.begun, 6)
            outcome.update(self.used)
        if self.signal:
            outcome["signal"] = self.signal
        return outcome

    def rest(self) -> None:
        """
        Let what it says gather in its pipe, where that is possible. Whatever becomes of the worker it is there, and
        read when that has ended.
        """
        if self._exited:
            return
        pipe = getattr(self.transport, "pipes", {}).get(1)
        if isinstance(pipe, FileDescriptor) and not self._resting:
            pipe.stopReading()
            self._resting = True

    def listen(self) -> None:
        """Read what has gathered."""
        pipe = getattr(self.transport, "pipes", {}).get(1) if self._resting else None
        self._resting = False
        if pipe is not None:
            pipe.startReading()
            # If this was the end of it, the reactor finds out as well.
            pipe.doRead()

    def connectionMade(self) -> None:
        self.pid = self.transport.pid or 0

    def outReceived(self, data: bytes) -> None:
        pipe = getattr(self.transport, "pipes", {}).get(1)
        self.received(data if pipe is None else prompt.read_on(pipe, data))

    def errReceived(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").splitlines():
            self.log.warn("worker {pid}: {text}", pid=self.pid, text=line)

    def processExited(self, reason: Failure) -> None:
        self._exited = True
        self.status, self.signal, self.exit_code = _how(reason)
        self._drain = self._clock.callLater(DRAIN, self._drained)
        # Nobody reads on for it else, and then the pipe is closed.
        self.listen()

    def processEnded(self, reason: Failure) -> None:
        if self._drain is not None:
            self._drain.cancel()
            self._gone()

    def _gone(self) -> None:
        self._drain = None
        self._owner.gone(self)
        self._unsent.close()

    def _drained(self) -> None:
        """Something that the worker left behind holds its pipes: what it wrote itself has long been read."""
        self.transport.loseConnection()
        self._gone()


def _attempt_of(line: bytes) -> Attempt:
    """Of a line C{D}."""
    _, job_id, attempt, _ = line.split(b" ", 3)
    return int(job_id), int(attempt)


def _how(reason: Failure) -> tuple[str, str, int]:
    """What a process ended with: in words, the signal's name if it was one, and the exit code as a shell tells it."""
    problem = reason.value
    if isinstance(problem, ProcessTerminated):
        if problem.signal:
            name = signal.Signals(problem.signal).name
            return f"was killed by {name}", name, 128 + problem.signal
        return f"ended with exit code {problem.exitCode}", "", problem.exitCode or 0
    return "ended", "", 0
