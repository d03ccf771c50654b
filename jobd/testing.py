"""
Doubles for tests: a whole daemon in memory, with no process, no socket, no file and no clock
but the one a test moves.

    daemon = MemoryDaemon()
    client = daemon.connect()
    client.ask('submit {"argv": ["make"]}')         # "ok 1"
    daemon.pool.finish(1, exit_code=2)              # the attempt ends, as the test says
    daemon.clock.advance(5)                         # time passes when the test says so
    client.take()                                   # ['* 1 1 failed {"exit_code":2,"attempt":1}']

What speaks the protocol can be tested against L{MemoryDaemon.connect}'s client side: what it
writes goes to L{MemoryClient.feed}, what it is to read comes from L{MemoryClient.take}. The
parts, L{FakePool} and L{HeldStore}, also stand where the daemon's own would.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

import jobd
from jobd import actions, events, wire
from jobd.access import Access
from jobd.actions import Kept, Kill, Start
from jobd.daemon import Daemon
from jobd.job import State
from jobd.outputs import Outputs
from jobd.pool import Pool, Report, Tell
from jobd.pool.worker import Attempt
from jobd.scheduler import NEAR, Scheduler
from jobd.server import SessionFactory
from jobd.session import ServerInfo, Session
from jobd.store import Store
from jobd.store.memory import MemoryStore
from jobd.verbs import VERBS

Script = Callable[[Start], "tuple[State, dict[str, Any]] | None"]
"""What becomes of an attempt: how it ends at once, or None: it runs until the test ends it."""

LOCAL = UNIXAddress(b"/run/jobd.sock")
"""A connection from here needs no token."""

REMOTE = IPv4Address("TCP", "192.0.2.7", 40000)
"""A connection from here does."""

WALL = 1_795_392_000.0
"""What a L{MemoryDaemon}'s clock on the wall says when its L{Clock} says 0; seconds since 1970."""


class FakePool:
    """
    A pool that runs nothing: attempts end when and how a test says.

    @ivar started: every attempt it was ever told to start, in order.
    @ivar running: those that have not been reported, by job id and attempt.
    @ivar kills: every order to end one of them.
    """

    def __init__(self, cpus: int = 1, depth: int = 1, script: Script | None = None, obedient: bool = True) -> None:
        """
        @param script: is asked about each attempt as it starts.
        @param obedient: what is killed ends with the next flush; else when the test says so.
        """
        self.started: list[Start] = []
        self.running: dict[Attempt, Start] = {}
        self.kills: list[Kill] = []
        self._capacity = events.Capacity(cpus, depth)
        self._script = script
        self._obedient = obedient
        self._due: list[Report] = []
        self._unkept: dict[Attempt, tuple[int, events.Finished | events.Returned]] = {}
        self._told = 0
        self._opened = False
        self._report: Tell
        self._progress: Callable[[int, int, bytes], None]

    # What a daemon asks of it.

    def open(
        self,
        report: Tell,
        progress: Callable[[int, int, bytes], None],
        running: Sequence[Start],
    ) -> None:
        self._report, self._progress = report, progress
        unheard, self._unkept = self._unkept, {}
        begun = {(start.job_id, start.attempt) for start in running}
        # What is no longer wanted is ended; what was never given to it is returned.
        self.running = {attempt: start for attempt, start in self.running.items() if attempt in begun}
        report(self._capacity)
        for attempt, (_, one) in unheard.items():
            # What is not among those that were running has been kept, and its number may be another attempt's by now.
            if attempt in begun:
                self._note(one)
        for attempt in sorted(begun - set(unheard) - set(self.running)):
            if self._opened:
                self._note(events.Returned(*attempt))
            else:
                self._note(_finished(*attempt, State.LOST, {"error": "the machine failed while the job was running"}))
        self._opened = True

    def start(self, start: Start) -> None:
        self.started.append(start)
        self.running[start.job_id, start.attempt] = start
        # What was returned is begun again under the same number: that it was returned is kept by then.
        self._unkept.pop((start.job_id, start.attempt), None)
        end = self._script(start) if self._script is not None else None
        if end is not None:
            state, outcome = end
            self._due.append(_finished(start.job_id, start.attempt, state, outcome))

    def kill(self, kill: Kill) -> None:
        if (kill.job_id, kill.attempt) not in self.running:
            return
        self.kills.append(kill)
        if self._obedient:
            outcome = {"exit_code": 143, "signal": "SIGTERM"}
            self._due.append(_finished(kill.job_id, kill.attempt, State.CANCELLED, outcome))

    def flush(self) -> None:
        due, self._due = self._due, []
        for report in due:
            self._tell(report)

    def rest(self) -> None:
        pass

    def listen(self) -> None:
        pass

    def heard(self) -> int:
        return self._told

    def kept(self, heard: int) -> None:
        self._unkept = {attempt: (told, one) for attempt, (told, one) in self._unkept.items() if told > heard}

    def close(self, keep: bool = False) -> Deferred[None]:
        if not keep:
            self.flush()
            for attempt in list(self.running):
                self._tell(events.Returned(*attempt))
        return succeed(None)

    def stats(self) -> dict[str, Any]:
        return {"workers": {}, "depth": self._capacity.depth}

    # What a test asks of it.

    def finish(self, job_id: int, state: State | None = None, **outcome: Any) -> None:
        """
        The job's attempt ends: as succeeded, or as failed if C{exit_code} is not 0, if C{state} does not say otherwise.

        @raise KeyError: no attempt of this job is running.
        """
        if state is None:
            state = State.FAILED if outcome.get("exit_code") else State.SUCCEEDED
        self._tell(_finished(job_id, self._attempt(job_id), state, outcome))

    def give_back(self, job_id: int) -> None:
        """The attempt is returned unstarted."""
        self._tell(events.Returned(job_id, self._attempt(job_id)))

    def turn_out_long(self, job_id: int) -> None:
        """The attempt, a call, proves to take long: it takes a whole place from now on."""
        self._tell(events.Long(job_id, self._attempt(job_id)))

    def get_stuck(self, job_id: int) -> None:
        """The attempt was killed and does not go away, until the test ends it after all."""
        self._tell(events.Stuck(job_id, self._attempt(job_id)))

    def make_room(self, cpus: int, depth: int = 1, ahead: int = 1) -> None:
        """There is room for so much from now on, as in L{events.Capacity}."""
        self._capacity = events.Capacity(cpus, depth, ahead)
        self._tell(self._capacity)

    def tell_progress(self, job_id: int, **report: Any) -> None:
        """The attempt says how far it is."""
        self._progress(job_id, self._attempt(job_id), wire.to_json(report))

    def _attempt(self, job_id: int) -> int:
        return next(attempt for number, attempt in self.running if number == job_id)

    def _tell(self, report: Report) -> None:
        # An end that was due may have been told already: each attempt has one.
        if isinstance(report, (events.Finished, events.Returned)):
            known = self.running.pop((report.job_id, report.attempt), None)
            if known is None:
                return
            self._note(report)
        else:
            self._report(report)

    def _note(self, report: events.Finished | events.Returned) -> None:
        """Say it, and remember it until it is kept."""
        self._told += 1
        self._unkept[report.job_id, report.attempt] = (self._told, report)
        self._report(report)

    def die(self) -> None:
        """The machine fails: the next daemon that opens it finds nothing."""
        self.running.clear()
        self._due.clear()
        self._unkept.clear()
        self._opened = False


