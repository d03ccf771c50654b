"""
The scheduler on a clock of its own, driven in short words, with its books
checked after every event; and how the random tests are run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import msgspec
from hypothesis import HealthCheck, seed, settings

from jobd import events, wire
from jobd.actions import Action, Announce, Fetch, Insert, Refuse, Reply, Start
from jobd.events import Event, Now
from jobd.job import TRANSITIONS, Job, Lane, State
from jobd.places import LARGEST, UNIT
from jobd.ready import Queue
from jobd.scheduler import NEAR, Scheduler
from jobd.snapshot import Snapshot
from jobd.spec import Submission, parse_submission
from jobd.store import Specs, Store

START = 1_800_000_000.0
"""Wall clock time at which every simulation begins."""

A = TypeVar("A")
T = TypeVar("T")
P = ParamSpec("P")


def repeatable(examples: int, steps: int = 50) -> settings:
    """
    The same examples in every run. With C{JOBD_TEST_SEED} in the environment they are others: those of that
    seed, or, if it is C{random}, new ones each time, and Hypothesis prints how to have a failure again.
    """
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize="JOBD_TEST_SEED" not in os.environ,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def seeded(test: Callable[P, T]) -> Callable[P, T]:
    """Give a random test the seed from C{JOBD_TEST_SEED}, if there is one."""
    number = os.environ.get("JOBD_TEST_SEED", "random")
    return test if number == "random" else seed(int(number))(test)


def base_seed() -> int:
    """Where tests that count their seeds begin: at 0, or at C{JOBD_TEST_SEED}."""
    number = os.environ.get("JOBD_TEST_SEED", "0")
    return random.SystemRandom().randrange(10**9) if number == "random" else int(number)


def bounded(examples: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A random test with L{repeatable} examples, so many of them."""
    return lambda test: seeded(repeatable(examples)(test))


def job(**fields: Any) -> dict[str, Any]:
    """A job to be submitted: the command C{true}, unless the fields say what."""
    return fields if fields.keys() & {"argv", "shell", "call", "pickle"} else {"argv": ["true"], **fields}


def call(**fields: Any) -> dict[str, Any]:
    """A call in the cpu lane."""
    return {"call": "m:f", **fields}


def submissions(*jobs: dict[str, Any]) -> list[Submission]:
    return parse_submission(wire.to_json(list(jobs)))


