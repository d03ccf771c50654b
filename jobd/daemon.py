"""
The only performer: events go to the scheduler, its actions to the store, the
pool and the sessions, in their order, and nothing is said or started before
what stands before it is kept.

    event -> scheduler -> actions, gathered over a turn of the reactor
                            |
          changes to keep: one batch, one commit; the next turn's gather meanwhile
                            |
          then, in order: replies, starts, announcements
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from jobd import actions, events, recall, wire
from jobd.actions import Action
from jobd.alarm import Clock, Timer
from jobd.errors import Full, StoreError
from jobd.events import Event, Now
from jobd.fetching import Fetching
from jobd.job import State
from jobd.listener import Listener, Watcher
from jobd.pool import Heard, Pool
from jobd.retention import Retention
from jobd.scheduler import Scheduler
from jobd.store import RETRY_FULL, Reader, Store

T = TypeVar("T")

KEPT = frozenset({actions.Insert, actions.Update, actions.KeepGroupEvent, actions.KeepQueue})

REST = 0.006
"""
Seconds between two batches while more jobs are ready than there are places: larger batches then cost
less a job, and nobody's turn comes later for it, as the workers have been given work ahead. When all that a place was
given has ended there is no more rest.
"""

ENOUGH = 256
"""So many actions are a batch large enough not to wait for more."""

LOG_FULL = 60.0
"""Seconds between two lines in the log while there is no room."""


Perform = Callable[[], object]
"""Something else to be done at its place among the actions."""


class Settled:
    """Tells somebody that what stood before it is done."""

    __slots__ = ("_done",)

    def __init__(self, done: Deferred[None]) -> None:
        self._done = done

    def __call__(self) -> None:
        self._done.callback(None)


class Daemon:
    """
    @param turn: calls a function once the current turn of the reactor is over, as C{callFromThread}.
    @param broken: called with the error when the store has failed: nothing can be promised any more.
    @param rest: seconds between two batches while jobs have to wait for a place.
    @param halted: called when the daemon is to stop, drained, or (True) with what runs left running.
    @ivar instance: what L{jobd.snapshot.Snapshot} says of the store.
    @ivar announced: the newest cursor that was told to anybody.
    @ivar progress: what running jobs last said of their progress, JSON.
    @ivar retention: how long ended jobs are kept.
    """

    log = Logger()

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        clock: Clock,
        turn: Callable[..., object],
        broken: Callable[[Exception], None],
        halted: Callable[[bool], None],
        wall: Callable[[], float] = time.time,
        rest: float = REST,
    ) -> None:
        self.scheduler = scheduler
        self.store = store
        self.pool: Pool
        self.clock = clock
        self.listeners: dict[int, Listener] = {}
        self.watchers: set[Watcher] = set()
        self.instance = ""
        self.announced = 0
        self.progress: dict[int, bytes] = {}
        self.full = False
        self.retention = Retention(store, clock, wall, self.handle)
        self._turn, self._broken, self._halted, self._wall = turn, broken, halted, wall
        self._rest = rest
        self._gathered: list[Action | Perform] = []
        self._heard: list[Heard] = []
        self._safe: deque[tuple[list[Action | Perform], list[Heard]]] = deque()
        self._performing = False
        self._committing = False
        self._resting: Timer | None = None
        self._pausing = False
        self._turning = False
        self._missed = False
        self._now: Now | None = None
        self._dirty: set[Listener] = set()
        self._alarm: Timer | None = None
        self._alarm_at: float | None = None
        self._full_logged = float("-inf")
        self._fetching = Fetching(store, clock, self.handle, self._store_failed)
        self._perform_one: dict[type, Callable[[Any], None]] = {
            actions.Reply: self._reply,
            actions.Refuse: self._refuse,
            actions.Announce: self._announce,
            actions.Recall: self._recall,
            actions.RecallGroup: self._recall_group,
            actions.Close: self._close,
            actions.Fetch: lambda action: self._fetching.want(action.block),
            actions.Halt: lambda action: self._halted(action.keep),
            actions.Note: lambda action: self.log.info("{text}", text=action.text),
        }

    def open(self, pool: Pool) -> None:
        """
        Read the store and begin the pool, with what was running when the last daemon ended.

        @raise StoreError: the store cannot be read.
        """
        self.pool = pool
        self._perform_one.update({actions.Start: pool.start, actions.Kill: pool.kill})
        snapshot = self.store.open()
        found = self.scheduler.restore(snapshot, self.now())
        self.instance = snapshot.instance
        self.announced = self.scheduler.cursor
        self.retention.begin(self.announced, len(self.scheduler.ended))
        running = [action for action in found if isinstance(action, actions.Start)]
        self.pool.open(self.handle, self.progressed, running)
        self.gather(found[len(running) :])

    def now(self) -> Now:
        """The time of this turn: one look at the clocks serves all that happens in it."""
        now = self._now
        if now is None:
            now = self._now = Now(self.clock.seconds(), self._wall())
        return now

    # In.

    def handle(self, *happened: Event) -> None:
        """Something has happened."""
        handle, now, gathered = self.scheduler.handle, self._now or self.now(), self._gathered
        for event in happened:
            # What follows is added to what has gathered.
            handle(event, now, gathered)
        if not self._turning:
            self.gather(())

    def gather(self, found: Sequence[Action | Perform]) -> None:
        """These are to be done, after all that was gathered before."""
        self._gathered += found
        if not self._turning:
            self._turning = True
            self._turn(self._end_turn)

    def at_once(self, happen: Callable[[Any], object], what: Any) -> None:
        """
        Let happen what was read in one piece, and end the turn with it: another round of the reactor costs more
        than to keep apart what others say in it. While a batch is being kept all of it gathers anyway.
        """
        if self._turning:
            happen(what)
            return
        self._turning = True
        try:
            happen(what)
        finally:
            self._end_turn()

    def next_turn(self) -> Deferred[None]:
        """Fires in the reactor's next turn, when all others had theirs: for whoever has much to do."""
        done: Deferred[None] = Deferred()
        self._turn(lambda: done.callback(None))
        return done

    def settled(self) -> Deferred[None]:
        """
        Fires once all that has been gathered up to now is kept and done; sooner while there is no room
        to keep anything: nothing of what waits then has been promised to anybody.
        """
        done: Deferred[None] = Deferred()
        self.gather([Settled(done)])
        return done

    def read(self, ask: Callable[[Reader], T]) -> Deferred[T]:
        """Ask the store."""
        answer: Deferred[T] = Deferred()

        def done(found: T | Exception) -> None:
            if isinstance(found, Exception):
                answer.errback(found)
            else:
                answer.callback(found)

        self.store.read(ask, done)
        return answer

    # A turn.

    def _end_turn(self) -> None:
        self._turning = False
        if self._pausing:
            self._let_pass()
        if self._committing:
            self._missed, self._now = True, None
            if self._resting is not None and (len(self._gathered) >= ENOUGH or not self.scheduler.places.crowded):
                self._resting.cancel()
                self._rested()
            return
        self._missed = False
        self._gathered += self.scheduler.fill(self._now or self.now())
        self._now = None
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        heard, self._heard = self._heard, []
        reported = self.pool.heard()
        if reported is not None:
            heard.append(reported)
        kept: list[Any] = []
        rest: list[Action | Perform] = []
        for action in gathered:
            (kept if type(action) in KEPT else rest).append(action)
        if kept:
            self._committing = True
            self._commit(kept, rest, heard)
        else:
            self._safe.append((rest, heard))
            self._perform_safe()

    def _commit(self, kept: list[Any], rest: list[Action | Perform], heard: list[Heard]) -> None:
        def done(problem: Exception | None) -> None:
            if problem is None:
                self.full = False
                self._safe.append((rest, heard))
                # First: the store is busy with the next batch while this one is performed.
                self._go_on()
                self._perform_safe()
                if self._resting is not None:
                    # It may have something to begin only now.
                    self.pool.rest()
            elif isinstance(problem, Full):
                self.pool.listen()
                self._no_room(problem)
                # Tried again with all that has happened since: its jobs would be kept as they are by then,
                # and what follows from that must not be missing.
                self._gathered[:0] = [*kept, *rest]
                self._heard[:0] = heard
                self._pausing = True
                self._let_pass()
                self.clock.callLater(RETRY_FULL, self._try_again)
            else:
                self._store_failed(problem)

        self.pool.rest()
        self.store.commit(kept, done)

    def _store_failed(self, problem: Exception) -> None:
        known = isinstance(problem, StoreError)
        self._broken(problem if known else StoreError(f"the job store failed: {problem!r}"))

    def _go_on(self) -> None:
        if self._rest and self.scheduler.places.crowded and len(self._gathered) < ENOUGH:
            self._resting = self.clock.callLater(self._rest, self._rested)
        else:
            self._next_batch()

    def _rested(self) -> None:
        self._resting = None
        self._next_batch()

    def _next_batch(self) -> None:
        self.pool.listen()
        self._committing = False
        # With no turn meanwhile there is nothing new: neither to keep nor to start.
        if self._missed and not self._turning:
            self._end_turn()

    def _perform_safe(self) -> None:
        """Do what follows from the batches that are kept, in their order."""
        if self._performing:
            return
        self._performing = True
        try:
            while self._safe:
                self._perform(*self._safe.popleft())
        finally:
            self._performing = False

    def _try_again(self) -> None:
        self._committing = self._pausing = False
        self._end_turn()

    def _let_pass(self) -> None:
        """There is no room: let out of what has gathered that which promises nothing."""
        owed: set[int] = set()
        passed: list[Action | Perform] = []
        waiting: list[Action | Perform] = []
        for action in self._gathered:
            if isinstance(action, Settled):
                passed.append(action)
            elif not isinstance(action, (actions.Reply, actions.Refuse)):
                waiting.append(action)
            elif action.plain and action.conn not in owed:
                passed.append(action)
            else:
                owed.add(action.conn)
                waiting.append(action)
        self._gathered = waiting
        if passed:
            self._perform(passed, ())

    def _no_room(self, problem: Full) -> None:
        self.full = True
        if self.clock.seconds() - self._full_logged >= LOG_FULL:
            self._full_logged = self.clock.seconds()
            self.log.error("{problem}; submissions are refused meanwhile", problem=problem)

    def _perform(self, rest: list[Action | Perform], heard: Sequence[Heard]) -> None:
        """
        @param heard: what the pool had reported when these were gathered, if all of that is kept.
        """
        performers = self._perform_one
        for action in rest:
            perform = performers.get(type(action), _call)
            try:
                perform(action)
            except Exception:
                self.log.failure("could not do {action}", action=action)
        # Those that work first, then those that wait, then what is for nobody's eyes.
        self.pool.flush()
        dirty, self._dirty = self._dirty, set()
        for listener in dirty:
            listener.flush()
        if heard:
            for reports in heard:
                self.pool.kept(reports)
            self.pool.flush()
        self.retention.announced(self.announced)
        self._set_alarm()

    def _set_alarm(self) -> None:
        due = self.scheduler.next_deadline()
        if due == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_at = due
        if due is not None:
            self._alarm = self.clock.callLater(max(0.0, due - self.clock.seconds()), self._tick)

    def _tick(self) -> None:
        self._alarm = self._alarm_at = None
        self.handle(events.Tick())

    # Out.

    def touch(self, listener: Listener) -> None:
        """It has something to let go when the turn is over."""
        self._dirty.add(listener)

    def _reply(self, action: actions.Reply) -> None:
        listener = self.listeners.get(action.conn)
        if listener is not None:
            listener.answer(wire.ok(action.tag, action.text))
            self._dirty.add(listener)

    def _refuse(self, action: actions.Refuse) -> None:
        listener = self.listeners.get(action.conn)
        if listener is not None:
            listener.answer(wire.error(action.tag, action.error))
            self._dirty.add(listener)

    def _announce(self, action: actions.Announce) -> None:
        self.announced = cursor = action.cursor
        line = recall.event_line(cursor, action.job_id, action.state, action.outcome)
        for conn in action.conns:
            listener = self.listeners.get(conn)
            if listener is not None:
                listener.announce(line)
                self._dirty.add(listener)
        if self.watchers:
            for watcher in list(self.watchers):
                watcher.announced(action.cursor, action.job_id, line)
        if self.progress:
            self.progress.pop(action.job_id, None)

    def progressed(self, job_id: int, attempt: int, json: bytes) -> None:
        """A running attempt has said how far it is. One that is over is not listened to."""
        job = self.scheduler.jobs.get(job_id)
        if job is None or job.state is not State.RUNNING or job.attempt != attempt:
            return
        self.progress[job_id] = json
        line = wire.event(0, job_id, b"progress", json)
        for watcher in list(self.watchers):
            watcher.progressed(job_id, line)

    def _tell_again(self, conn: int, tell: Callable[[Listener], Coroutine[Deferred[Any], Any, None]]) -> None:
        listener = self.listeners.get(conn)
        if listener is None:
            return
        listener.hold(1)
        told = Deferred.fromCoroutine(tell(listener))
        told.addErrback(lambda failure: self.log.failure("could not recall", failure))
        told.addCallback(lambda _: listener.hold(-1))

    def _recall(self, action: actions.Recall) -> None:
        self._tell_again(action.conn, lambda listener: recall.tell_finishes(self, listener, action.ids))

    def _recall_group(self, action: actions.RecallGroup) -> None:
        self._tell_again(action.conn, lambda listener: recall.tell_group(self, listener, action.group))

    def _close(self, action: actions.Close) -> None:
        listener = self.listeners.get(action.conn)
        if listener is not None:
            listener.finish()

    async def close(self, keep: bool = False) -> None:
        """
        Start nothing more, end what runs, keep all that follows from it, and let go of the store.

        @param keep: let what runs run on, for the next daemon.
        """
        self.handle(events.Stopping())
        await self.pool.close(keep)
        await self.settled()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = self._alarm_at = None
        self.store.close()


def _call(action: Perform) -> None:
    action()