def _finished(job_id: int, attempt: int, state: State, outcome: dict[str, Any]) -> events.Finished:
    whole = {"exit_code": int(state is not State.SUCCEEDED), "attempt": attempt, **outcome}
    return events.Finished(job_id, attempt, state, wire.to_json(whole))


class HeldStore(MemoryStore):
    """
    A store in memory that tells of a commit when the test says so.

    @ivar holding: whether it keeps batches back; they are then not in it yet.
    """

    def __init__(self, holding: bool = True) -> None:
        super().__init__()
        self.holding = holding
        self._held: deque[tuple[list[Kept], Callable[[Exception | None], None]]] = deque()

    @property
    def held(self) -> int:
        """How many batches wait."""
        return len(self._held)

    def commit(self, batch: Iterable[Kept], done: Callable[[Exception | None], None]) -> None:
        if self.holding:
            self._held.append(([as_it_is(change) for change in batch], done))
        else:
            super().commit(batch, done)

    def release(self) -> None:
        """The oldest batch is safe now."""
        batch, done = self._held.popleft()
        super().commit(batch, done)

    def refuse(self, problem: Exception) -> None:
        """The oldest batch could not be kept: there is nothing of it in the store."""
        _, done = self._held.popleft()
        done(problem)


def as_it_is(change: Kept) -> Kept:
    """A change with the values that it has now: what a store takes before C{commit} returns."""
    if isinstance(change, (actions.Insert, actions.Update)):
        return msgspec.structs.replace(change, job=copy.copy(change.job))
    return change