class Steps:
    """Which steps between states jobs have taken, by the scheduler's own hand."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[State | None, State]] = Counter()
        self._now: list[tuple[int, State | None, State]] = []

    def watched(self) -> type[Job]:
        """A class of jobs that write down here what becomes of them."""
        steps = self

        class Watched(Job):
            def __post_init__(self) -> None:
                steps._now.append((self.id, None, self.state))

            def __setattr__(self, name: str, value: Any) -> None:
                if name == "state" and value is not self.state:
                    steps._now.append((self.id, self.state, value))
                super().__setattr__(name, value)

            def __copy__(self) -> Job:
                """What a store takes of it is a plain job, whose steps are no steps."""
                return Job(*(getattr(self, field) for field in Job.__struct_fields__))

        return Watched

    def forget(self) -> None:
        """What was written down since the last look were no steps, but jobs being restored."""
        self._now = []

    def look(self) -> None:
        """
        Count the steps since the last look; each is one that L{TRANSITIONS} allows. A job is made as queued:
        it is what it becomes while it is accepted that is its first state.
        """
        born = {number for number, old, _ in self._now if old is None}
        for number, old, new in self._now:
            if old is None:
                continue
            if number in born:
                born.remove(number)
                if old is State.QUEUED and new in (State.WAITING, State.SKIPPED):
                    old = None
                else:
                    self._count(number, None, old)
            self._count(number, old, new)
        for number, old, new in self._now:
            if old is None and number in born:
                self._count(number, None, new)
        self._now = []

    def _count(self, number: int, old: State | None, new: State) -> None:
        allowed = TRANSITIONS.get(old, frozenset())
        assert new in allowed, f"job {number} went from {old!r} to {new!r}"
        self.taken[old, new] += 1


class Bench:
    """
    A scheduler and its time.

    @ivar story: every action up to now.
    @ivar kept: what a store would know of jobs that are far from their turn.
    """

    def __init__(self, cpus: int = 2, snapshot: Snapshot | None = None, near: int = NEAR) -> None:
        self.scheduler = Scheduler(cpus, near)
        self.steady = 0.0
        self.wall = START
        self.story: list[Action] = []
        self.kept: dict[int, tuple[float, bytes]] = {}
        self.restored: list[Action] = []
        if snapshot is not None:
            self.restored += self.scheduler.restore(snapshot, self.now)

    @property
    def now(self) -> Now:
        return Now(self.steady, self.wall)

    def handle(self, event: Event) -> list[Action]:
        """Let something happen, and check the books. What is far from its turn comes near when it is asked for."""
        out = [*self.scheduler.handle(event, self.now), *self.scheduler.fill(self.now)]
        check(self.scheduler, self.now)
        check_room(self.scheduler, out)
        self.story += out
        self.kept.update((one.job.id, (one.job.submitted, one.job.spec)) for one in of(Insert, out))
        for fetch in of(Fetch, out):
            found = {number: self.kept[number] for number in fetch.block.ids() if number in self.kept}
            out += self.handle(events.Fetched(fetch.block, found))
        return out

    # Requests.

    def submit(self, *jobs: dict[str, Any], conn: int = 0, retry_of: tuple[int, ...] = ()) -> list[int]:
        """
        Submit jobs.

        @return: their ids.
        @raise JobdError: they were refused.
        """
        out = self.handle(events.Submit(conn, b"", submissions(*jobs), retry_of))
        return ids_of(reply(out))

    def one(self, conn: int = 0, **fields: Any) -> int:
        """Submit a job and return its id."""
        return self.submit(job(**fields), conn=conn)[0]

    def cancel(self, *ids: int) -> list[Action]:
        return self.handle(events.Cancel(9, b"", list(ids), alone=len(ids) == 1))

    def wait(self, conn: int, *ids: int) -> list[Action]:
        return self.handle(events.Wait(conn, b"", list(ids)))

    def pause(self, name: str | None, paused: bool = True) -> list[Action]:
        return self.handle(events.SetQueue(9, b"", name, paused=paused))

    def limit(self, name: str, limit: int | None) -> list[Action]:
        return self.handle(events.SetQueue(9, b"", name, limit=limit))

    # Reports.

    def finish(self, job_id: int, state: State = State.SUCCEEDED, outcome: bytes = b"{}") -> list[Action]:
        """The current attempt ends."""
        return self.handle(events.Finished(job_id, self.scheduler.jobs[job_id].attempt, state, outcome))

    def give_back(self, job_id: int) -> list[Action]:
        return self.handle(events.Returned(job_id, self.scheduler.jobs[job_id].attempt))

    def capacity(self, cpus: int, depth: int = 1, ahead: int = 1) -> list[Action]:
        return self.handle(events.Capacity(cpus, depth, ahead))

    def advance(self, seconds: float) -> list[Action]:
        """Let time pass on both clocks."""
        self.steady += seconds
        self.wall += seconds
        return self.handle(events.Tick())

    # Looking.

    def state(self, job_id: int) -> State | None:
        return self.scheduler.state_of(job_id)

    def states(self, *ids: int) -> list[str]:
        return [state.word if (state := self.state(number)) is not None else "unknown" for number in ids]

    def started(self) -> list[int]:
        """The ids of all jobs that were started, in that order."""
        return [action.job_id for action in of(Start, self.story)]


def of(kind: type[A], actions: list[Action]) -> list[A]:
    """The actions of a kind."""
    return [action for action in actions if isinstance(action, kind)]


def reply(out: list[Action]) -> bytes:
    """The text of the only reply. If it is an error, that is raised."""
    for refusal in of(Refuse, out):
        raise refusal.error
    (found,) = of(Reply, out)
    return found.text


def ids_of(text: bytes) -> list[int]:
    ends = [part.split(b"-") for part in text.split(b",")]
    return [number for first, *last in ends for number in range(int(first), int(last[0] if last else first) + 1)]


def told(out: list[Action]) -> list[tuple[int, str, list[int]]]:
    """What is announced: job, state, to whom."""
    return [
        (action.job_id, "group" if action.state is None else action.state.word, action.conns)
        for action in of(Announce, out)
    ]


def outcome_of(out: list[Action], job_id: int) -> dict[str, Any]:
    """The outcome with which a job's end is announced."""
    (found,) = (action for action in of(Announce, out) if action.job_id == job_id)
    value: dict[str, Any] = msgspec.json.decode(found.outcome)
    return value


# What always holds.


def check(scheduler: Scheduler, now: Now) -> None:
    """All counters and indexes agree with the jobs."""
    jobs = scheduler.jobs
    for number, one in jobs.items():
        assert number == one.id < scheduler.next_id
        check_job(scheduler, one)
    away = far(scheduler)
    assert not away.keys() & jobs.keys() and len(away) == scheduler.places.away
    every = [*jobs.values(), *away.values()]
    running = [one for one in jobs.values() if one.state is State.RUNNING]
    assert scheduler.places.running == len(running)
    assert scheduler.places.used == sum(one.cost for one in running)
    for name, queue in scheduler.places.queues.items():
        states = Counter(one.state for one in every if one.plan.queue == name)
        assert (queue.queued, queue.running) == (states[State.QUEUED], states[State.RUNNING]), name
    members = Counter(scheduler.groups._of.values())
    assert {name: group.unfinished for name, group in scheduler.groups.open.items()} == dict(members)
    assert set(scheduler.groups._of) <= set(jobs) | set(away)
    for key, (number, _) in scheduler.keys.items():
        assert scheduler.state_of(number) is not None and scheduler._key_of[number] == key
    due = [one.deadline for one in jobs.values() if one.deadline is not None]
    assert scheduler.next_deadline() == (min(due) if due else None)
    check_idle(scheduler)


