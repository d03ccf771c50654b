"""
The pure core: an event and the time in, an ordered list of actions out.

It knows every job that has not ended, one byte of each that has, the queues,
and which connection is owed how many events. It knows no transport, no
process, no file and no clock. The rules:

- A job's state changes only here, only as L{jobd.job.TRANSITIONS} says, and each change is
  an L{Insert} or L{Update} that stands before what it promises.
- An attempt's number is kept before the attempt is started.
- A report for an attempt that is not the current one changes nothing.
- C{after} names older jobs only, so it has no cycles: an id is given out only
  once all that its job waits for exist.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs
from msgspec import UNSET

from jobd import events, wire
from jobd.actions import (
    Action,
    Announce,
    Close,
    Halt,
    Insert,
    KeepGroupEvent,
    KeepQueue,
    Kill,
    Note,
    Recall,
    RecallGroup,
    Refuse,
    Reply,
    Start,
    Update,
)
from jobd.ended import Ended
from jobd.errors import BadValue, Conflict, Draining, Finished, JobdError, NoSuchJob
from jobd.events import Event, Now
from jobd.job import (
    SATISFIED_BY,
    WORDS,
    WORTH_ANOTHER_ATTEMPT,
    Job,
    Lane,
    State,
    backoff_before,
    plan_of,
)
from jobd.ready import Queue
from jobd.snapshot import Kept, Snapshot
from jobd.spec import Submission, digest, parse_job, with_after
from jobd.subscriptions import Subscriptions

UNIT = 256
"""One processor, in the parts that short calls may share it in."""

_EITHER, _NO_CPU = (True, False), (False,)

ID = re.compile(r"-?[1-9][0-9]{0,17}\Z")
"""What C{after} may name: an id, or how far to count back."""

WHOLE_DAEMON = "*"
"""The name under which a pause of everything is kept; no queue can have it."""


@attrs.define(slots=True, eq=False)
class Group:
    """Jobs with the same C{group}, as long as one of them has not ended."""

    unfinished: int = 0
    counts: dict[str, int] = attrs.Factory(dict)
    waiters: list[int] = attrs.Factory(list)


class Scheduler:
    """
    @ivar jobs: the jobs that have not ended, by id.
    @ivar ended: the final states of those that have.
    @ivar next_id: the id of the next job.
    @ivar cursor: of the newest event.
    """

    def __init__(self, cpus: int = 1) -> None:
        self.jobs: dict[int, Job] = {}
        self.ended = Ended()
        self.keys: dict[str, tuple[int, int]] = {}
        self.queues: dict[str, Queue] = {}
        self.next_id = 1
        self.cursor = 0
        self.paused = False
        self.draining = False
        self.capacity = cpus * UNIT
        self.used = 0
        self.running = 0
        self.depth = 1
        self.ahead = 1
        self.starts = 0
        self._ready = {True: 0, False: 0}
        self.totals = dict.fromkeys(WORDS[State.SUCCEEDED :], 0)
        self.groups: dict[str, Group] = {}
        self.blocked: dict[int, dict[int, str]] = {}
        self._dependents: dict[int, list[int]] = {}
        self._group_of: dict[int, str] = {}
        self._key_of: dict[int, str] = {}
        self._subscriptions = Subscriptions()
        self._deadlines: list[tuple[float, int]] = []
        self._halted = False
        self._handlers: dict[type, Callable[[Any, Now, list[Action]], None]] = {
            events.Submit: self._submit,
            events.Finished: self._finished,
            events.Returned: self._returned,
            events.Wait: self._wait,
            events.WaitGroup: self._wait_group,
            events.Cancel: self._cancel,
            events.SetQueue: self._set_queue,
            events.Drain: self._drain,
            events.InputEnded: self._input_ended,
            events.Disconnected: self._disconnected,
            events.Long: self._long,
            events.Stopping: self._stopping,
            events.Capacity: self._set_capacity,
            events.Pruned: self._pruned,
            events.Tick: self._tick,
        }

    def handle(self, event: Event, now: Now) -> list[Action]:
        """
        What follows from an event. A request that is wrong becomes a
        L{Refuse}, and nothing else changes.
        """
        out: list[Action] = []
        self._handlers[type(event)](event, now, out)
        if self._ready[False] or (self._ready[True] and self.used < self.capacity):
            self._dispatch(now, out)
        if self.draining and not self.running and not self._halted:
            self._halted = True
            out.append(Halt())
        return out

    def next_deadline(self) -> float | None:
        """When, on the steady clock, a L{events.Tick} is due; None: never."""
        while self._deadlines:
            if self._stands(self._deadlines[0]):
                return self._deadlines[0][0]
            heapq.heappop(self._deadlines)
        return None

    def _stands(self, deadline: tuple[float, int]) -> bool:
        """Whether the job still has this deadline: those that it has no more stay until their time."""
        job = self.jobs.get(deadline[1])
        return job is not None and job.deadline == deadline[0]

    def _set_deadline(self, job: Job, when: float) -> None:
        job.deadline = when
        heapq.heappush(self._deadlines, (when, job.id))
        if len(self._deadlines) > 2 * len(self.jobs) + 1000:
            # Short jobs with long timeouts: no more than a job has at most one.
            self._deadlines = list(filter(self._stands, self._deadlines))
            heapq.heapify(self._deadlines)

    def state_of(self, job_id: int) -> State | None:
        job = self.jobs.get(job_id)
        return self.ended.get(job_id) if job is None else job.state

    def queue(self, name: str) -> Queue:
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(name)
        return queue

    def restore(self, snapshot: Snapshot, now: Now) -> list[Job]:
        """
        Become again what was kept. Returns the jobs that were running: the
        caller reports how each of them ended.
        """
        self.next_id = snapshot.next_id
        self.cursor = snapshot.cursor
        for job_id, state in snapshot.ended:
            self.ended.set(job_id, State(state))
        for key, job_id, fingerprint in snapshot.keys:
            self._remember_key(job_id, key, fingerprint)
        for name, limit, paused in snapshot.queues:
            if name == WHOLE_DAEMON:
                self.paused = paused
            else:
                self.queue(name).limit = limit
                self.queue(name).paused = paused
        for name, counts in snapshot.groups.items():
            self.groups[name] = Group(counts=counts)
        for kept in snapshot.jobs:
            self._restore_job(kept, now)
        return [job for job in self.jobs.values() if job.state is State.RUNNING]

    def _restore_job(self, kept: Kept, now: Now) -> None:
        spec = parse_job(kept.spec).spec
        job = Job(kept.id, kept.state, plan_of(spec), kept.spec, kept.submitted)
        job.attempt, job.started, job.due = kept.attempt, kept.started, kept.due
        job.ending, job.outcome = kept.ending, kept.outcome
        self.jobs[job.id] = job
        if spec.group is not None:
            self._join_group(job.id, spec.group)
        queue = self.queue(job.plan.queue)
        if job.state is State.RUNNING:
            queue.running += 1
            self.running += 1
        elif job.state is State.QUEUED:
            self._enqueue(job)
        else:
            after = resolve_after(spec.after, [])
            # What is not there has ended as it was to: else this job would have been skipped.
            remaining = {other: policy for other, policy in after.items() if other in self.jobs}
            if remaining:
                self._block(job, remaining)
            else:
                self._sleep(job, now)

    # Submissions.

    def _submit(self, event: events.Submit, now: Now, out: list[Action]) -> None:
        try:
            self._check(event)
        except JobdError as problem:
            out.append(Refuse(event.conn, event.tag, problem))
            return
        # The reply goes before the events of its own jobs, which may be skipped as they come in.
        reply = Reply(event.conn, event.tag)
        out.append(reply)
        ids: list[int] = []
        again: list[int] = []
        for index, submission in enumerate(event.jobs):
            known = self.keys.get(submission.spec.key) if submission.spec.key is not None else None
            if known is None:
                retry_of = event.retry_of[index] if event.retry_of else None
                ids.append(self._accept(event.conn, submission, ids, retry_of, now, out))
                continue
            ids.append(known[0])
            if submission.spec.notify:
                again.append(known[0])
        reply.text = (b"%d" % ids[0]) if len(ids) == 1 else wire.format_ids(ids).encode()
        if again:
            self._subscribe(event.conn, again, out)

    def _check(self, event: events.Submit) -> None:
        """All or none: find whatever is wrong before anything is changed."""
        if self.draining:
            raise Draining("the daemon is draining and accepts no more jobs")
        fresh: dict[str, int] = {}
        for index, (spec, json) in enumerate(event.jobs):
            if spec.after:
                self._check_after(spec.after, index)
            if spec.key is None:
                continue
            fingerprint = digest(json)
            job_id, known = self.keys.get(spec.key, (0, fresh.setdefault(spec.key, fingerprint)))
            if known != fingerprint:
                owner = f"belongs to job {job_id}, which is another job" if job_id else "stands for two jobs here"
                raise Conflict(f"key {spec.key!r} {owner}")

    def _check_after(self, after: list[int] | dict[str, Any], index: int) -> None:
        for name in after:
            text = str(name)
            if not ID.match(text):
                raise BadValue(f"after: {wire.excerpt(text.encode())} is not a job id")
            number = int(text)
            if -index <= number < 0:
                continue
            if number < 0:
                raise BadValue(f"after: {number} counts back beyond the beginning of the list of jobs")
            if self.state_of(number) is None:
                raise NoSuchJob(f"after: there is no job {number}")

    def _accept(
        self,
        conn: int,
        submission: Submission,
        earlier: list[int],
        retry_of: int | None,
        now: Now,
        out: list[Action],
    ) -> int:
        spec, json = submission
        fingerprint = None
        if spec.key is not None:
            fingerprint = digest(json)
            self._remember_key(self.next_id, spec.key, fingerprint)
        after = resolve_after(spec.after, earlier) if spec.after else {}
        if spec.after and any(int(name) < 0 for name in spec.after):
            json = with_after(json, after)
        job = Job(self.next_id, State.QUEUED, plan_of(spec), json, now.wall)
        self.next_id += 1
        self.jobs[job.id] = job
        if spec.group is not None:
            self._join_group(job.id, spec.group)
        if spec.notify and conn:
            job.notify = conn
            self._subscriptions.expect(conn)
        out.append(Insert(job, spec, fingerprint, retry_of))
        if spec.delay:
            job.due = now.wall + spec.delay
        if after:
            self._await(job, after, now, out)
        elif spec.delay:
            self._sleep(job, now)
        else:
            self._enqueue(job)
        return job.id

    def _await(self, job: Job, after: dict[int, str], now: Now, out: list[Action]) -> None:
        """Block the job until all that it comes after has ended as it wishes; skip it if that can no longer be."""
        remaining = {}
        for other, policy in after.items():
            state = self.ended.get(other)
            if state is None and other in self.jobs:
                remaining[other] = policy
            elif state is not None and state not in SATISFIED_BY[policy]:
                self._end(job, State.SKIPPED, b'{"because": %d}' % other, now, out)
                return
        job.state = State.WAITING
        if not remaining:
            self._unblocked(job, now, out)
            return
        self._block(job, remaining)

    def _block(self, job: Job, remaining: dict[int, str]) -> None:
        self.blocked[job.id] = remaining
        for other in remaining:
            self._dependents.setdefault(other, []).append(job.id)

    def _unblocked(self, job: Job, now: Now, out: list[Action]) -> None:
        if job.due is not None and job.due > now.wall:
            self._sleep(job, now)
        else:
            self._make_ready(job, out)

    def _sleep(self, job: Job, now: Now) -> None:
        job.state = State.WAITING
        self._set_deadline(job, now.steady + max(0.0, (job.due or 0.0) - now.wall))

    def _make_ready(self, job: Job, out: list[Action]) -> None:
        job.state = State.QUEUED
        job.due = None
        self._enqueue(job)
        out.append(Update(job))

    def _remember_key(self, job_id: int, key: str, fingerprint: int) -> None:
        self.keys[key] = (job_id, fingerprint)
        self._key_of[job_id] = key

    def _enqueue(self, job: Job, first: bool = False) -> None:
        self._ready[job.plan.cpus > 0] += 1
        self.queue(job.plan.queue).add(job, first)

    def _dequeue(self, job: Job) -> None:
        self._ready[job.plan.cpus > 0] -= 1
        self.queues[job.plan.queue].queued -= 1

    def _join_group(self, job_id: int, name: str) -> None:
        group = self.groups.setdefault(name, Group())
        group.unfinished += 1
        self._group_of[job_id] = name

    # Starting.

    def _dispatch(self, now: Now, out: list[Action]) -> None:
        """Start what there is room for."""
        if self.paused or self.draining:
            return
        full: Queue | None = None
        while True:
            cpu = full is None and self._ready[True] > 0 and self.used < self.capacity
            if not cpu and not self._ready[False]:
                return
            job = self._next(cpu)
            if job is None:
                return
            queue, needs_cpu = self.queues[job.plan.queue], job.plan.cpus > 0
            cost = self._cost(job)
            if needs_cpu and self.used + cost > self.capacity:
                # It keeps its turn: nothing smaller may slip past it for ever. What takes no place may.
                full = queue
                continue
            queue.line(needs_cpu).take()
            self._start(job, queue, cost, now, out)
            if queue is full:
                # By this start the turn may have gone to another queue, or the queue has come to its limit.
                full = None

    def _next(self, cpu: bool) -> Job | None:
        """
        The most urgent job of all open queues; of equals one of the queue that was served longest ago.

        @param cpu: whether it may be one that needs a processor.
        """
        best: Job | None = None
        rank = (0, 0, 0)
        for queue in self.queues.values():
            if not queue.open:
                continue
            for needs_cpu in _EITHER if cpu else _NO_CPU:
                job = queue.line(needs_cpu).head()
                if job is None:
                    continue
                candidate = (-job.plan.priority, queue.served, job.id)
                if best is None or candidate < rank:
                    best, rank = job, candidate
        return best

    def _cost(self, job: Job) -> int:
        plan = job.plan
        if plan.cpus == 1 and plan.lane is not Lane.IO:
            return UNIT // (self.depth if plan.lane is Lane.CPU else self.ahead)
        return min(plan.cpus * UNIT, self.capacity)

    def _start(self, job: Job, queue: Queue, cost: int, now: Now, out: list[Action]) -> None:
        self.starts += 1
        self._dequeue(job)
        queue.running += 1
        queue.served = self.starts
        self.running += 1
        self.used += cost
        job.cost = cost
        job.state = State.RUNNING
        job.attempt += 1
        job.started = now.wall
        if job.plan.timeout is not None:
            self._set_deadline(job, now.steady + job.plan.timeout)
        out.append(Update(job))
        cpus = min(job.plan.cpus, self.capacity // UNIT)
        out.append(Start(job.id, job.attempt, job.plan.lane, job.spec, cpus))

    def _stop_running(self, job: Job) -> None:
        self.queues[job.plan.queue].running -= 1
        self.running -= 1
        self.used -= job.cost
        job.cost = 0
        job.deadline = None

    # Reports from the pool.

    def _current(self, job_id: int, attempt: int, out: list[Action]) -> Job | None:
        job = self.jobs.get(job_id)
        if job is None or job.attempt != attempt or job.state is not State.RUNNING:
            out.append(Note(f"dropped a report for job {job_id}, attempt {attempt}, which is not the current one"))
            return None
        return job

    def _finished(self, event: events.Finished, now: Now, out: list[Action]) -> None:
        job = self._current(event.job_id, event.attempt, out)
        if job is None:
            return
        self._stop_running(job)
        state = job.ending or event.state
        if state in WORTH_ANOTHER_ATTEMPT and job.attempt < job.plan.attempts:
            self._try_again(job, event.outcome, now, out)
        else:
            self._end(job, state, event.outcome, now, out)

    def _try_again(self, job: Job, outcome: bytes, now: Now, out: list[Action]) -> None:
        job.ending = None
        job.outcome = outcome
        job.due = now.wall + backoff_before(job.plan, job.attempt + 1)
        self._sleep(job, now)
        out.append(Update(job))

    def _returned(self, event: events.Returned, now: Now, out: list[Action]) -> None:
        job = self._current(event.job_id, event.attempt, out)
        if job is None:
            return
        self._stop_running(job)
        if job.ending is State.CANCELLED:
            self._end(job, State.CANCELLED, b"{}", now, out)
            return
        job.attempt -= 1
        job.started = None
        job.ending = None
        job.state = State.QUEUED
        self._enqueue(job, first=True)
        out.append(Update(job))

    def _long(self, event: events.Long, now: Now, out: list[Action]) -> None:
        job = self._current(event.job_id, event.attempt, out)
        if job is not None and job.cost < UNIT:
            self.used += UNIT - job.cost
            job.cost = UNIT

    # Endings.

    def _end(self, job: Job, state: State, outcome: bytes, now: Now, out: list[Action]) -> None:
        """End a job, tell whoever is to be told, and let go on, or skip, what waited for it."""
        if job.id not in self._dependents:
            self._end_one(job, state, outcome, now, out)
            return
        pending = [(job, state, outcome)]
        while pending:
            job, state, outcome = pending.pop()
            self._end_one(job, state, outcome, now, out)
            for later in self._dependents.pop(job.id, ()):
                self._settle(later, job.id, state, now, out, pending)

    def _settle(
        self,
        later: int,
        earlier: int,
        state: State,
        now: Now,
        out: list[Action],
        pending: list[tuple[Job, State, bytes]],
    ) -> None:
        remaining = self.blocked.get(later)
        if remaining is None:
            return
        policy = remaining.pop(earlier)
        if state not in SATISFIED_BY[policy]:
            del self.blocked[later]
            pending.append((self.jobs[later], State.SKIPPED, b'{"because": %d}' % earlier))
        elif not remaining:
            del self.blocked[later]
            self._unblocked(self.jobs[later], now, out)

    def _end_one(self, job: Job, state: State, outcome: bytes, now: Now, out: list[Action]) -> None:
        self.cursor += 1
        job.state = state
        job.cursor = self.cursor
        job.outcome = outcome
        job.ended = now.wall
        job.due = None
        del self.jobs[job.id]
        self.ended.set(job.id, state)
        self.totals[WORDS[state]] += 1
        out.append(Update(job))
        self._tell(
            Announce(job.cursor, job.id, state, outcome, self._subscriptions.recipients(job.id, job.notify)), out
        )
        name = self._group_of.pop(job.id, None)
        if name is not None:
            self._leave_group(name, state, out)

    def _leave_group(self, name: str, state: State, out: list[Action]) -> None:
        group = self.groups[name]
        group.unfinished -= 1
        word = WORDS[state]
        group.counts[word] = group.counts.get(word, 0) + 1
        if group.unfinished:
            return
        del self.groups[name]
        self.cursor += 1
        json = wire.to_json({"group": name, **group.counts})
        out.append(KeepGroupEvent(self.cursor, name, json))
        waiters = [conn for conn in group.waiters if conn in self._subscriptions]
        self._tell(Announce(self.cursor, 0, None, json, waiters), out)

    def _tell(self, announcement: Announce, out: list[Action]) -> None:
        out.append(announcement)
        out.extend(map(Close, self._subscriptions.pay(announcement.conns)))

    # Who is owed an event.

    def _subscribe(self, conn: int, ids: Iterable[int], out: list[Action]) -> None:
        """One event for each job: when it ends, or again at once where it has."""
        over = []
        for job_id in ids:
            job = self.jobs.get(job_id)
            if job is None:
                over.append(job_id)
            else:
                self._subscriptions.listen(conn, job_id, job.notify)
        if over:
            out.append(Recall(conn, over))

    def _wait(self, event: events.Wait, now: Now, out: list[Action]) -> None:
        out.append(Reply(event.conn, event.tag, b"%d" % len(event.ids)))
        self._subscribe(event.conn, event.ids, out)

    def _wait_group(self, event: events.WaitGroup, now: Now, out: list[Action]) -> None:
        out.append(Reply(event.conn, event.tag, b"1"))
        group = self.groups.get(event.group)
        if group is None:
            out.append(RecallGroup(event.conn, event.group))
        else:
            group.waiters.append(event.conn)
            self._subscriptions.expect(event.conn)

    def _input_ended(self, event: events.InputEnded, now: Now, out: list[Action]) -> None:
        if self._subscriptions.leave(event.conn):
            out.append(Close(event.conn))

    def _disconnected(self, event: events.Disconnected, now: Now, out: list[Action]) -> None:
        self._subscriptions.forget(event.conn)

    # Cancelling and time.

    def _cancel(self, event: events.Cancel, now: Now, out: list[Action]) -> None:
        if event.alone:
            state = self.ended.get(event.ids[0])
            if state is not None:
                text = f"job {event.ids[0]} has ended already: {WORDS[state]}"
                out.append(Refuse(event.conn, event.tag, Finished(text)))
                return
        reply = Reply(event.conn, event.tag)
        out.append(reply)
        count = 0
        for job_id in event.ids:
            job = self.jobs.get(job_id)
            if job is not None:
                count += 1
                self._cancel_one(job, now, out)
        reply.text = b"%d" % count

    def _cancel_one(self, job: Job, now: Now, out: list[Action]) -> None:
        if job.state is State.RUNNING:
            if job.ending is not State.CANCELLED:
                self._ask_to_end(job, State.CANCELLED, out)
            return
        if job.state is State.QUEUED:
            self._dequeue(job)
        self.blocked.pop(job.id, None)
        self._end(job, State.CANCELLED, job.outcome or b"{}", now, out)

    def _ask_to_end(self, job: Job, why: State, out: list[Action]) -> None:
        """Kept before the process is told, so that a crash in between cannot undo it."""
        asked = job.ending is not None
        job.ending = why
        out.append(Update(job))
        if not asked:
            out.append(Kill(job.id, job.attempt, job.plan.lane, job.plan.grace))

    def _tick(self, event: events.Tick, now: Now, out: list[Action]) -> None:
        while True:
            when = self.next_deadline()
            if when is None or when > now.steady:
                return
            job = self.jobs[heapq.heappop(self._deadlines)[1]]
            job.deadline = None
            if job.state is State.WAITING:
                self._make_ready(job, out)
            elif job.ending is None:
                self._ask_to_end(job, State.TIMED_OUT, out)

    # The operator.

    def _set_queue(self, event: events.SetQueue, now: Now, out: list[Action]) -> None:
        if event.name is None:
            self.paused = bool(event.paused)
            out.append(KeepQueue(WHOLE_DAEMON, None, self.paused))
            out.append(Reply(event.conn, event.tag))
            return
        queue = self.queue(event.name)
        if event.limit is not UNSET:
            queue.limit = event.limit
        if event.paused is not UNSET:
            queue.paused = event.paused
        if event.limit is not UNSET or event.paused is not UNSET:
            out.append(KeepQueue(queue.name, queue.limit, queue.paused))
        shown = {
            "queue": queue.name,
            "limit": queue.limit,
            "paused": queue.paused,
            "queued": queue.queued,
            "running": queue.running,
        }
        out.append(Reply(event.conn, event.tag, wire.to_json(shown) if event.show else b""))

    def _drain(self, event: events.Drain, now: Now, out: list[Action]) -> None:
        self.draining = True
        out.append(Reply(event.conn, event.tag, b"%d" % self.running))

    def _stopping(self, event: events.Stopping, now: Now, out: list[Action]) -> None:
        self.draining = self._halted = True

    def _set_capacity(self, event: events.Capacity, now: Now, out: list[Action]) -> None:
        self.capacity = event.cpus * UNIT
        self.depth = event.depth
        self.ahead = event.ahead

    def _pruned(self, event: events.Pruned, now: Now, out: list[Action]) -> None:
        for job_id in event.ids:
            self.ended.forget(job_id)
            key = self._key_of.pop(job_id, None)
            if key is not None:
                del self.keys[key]
        self.ended.trim()


def resolve_after(after: list[int] | dict[str, Any], earlier: list[int]) -> dict[int, str]:
    """
    The ids that a job comes after, each with its policy.

    @param earlier: the ids of the jobs before it in its submission: what negative numbers count back in.
    """
    policies = after if isinstance(after, dict) else dict.fromkeys(after, "ok")
    return {(number if (number := int(name)) > 0 else earlier[number]): policy for name, policy in policies.items()}