class MemoryTransport:
    """
    The daemon's end of a connection in memory.

    @ivar writes: what was written at a time, since the client last took it.
    @ivar full: the client reads nothing: what is written stays here.
    @ivar reading: whether the daemon reads what the client sends.
    @ivar closed: by the daemon, in good order.
    @ivar aborted: by the daemon, without regard to what is still to be read.
    """

    def __init__(self, turn: Callable[..., object]) -> None:
        self.writes: list[bytes] = []
        self.full = False
        self.reading = True
        self.closed = False
        self.aborted = False
        self.session: Session
        self._turn = turn
        self._producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        if self.full and self._producer is not None:
            self._producer.pauseProducing()

    def has_room(self) -> None:
        """What was written has been taken."""
        self.full = False
        if self._producer is not None:
            self._producer.resumeProducing()
        if self.closed:
            self.lose()

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseConnection(self) -> None:
        self.closed = True
        if not self.full:
            self._turn(self.lose)

    def abortConnection(self) -> None:
        self.aborted = True
        self._turn(self.lose)

    def lose(self) -> None:
        """The connection is gone, whoever ended it."""
        if not self.session.gone:
            self.session.connectionLost()


class MemoryClient:
    """
    The client's end of a connection to a L{MemoryDaemon}.

    @ivar transport: the daemon's end.
    """

    def __init__(self, daemon: MemoryDaemon, transport: MemoryTransport) -> None:
        self.transport = transport
        self._daemon = daemon
        self._session = transport.session
        self._tail = b""

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._session.gone

    def feed(self, data: bytes) -> None:
        """Bytes for the daemon, cut anywhere, and all that follows from them."""
        self._session.dataReceived(data)
        self._daemon.settle()

    def send(self, *lines: str) -> None:
        """Whole lines, all in one piece."""
        self.feed("".join(line + "\n" for line in lines).encode())

    def take(self) -> list[str]:
        """The lines that have come since the last time. A client that does not read (L{stop_reading}) gets none."""
        if self.transport.full:
            return []
        *lines, self._tail = b"".join([self._tail, *self.transport.writes]).split(b"\n")
        self.transport.writes.clear()
        return [line.decode() for line in lines]

    def ask(self, line: str) -> str:
        """Say a line; returns the one that comes back. Use L{send} and L{take} where more may come."""
        self.send(line)
        (answer,) = self.take()
        return answer

    def stop_reading(self) -> None:
        """What the daemon writes from now on stays in its transport."""
        self.transport.full = True

    def read_on(self) -> None:
        """The client reads again, and the daemon's transport tells that it has room."""
        self.transport.has_room()
        self._daemon.settle()

    def half_close(self) -> None:
        """The client sends nothing more."""
        self._session.readConnectionLost()
        self._daemon.settle()

    def disconnect(self) -> None:
        """The client is gone."""
        self.transport.lose()
        self._daemon.settle()


class MemoryDaemon:
    """
    A daemon whose pool, store and clock belong to the test.

    @ivar clock: moved by the test; L{WALL} plus its seconds is the time of day.
    @ivar broken: the error with which the store failed for good.
    @ivar halted: whether it has drained.
    """

    def __init__(
        self,
        store: Store | None = None,
        pool: Pool | None = None,
        *,
        token: bytes = b"secret",
        pickle: str = "local",
        output: str = "",
        clock: Clock | None = None,
        rest: float = 0.0,
        near: int = NEAR,
    ) -> None:
        """
        @param near: as L{Scheduler} has it.
        @param rest: seconds between two batches while jobs have to wait for a place.
        @param store: what another daemon has left behind, for instance.
        @param token: what a connection from L{REMOTE} has to know.
        @param output: a folder with jobs' output, if a test has one.
        @param clock: of a daemon before this one, so that time goes on.
        """
        self.clock = clock or Clock()
        self.store: Any = store or MemoryStore()
        self.pool: Any = pool or FakePool()
        self.broken: Exception | None = None
        self.halted = False
        self._turns: deque[Callable[[], object]] = deque()
        turn, wall = self._turns.append, lambda: WALL + self.clock.seconds()
        self.daemon = Daemon(Scheduler(near=near), self.store, self.clock, turn, self._break, self._halt, wall, rest)
        info = ServerInfo(jobd.__version__, "/state", self.clock.seconds(), self.clock)
        outputs = Outputs(output)
        self.factory = SessionFactory(self.daemon, outputs, Access(token, pickle), info, VERBS)
        self.daemon.open(self.pool)
        self.settle()

    @property
    def scheduler(self) -> Scheduler:
        return self.daemon.scheduler

    def connect(self, address: IAddress = LOCAL) -> MemoryClient:
        """A client that has just connected from there."""
        transport = MemoryTransport(self._turns.append)
        session = self.factory.buildProtocol(address)
        assert isinstance(session, Session)
        transport.session = session
        transport.session.transport = transport
        transport.session.connectionMade()
        return MemoryClient(self, transport)

    def settle(self) -> None:
        """Let the turns of the reactor pass that are asked for. Clients and L{advance} do so by themselves."""
        while self._turns:
            self._turns.popleft()()

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.settle()

    def _break(self, problem: Exception) -> None:
        self.broken = problem

    def _halt(self, keep: bool) -> None:
        self.halted = True