def check_job(scheduler: Scheduler, one: Job) -> None:
    assert not one.state.final and scheduler.ended.get(one.id) is None
    assert one.cursor == 0 and one.ended is None
    assert one.cost >= 0 and (one.state is State.RUNNING or one.cost == 0)
    assert one.ending is None or one.state is State.RUNNING
    remaining = scheduler.blocked.get(one.id)
    if remaining is not None:
        assert one.state is State.WAITING and remaining
        assert all(scheduler.job(other) is not None for other in remaining)
        assert max(remaining) < one.id
    elif one.state is State.WAITING:
        assert one.deadline is not None and one.due is not None
    elif one.state is State.QUEUED:
        assert one.deadline is None and one.due is None


def far(scheduler: Scheduler) -> dict[int, Job]:
    """The jobs that are far from their turn, by id: what is known of them."""
    blocks = [block for row in scheduler.places.rows for block in row.blocks]
    numbers = [number for block in blocks for number in block.ids()]
    return {number: one for number in numbers if (one := scheduler.job(number)) is not None}


def check_idle(scheduler: Scheduler) -> None:
    """Nothing that could run is left standing, and what is far from its turn was asked for when it comes near."""
    if scheduler.draining:
        return
    for row in scheduler.places.rows:
        first = row.blocks[0]
        assert first.asked or (len(first) and len(row.near) >= scheduler.places._least)
    if scheduler.places.paused:
        return
    for needs_cpu in (True, False):
        heads = [head for queue in scheduler.places.queues.values() if (head := head_of(queue, needs_cpu)) is not None]
        if heads:
            urgent = max(head.plan.priority for head in heads)
            if needs_cpu and coming(scheduler) > urgent:
                continue
            costs = [cost_of(scheduler, head) for head in heads if head.plan.priority == urgent]
            # A place takes at least one part of a processor, also where there is none.
            assert needs_cpu and max(1, *costs) + scheduler.places.used > scheduler.places.capacity, heads


def coming(scheduler: Scheduler) -> int:
    """The highest priority of those whose turn it is, and who are on their way: their place is kept for them."""
    lines = [queue.line(True) for queue in scheduler.places.queues.values() if queue.open]
    return max([line.top for line in lines if line.head() is None and line.row_is_far], default=-LARGEST)


def head_of(queue: Queue, needs_cpu: bool) -> Job | None:
    return queue.line(needs_cpu).head() if queue.open else None


def cost_of(scheduler: Scheduler, one: Job) -> int:
    """What a job would take of the processors if it were started now."""
    if one.plan.cpus == 1 and one.plan.lane is not Lane.IO:
        return UNIT // (scheduler.places.depth if one.plan.lane is Lane.CPU else scheduler.places.ahead)
    return min(one.plan.cpus * UNIT, scheduler.places.capacity)


def check_room(scheduler: Scheduler, out: list[Action]) -> None:
    """What has just been started had room."""
    for start in of(Start, out):
        one = scheduler.jobs[start.job_id]
        assert (one.state, one.attempt) == (State.RUNNING, start.attempt)
        queue = scheduler.places.queues[one.plan.queue]
        assert not (scheduler.places.paused or scheduler.draining or queue.paused)
        assert queue.limit is None or queue.running <= queue.limit
        assert one.plan.cpus == 0 or scheduler.places.used <= scheduler.places.capacity


def picture(scheduler: Scheduler, store: Store | None = None) -> dict[str, Any]:
    """
    All that must be the same once the scheduler is restored from its store.

    @param store: what is not known here of jobs that are far from their turn is looked up there.
    """
    away = far(scheduler)

    def found(specs: Specs | Exception) -> None:
        assert isinstance(specs, dict)
        for number, (submitted, spec) in specs.items():
            away[number].submitted, away[number].spec = submitted, spec

    if store is not None:
        store.fetch(list(away), found)
    return {
        "next_id": scheduler.next_id,
        "cursor": scheduler.cursor,
        "paused": scheduler.places.paused,
        "jobs": {number: _job_picture(one) for number, one in sorted((scheduler.jobs | away).items())},
        "blocked": scheduler.blocked,
        "keys": scheduler.keys,
        "groups": {name: (group.unfinished, group.counts) for name, group in scheduler.groups.open.items()},
        "queues": {
            name: (queue.limit, queue.paused, queue.queued, queue.running)
            for name, queue in scheduler.places.queues.items()
            if (queue.limit, queue.paused, queue.queued, queue.running) != (None, False, 0, 0)
        },
        "ended": {number: scheduler.ended.get(number) for number in range(1, scheduler.next_id)},
        "running": scheduler.places.running,
    }


def _job_picture(one: Job) -> tuple[Any, ...]:
    return (one.state, one.plan, one.spec, one.submitted, one.attempt, one.started, one.due, one.ending, one.outcome)
