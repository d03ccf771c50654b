"""
The pure core: an event and the time in, an ordered list of actions out.

It knows every job that has not ended, but little of those that are far from their turn, one byte of each that has
ended, the queues, and which connection is owed how many events. It knows no transport, no
process, no file and no clock. The rules:

- A job's state changes only here, only as L{jobd.job.TRANSITIONS} says, and each change is
  an L{Insert} or L{Update} that stands before what it promises.
- An attempt's number is kept before the attempt is started.
- A report for an attempt that is not the current one changes nothing.
- C{after} names older jobs only, so it has no cycles: an id is given out only
  once all that its job waits for exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import UNSET

from jobd import events, wire
from jobd.actions import (
    Action,
    Announce,
    Close,
    Fetch,
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
from jobd.after import check_after, resolve_after
from jobd.deadlines import Deadlines
from jobd.ended import Ended
from jobd.errors import Conflict, Draining, Finished, JobdError
from jobd.events import Event, Now
from jobd.groups import Group, Groups
from jobd.job import (
    QUEUED,
    RUNNING,
    SATISFIED_BY,
    SUCCEEDED,
    WORDS,
    WORTH_ANOTHER_ATTEMPT,
    Job,
    JobSpec,
    State,
    backoff_before,
    plan_of,
)
from jobd.places import BLOCK, LEAST, UNIT, Places
from jobd.snapshot import Kept, Snapshot
from jobd.spec import Submission, parse_kept, with_after
from jobd.subscriptions import Subscriptions

WHOLE_DAEMON = "*"
"""The name under which a pause of everything is kept; no queue can have it."""


NEAR = 65_536
"""Jobs that are here before any is taken for far from its turn: some 20 MB."""


class Scheduler:
    """
    @param near: with so many jobs here, of those that come behind many others only what may be asked of them is kept.
    @ivar jobs: the jobs that have not ended, by id, but for those far from their turn: see L{job}.
    @ivar ended: the final states of those that have.
    @ivar next_id: the id of the next job.
    @ivar cursor: of the newest event.
    @ivar stuck: running jobs that were killed and do not go away.
    @ivar unreadable: how many records were found that could not be read.
    """

    def __init__(self, cpus: int = 1, near: int = NEAR) -> None:
        self.jobs: dict[int, Job] = {}
        self.ended = Ended()
        self.keys: dict[str, tuple[int, int]] = {}
        self.next_id = 1
        self.cursor = 0
        self.draining = False
        self.stuck: set[int] = set()
        self.totals = dict.fromkeys(WORDS[State.SUCCEEDED :], 0)
        self.unreadable = 0
        self.places = Places(cpus, min(LEAST, near), min(BLOCK, near))
        self.groups = Groups()
        self.blocked: dict[int, dict[int, str]] = {}
        self._dependents: dict[int, list[int]] = {}
        self._key_of: dict[int, str] = {}
        self._subscriptions = Subscriptions()
        self._deadlines = Deadlines(self.jobs)
        self._halted = False
        self._near = near
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
            events.Stuck: self._stuck,
            events.Stopping: self._stopping,
            events.Capacity: self._set_capacity,
            events.Pruned: self._pruned,
            events.Fetched: self._fetched,
            events.Tick: self._tick,
        }

    def handle(self, event: Event, now: Now, out: list[Any] | None = None) -> list[Any]:
        """
        What follows from an event, but for the starts: see L{fill}. A request that is wrong becomes a
        L{Refuse}, and nothing else changes.

        @param out: the actions up to now, to which those that follow are added.
        """
        if out is None:
            out = []
        self._handlers[type(event)](event, now, out)
        return out

    def fill(self, now: Now) -> list[Action]:
        """
        Start what there is a place for, and ask for what comes near; once drained, halt. To be asked after the events
        of a turn: what has happened may have made room, or jobs ready.
        """
        out: list[Action] = []
        if not self.draining:
            if self.places.rows:
                # Blocks of which nobody is left make room for what stands behind them; below, for what began.
                out += map(Fetch, self.places.wanted())
            most, wall = self.places.capacity // UNIT, now.wall
            for job in self.places.fill():
                plan = job.plan
                job.state = RUNNING
                job.attempt = attempt = job.attempt + 1
                job.started = wall
                if plan.timeout is not None:
                    self._deadlines.set(job, now.steady + plan.timeout)
                cpus = plan.cpus
                out += (Update(job), Start(job.id, attempt, plan.lane, job.spec, cpus if cpus < most else most, wall))
            if self.places.rows:
                out += map(Fetch, self.places.wanted())
        elif not self.places.running and not self._halted:
            self._halted = True
            out.append(Halt())
        return out

    def next_deadline(self) -> float | None:
        """When, on the steady clock, a L{events.Tick} is due; None: never."""
        return self._deadlines.next()

    def job(self, job_id: int) -> Job | None:
        """A job that has not ended. Of one that is far from its turn here are its plan and whom to tell."""
        job = self.jobs.get(job_id)
        return self.places.find(job_id) if job is None else job

    def is_live(self, job_id: int) -> bool:
        """Whether there is such a job and it has not ended."""
        return job_id in self.jobs or self.places.is_far(job_id)

    def state_of(self, job_id: int) -> State | None:
        job = self.jobs.get(job_id)
        if job is not None:
            return job.state
        return QUEUED if self.places.is_far(job_id) else self.ended.get(job_id)

    @property
    def waiting(self) -> int:
        """How many jobs wait for others or for their time."""
        queued = sum(queue.queued for queue in self.places.queues.values())
        return len(self.jobs) + self.places.away - queued - self.places.running

    def restore(self, snapshot: Snapshot, now: Now) -> list[Action]:
        """
        Become again what was kept. Returns a L{Start} for each attempt that was running, to be
        reported by the pool whatever has become of it; then a L{Kill} for each that was to be ended, and what
        follows from records that cannot be read: their jobs are lost.
        """
        self.next_id = snapshot.next_id
        self.cursor = snapshot.cursor
        for job_id, state in snapshot.ended:
            self.ended.set(job_id, State(state))
        for key, job_id, fingerprint in snapshot.keys:
            self._remember_key(job_id, key, fingerprint)
        for name, limit, paused in snapshot.queues:
            if name == WHOLE_DAEMON:
                self.places.paused = paused
            else:
                queue = self.places.queue(name)
                queue.limit, queue.paused = limit, paused
        for name, counts in snapshot.groups.items():
            self.groups.restore(name, counts)
        aside = [job for kept in snapshot.jobs if (job := self._restore_job(kept, now)) is not None]
        running = [job for job in self.jobs.values() if job.state is RUNNING]
        out: list[Action] = [*map(self._start_of, running)]
        out += [_kill_of(job) for job in running if job.ending is not None]
        out += [Note(text) for text in snapshot.notes]
        out += [Note(f"how job {job_id} has ended cannot be read any more: it is lost") for job_id in snapshot.mended]
        for job in aside:
            self._lose_record(job, now, out)
        self.unreadable = len(aside) + len(snapshot.mended)
        return out

    def _restore_job(self, kept: Kept, now: Now) -> Job | None:
        """Returns a job whose record cannot be read. What waits for it must find it until all are restored."""
        try:
            spec = parse_kept(b"" if kept.unreadable else kept.spec)
            after = resolve_after(spec.after, []) if spec.after else {}
        except (ValueError, IndexError, RecursionError):
            job = Job(kept.id, State.WAITING, plan_of(JobSpec()), kept.spec, kept.submitted)
            job.attempt, job.started = kept.attempt, kept.started
            self.jobs[job.id] = job
            if kept.group is not None:
                self.groups.join(job.id, kept.group)
            return job
        job = Job(kept.id, kept.state, plan_of(spec), kept.spec, kept.submitted, 0, kept.attempt, kept.started)
        if kept.outcome is not None:
            job.outcome = kept.outcome
        if kept.due is not None:
            # A clock that was set back meanwhile makes nothing wait longer than it was to at first.
            pause = backoff_before(job.plan, job.attempt + 1) if job.attempt else spec.delay
            job.due = min(kept.due, now.wall + pause)
        if spec.group is not None:
            self.groups.join(job.id, spec.group)
        if job.state is QUEUED and not job.attempt:
            self._queue(job)
            return None
        self.jobs[job.id] = job
        if job.state is QUEUED:
            self.places.add(job)
        elif job.state is RUNNING:
            job.ending = kept.ending
            self.places.hold_again(job)
            if job.plan.timeout is not None and job.ending is None:
                left = (job.started or 0.0) + job.plan.timeout - now.wall
                self._deadlines.set(job, now.steady + min(max(0.0, left), job.plan.timeout))
        else:
            # What is not there has ended as it was to: else this job would have been skipped.
            remaining = {other: policy for other, policy in after.items() if self.is_live(other)}
            if remaining:
                self._block(job, remaining, now)
            else:
                self._sleep(job, now)
        return None

    # Submissions.

    def _submit(self, event: events.Submit, now: Now, out: list[Action]) -> None:
        conn, jobs = event.conn, event.jobs
        if self.draining or len(jobs) > 1 or not jobs[0].plain:
            try:
                self._check(event)
            except JobdError as problem:
                out.append(Refuse(conn, event.tag, problem))
                return
        # The reply goes before the events of its own jobs, which may be skipped as they come in.
        reply = Reply(conn, event.tag)
        out.append(reply)
        ids: list[int] = []
        again: list[int] = []
        for index, submission in enumerate(jobs):
            known = None if submission.plain else self.keys.get(submission.spec.key or "")
            if known is None:
                retry_of = event.retry_of[index] if event.retry_of else None
                ids.append(self._accept(conn, submission, ids, retry_of, now, out))
                continue
            ids.append(known[0])
            if submission.spec.notify:
                again.append(known[0])
        reply.text = (b"%d" % ids[0]) if len(ids) == 1 else wire.format_ids(ids).encode()
        if again:
            self._subscribe(conn, again, out)

    def _check(self, event: events.Submit) -> None:
        """All or none: find whatever is wrong before anything is changed."""
        if self.draining:
            raise Draining("the daemon is draining and accepts no more jobs")
        fresh: dict[str, int] = {}
        for index, submission in enumerate(event.jobs):
            if submission.plain:
                continue
            spec, fingerprint = submission.spec, submission.fingerprint
            if spec.after:
                check_after(spec.after, index, self.state_of)
            if fingerprint is None or spec.key is None:
                continue
            job_id, known = self.keys.get(spec.key, (0, fresh.setdefault(spec.key, fingerprint)))
            if known != fingerprint:
                owner = f"belongs to job {job_id}, which is another job" if job_id else "stands for two jobs here"
                raise Conflict(f"key {spec.key!r} {owner}")

    def _accept(
        self,
        conn: int,
        submission: Submission,
        earlier: Sequence[int],
        retry_of: int | None,
        now: Now,
        out: list[Action],
    ) -> int:
        spec, job_id = submission.spec, self.next_id
        self.next_id = job_id + 1
        notify = conn if spec.notify else 0
        if notify:
            self._subscriptions.expect(notify)
        job = Job(job_id, QUEUED, submission.plan, submission.json, now.wall, notify)
        if submission.plain:
            out.append(Insert(job, None if spec.label is None else spec, None, retry_of))
            self._queue(job)
        else:
            known = None if spec.key is None and spec.group is None and spec.label is None else spec
            out.append(Insert(job, known, submission.fingerprint, retry_of))
            self._relate(job, submission, earlier, now, out)
        return job_id

    def _queue(self, job: Job) -> None:
        """A job that was never begun is ready. It may be far from its turn."""
        places, jobs = self.places, self.jobs
        if (places.rows or len(jobs) >= self._near) and places.add_far(job):
            return
        jobs[job.id] = job
        places.add(job)

    def _relate(self, job: Job, submission: Submission, earlier: Sequence[int], now: Now, out: list[Action]) -> None:
        """A job that has to do with others, or with the time."""
        spec, fingerprint = submission.spec, submission.fingerprint
        if fingerprint is not None and spec.key is not None:
            self._remember_key(job.id, spec.key, fingerprint)
        if spec.group is not None:
            self.groups.join(job.id, spec.group)
        if spec.delay:
            job.due = now.wall + spec.delay
        if spec.after:
            after = resolve_after(spec.after, earlier)
            if any(int(name) < 0 for name in spec.after):
                job.spec = with_after(job.spec, after)
            self.jobs[job.id] = job
            self._await(job, after, now, out)
        elif spec.delay:
            self.jobs[job.id] = job
            self._sleep(job, now)
        else:
            self._queue(job)

    def _await(self, job: Job, after: dict[int, str], now: Now, out: list[Action]) -> None:
        """Block the job until all that it comes after has ended as it wishes; skip it if that can no longer be."""
        remaining = {}
        for other, policy in after.items():
            state = self.ended.get(other)
            if state is None and self.is_live(other):
                remaining[other] = policy
            elif state is not None and state not in SATISFIED_BY[policy]:
                self._end(job, State.SKIPPED, b'{"because": %d}' % other, now, out)
                return
        job.state = State.WAITING
        if not remaining:
            self._unblocked(job, now, out)
            return
        self._block(job, remaining, now)

    def _block(self, job: Job, remaining: dict[int, str], now: Now) -> None:
        self.blocked[job.id] = remaining
        if job.due is not None:
            # Whoever sets the clock meanwhile does not change how long it waits.
            self._deadlines.set(job, now.steady + max(0.0, job.due - now.wall))
        for other in remaining:
            self._dependents.setdefault(other, []).append(job.id)

    def _unblocked(self, job: Job, now: Now, out: list[Action]) -> None:
        if job.due is None:
            self._make_ready(job, out)
        elif job.deadline is None:
            self._sleep(job, now)

    def _sleep(self, job: Job, now: Now) -> None:
        job.state = State.WAITING
        self._deadlines.set(job, now.steady + max(0.0, (job.due or 0.0) - now.wall))

    def _make_ready(self, job: Job, out: list[Action]) -> None:
        job.state = State.QUEUED
        job.due = None
        self.places.add(job)
        out.append(Update(job))

    def _remember_key(self, job_id: int, key: str, fingerprint: int) -> None:
        self.keys[key] = (job_id, fingerprint)
        self._key_of[job_id] = key

    def _fetched(self, event: events.Fetched, now: Now, out: list[Action]) -> None:
        """Jobs are not far from their turn any more."""
        jobs = event.block.jobs(event.found)
        self.jobs.update({job.id: job for job in jobs})
        self.places.come_near(event.block, jobs)
        for job in jobs:
            if not job.spec:
                self.places.remove(job)
                self.unreadable += 1
                self._lose_record(job, now, out)

    def _lose_record(self, job: Job, now: Now, out: list[Action]) -> None:
        out.append(Note(f"the record of job {job.id} cannot be read: it is lost"))
        self._end(job, State.LOST, b'{"error": "its record in the store could not be read"}', now, out)

    # Reports from the pool.

    def _start_of(self, job: Job) -> Start:
        cpus = min(job.plan.cpus, self.places.capacity // UNIT)
        return Start(job.id, job.attempt, job.plan.lane, job.spec, cpus, job.started or 0.0)

    def _stop_running(self, job: Job) -> None:
        self.places.release(job)
        if self.stuck:
            self.stuck.discard(job.id)
        if job.deadline is not None:
            job.deadline = None

    def _current(self, job_id: int, attempt: int, out: list[Action]) -> Job | None:
        job = self.jobs.get(job_id)
        if job is None or job.attempt != attempt or job.state is not RUNNING:
            out.append(Note(f"dropped a report for job {job_id}, attempt {attempt}, which is not the current one"))
            return None
        return job

    def _finished(self, event: events.Finished, now: Now, out: list[Action]) -> None:
        job = self._current(event.job_id, event.attempt, out)
        if job is None:
            return
        self._stop_running(job)
        state = event.state if job.ending is None else job.ending
        if state is not SUCCEEDED and job.attempt < job.plan.attempts and state in WORTH_ANOTHER_ATTEMPT:
            self._try_again(job, event.outcome, now, out)
        elif job.id in self._dependents:
            self._end(job, state, event.outcome, now, out)
        else:
            self._end_one(job, state, event.outcome, now, out)

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
        self.places.add(job, first=True)
        out.append(Update(job))

    def _stuck(self, event: events.Stuck, now: Now, out: list[Action]) -> None:
        if self._current(event.job_id, event.attempt, out) is not None and event.job_id not in self.stuck:
            self.stuck.add(event.job_id)
            out.append(Note(f"job {event.job_id} was killed and does not go away: it is stuck, and keeps its place"))

    def _long(self, event: events.Long, now: Now, out: list[Action]) -> None:
        job = self._current(event.job_id, event.attempt, out)
        if job is not None:
            self.places.widen(job)

    # Endings.

    def _end(self, job: Job, state: State, outcome: bytes, now: Now, out: list[Action]) -> None:
        """End a job, tell whoever is to be told, and let go on, or skip, what waited for it."""
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
        job_id = job.id
        self.cursor = cursor = self.cursor + 1
        job.state = state
        job.cursor = cursor
        job.outcome = outcome
        job.ended = now.wall
        if job.due is not None:
            job.due = None
        del self.jobs[job_id]
        self.ended.set(job_id, state)
        self.totals[WORDS[state]] += 1
        conns, over = self._subscriptions.tell(job_id, job.notify)
        out += (Update(job), Announce(cursor, job_id, state, outcome, conns))
        if over:
            out.extend(map(Close, over))
        if self.groups.open:
            last = self.groups.leave(job_id, state)
            if last is not None:
                self._end_group(*last, out)

    def _end_group(self, name: str, group: Group, out: list[Action]) -> None:
        self.cursor += 1
        json = wire.to_json({"group": name, **group.counts})
        out.append(KeepGroupEvent(self.cursor, name, json))
        waiters = [conn for conn in group.waiters if conn in self._subscriptions]
        out.append(Announce(self.cursor, 0, None, json, waiters))
        out.extend(map(Close, self._subscriptions.pay(waiters)))

    # Who is owed an event.

    def _subscribe(self, conn: int, ids: Iterable[int], out: list[Action]) -> None:
        """One event for each job: when it ends, or again at once where it has."""
        over = []
        for job_id in ids:
            job = self.job(job_id)
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
        if event.group in self.groups:
            self.groups.wait(event.group, event.conn)
            self._subscriptions.expect(event.conn)
        else:
            out.append(RecallGroup(event.conn, event.group))

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
            job = self.jobs.get(job_id) or self._take_far(job_id)
            if job is not None:
                count += 1
                self._cancel_one(job, now, out)
        reply.text = b"%d" % count

    def _take_far(self, job_id: int) -> Job | None:
        """Have one here that is far from its turn, which it is not to have any more."""
        job = self.places.take(job_id)
        if job is not None:
            self.jobs[job_id] = job
        return job

    def _cancel_one(self, job: Job, now: Now, out: list[Action]) -> None:
        if job.state is State.RUNNING:
            if job.ending is not State.CANCELLED:
                self._ask_to_end(job, State.CANCELLED, out)
            return
        if job.state is State.QUEUED:
            self.places.remove(job)
        self.blocked.pop(job.id, None)
        self._end(job, State.CANCELLED, job.outcome or b"{}", now, out)

    def _ask_to_end(self, job: Job, why: State, out: list[Action]) -> None:
        """Kept before the process is told, so that a crash in between cannot undo it."""
        asked = job.ending is not None
        job.ending = why
        out.append(Update(job))
        if not asked:
            out.append(_kill_of(job))

    def _tick(self, event: events.Tick, now: Now, out: list[Action]) -> None:
        while (job := self._deadlines.take(now.steady)) is not None:
            if job.id in self.blocked:
                job.due = None
                out.append(Update(job))
            elif job.state is State.WAITING:
                self._make_ready(job, out)
            elif job.ending is None:
                self._ask_to_end(job, State.TIMED_OUT, out)

    # The operator.

    def _set_queue(self, event: events.SetQueue, now: Now, out: list[Action]) -> None:
        if event.name is None:
            self.places.paused = bool(event.paused)
            out.append(KeepQueue(WHOLE_DAEMON, None, self.places.paused))
            out.append(Reply(event.conn, event.tag))
            return
        queue = self.places.queue(event.name)
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
        out.append(Reply(event.conn, event.tag, b"%d" % self.places.running))
        if event.keep and not self._halted:
            self._halted = True
            out.append(Halt(keep=True))

    def _stopping(self, event: events.Stopping, now: Now, out: list[Action]) -> None:
        self.draining = self._halted = True

    def _set_capacity(self, event: events.Capacity, now: Now, out: list[Action]) -> None:
        self.places.capacity = event.cpus * UNIT
        self.places.depth, self.places.ahead = event.depth, event.ahead

    def _pruned(self, event: events.Pruned, now: Now, out: list[Action]) -> None:
        self.ended.forget(event.ids)
        if self._key_of:
            for job_id in event.ids:
                key = self._key_of.pop(job_id, None)
                if key is not None:
                    del self.keys[key]


def _kill_of(job: Job) -> Kill:
    return Kill(job.id, job.attempt, job.plan.lane, job.plan.grace)
