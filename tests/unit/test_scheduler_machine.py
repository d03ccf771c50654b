"""The scheduler under random events, crashes and restarts."""

from __future__ import annotations

from itertools import cycle
from typing import Any, ClassVar
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import TestCase

from jobd import actions, events
from jobd.actions import Kill, Start
from jobd.job import TRANSITIONS, Lane, State
from jobd.scheduler import NEAR, Scheduler

from .simulated import SimulatedDaemon
from .simulation import Steps, of, picture, repeatable, seeded

QUEUES = ("default", "a", "b")
GROUPS = ("g", "h")
KEYS = ("k", "l")
ENDS = (State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.LOST)

PICK = st.integers(0, 1000)
PICKS = st.lists(PICK, min_size=1, max_size=3)
SELDOM = st.sampled_from([*[False] * 9, True])


def sometimes(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """None, or one of the values; None three times of four."""
    return st.one_of(st.none(), st.none(), st.none(), values)


JOBS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["command", "cpu", "io"]),
        "edges": st.lists(st.tuples(st.booleans(), PICK, st.sampled_from(["ok", "failed", "any"])), max_size=2),
        "queue": sometimes(st.sampled_from(QUEUES)),
        "priority": sometimes(st.integers(-2, 2)),
        "delay": sometimes(st.sampled_from([1, 5])),
        "timeout": sometimes(st.sampled_from([2, 4])),
        "attempts": sometimes(st.sampled_from([2, 3])),
        "backoff": sometimes(st.sampled_from([0, 2])),
        "cpus": sometimes(st.integers(0, 3)),
        "group": sometimes(st.sampled_from(GROUPS)),
        "key": sometimes(st.sampled_from(KEYS)),
        "notify": sometimes(st.just(False)),
    }
)


class Machine(RuleBasedStateMachine):
    """
    Clients, a pool, an operator, the clock and crashes, in any order; the claims stand in
    L{SimulatedDaemon} and below.

    @cvar steps: between states, over all runs; C{fetched}: how often jobs came near their turn.
    """

    steps: ClassVar[Steps] = Steps()
    fetched: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.daemon = SimulatedDaemon(self.steps)
        self.eager = False

    # Clients.

    @initialize(
        cpus=st.integers(1, 3),
        depth=st.sampled_from([1, 2, 256]),
        ahead=st.sampled_from([1, 2]),
        near=st.sampled_from([1, 2, NEAR]),
        eager=st.booleans(),
    )
    def begin(self, cpus: int, depth: int, ahead: int, near: int, eager: bool) -> None:
        self.eager = eager
        self.daemon.near = near
        self.daemon.boot()
        self.daemon.capacity(cpus, depth, ahead)

    @rule(jobs=st.lists(JOBS, min_size=1, max_size=4), conn=PICK)
    def submit(self, jobs: list[dict[str, Any]], conn: int) -> None:
        specs = [self.spec(place, drawn) for place, drawn in enumerate(jobs)]
        self.daemon.submit(self.daemon.someone(conn), specs)

    @rule(job=JOBS, count=st.integers(3, 9), conn=PICK)
    def submit_alike(self, job: dict[str, Any], count: int, conn: int) -> None:
        """So many that most of them are far from their turn, where few are near."""
        spec = {name: value for name, value in self.spec(0, job).items() if name in ("argv", "call", "lane", "group")}
        self.daemon.submit(self.daemon.someone(conn), [spec] * count)

    def spec(self, place: int, drawn: dict[str, Any]) -> dict[str, Any]:
        """A job as it is submitted, from what was drawn."""
        fields = {name: value for name, value in drawn.items() if value is not None and name not in ("kind", "edges")}
        kind = drawn["kind"]
        fields |= {"argv": ["true"]} if kind == "command" else {"call": "m:f", "lane": kind}
        if kind == "cpu" and fields.get("cpus") == 0:
            del fields["cpus"]
        after: dict[str, str] = {}
        for near, pick, policy in drawn["edges"]:
            others = [-1 - pick % place] if near and place else self.daemon.some([pick])
            after |= {str(other): policy for other in others}
        listed = after and set(after.values()) == {"ok"}
        return {**fields, "after": [int(name) for name in after] if listed else after}

    @rule(picks=PICKS, conn=PICK)
    def wait(self, picks: list[int], conn: int) -> None:
        self.daemon.wait(self.daemon.someone(conn), self.daemon.some(picks))

    @rule(group=st.sampled_from(GROUPS), conn=PICK)
    def wait_group(self, group: str, conn: int) -> None:
        self.daemon.wait_group(self.daemon.someone(conn), group)

    @rule(picks=PICKS, alone=st.booleans())
    def cancel(self, picks: list[int], alone: bool) -> None:
        ids = self.daemon.some(picks[:1] if alone else picks)
        live = [number for number in ids if self.daemon.scheduler.job(number) is not None]
        out = self.daemon.handle(events.Cancel(0, b"", ids, alone and bool(ids)))
        assert bool(of(actions.Refuse, out)) == bool(alone and ids and not live)
        for number in live:
            job = self.daemon.scheduler.jobs.get(number)
            assert job is None or job.ending is State.CANCELLED

    @rule(pick=PICK, conn=PICK)
    def retry(self, pick: int, conn: int) -> None:
        ended = [number for number in self.daemon.some([pick]) if self.daemon.scheduler.ended.get(number)]
        for number in ended:
            self.daemon.submit(self.daemon.someone(conn), [{"argv": ["true"]}], (number,))

    @rule(conn=PICK)
    def leave(self, conn: int) -> None:
        self.daemon.leave(self.daemon.someone(conn))

    @rule(conn=PICK)
    def disconnect(self, conn: int) -> None:
        there = list(self.daemon.clients)
        for number in there[conn % len(there) :][:1] if there else ():
            del self.daemon.clients[number]
            self.daemon.handle(events.Disconnected(number))

    # The operator.

    @rule(name=st.sampled_from([None, *QUEUES]), paused=st.booleans())
    def pause(self, name: str | None, paused: bool) -> None:
        self.daemon.handle(events.SetQueue(0, b"", name, paused=paused))

    @rule(name=st.sampled_from(QUEUES), limit=st.sampled_from([None, 1, 2]))
    def limit(self, name: str, limit: int | None) -> None:
        self.daemon.handle(events.SetQueue(0, b"", name, limit=limit, show=True))

    @rule(really=SELDOM, drain=st.booleans())
    def end(self, really: bool, drain: bool) -> None:
        if really:
            self.daemon.handle(events.Drain(0, b"") if drain else events.Stopping())

    @precondition(lambda self: not self.daemon.gathered)
    @rule(keep=st.integers(0, 6))
    def prune(self, keep: int) -> None:
        self.daemon.store.prune(keep, 0.0, self.forget)

    def forget(self, gone: list[int] | Exception) -> None:
        assert not isinstance(gone, Exception)
        self.daemon.pruned = self.daemon.pruned or bool(gone)
        for one in gone:
            del self.daemon.known[one]
        self.daemon.handle(events.Pruned(gone))

    # The pool, and time.

    @rule(cpus=st.integers(0, 3), depth=st.sampled_from([1, 2, 4, 256]), ahead=st.sampled_from([1, 2]))
    def capacity(self, cpus: int, depth: int, ahead: int) -> None:
        self.daemon.capacity(cpus, depth, ahead)

    def running(self, pick: int) -> Start:
        started = list(self.daemon.pool.values())
        return started[pick % len(started)]

    @precondition(lambda self: self.daemon.pool)
    @rule(pick=PICK, state=st.sampled_from([State.FAILED, *ENDS]))
    def finish(self, pick: int, state: State) -> None:
        self.daemon.finish(self.running(pick), state)

    @precondition(lambda self: self.daemon.pool)
    @rule(states=st.lists(st.sampled_from(ENDS), min_size=1, max_size=4))
    def finish_all(self, states: list[State]) -> None:
        for start, state in zip(list(self.daemon.pool.values()), cycle(states), strict=False):
            self.daemon.finish(start, state)

    @precondition(lambda self: self.daemon.pool)
    @rule(pick=PICK)
    def give_back(self, pick: int) -> None:
        self.daemon.give_back(self.running(pick))

    @precondition(lambda self: self.daemon.pool)
    @rule(pick=PICK)
    def long(self, pick: int) -> None:
        if self.running(pick).lane is Lane.CPU:
            self.daemon.long(self.running(pick))

    @rule(pick=PICK, attempt=st.integers(1, 3), state=st.sampled_from(ENDS))
    def stale(self, pick: int, attempt: int, state: State) -> None:
        """A report for an attempt that is not the current one changes nothing."""
        for number in [*self.daemon.some([pick]), self.daemon.scheduler.next_id]:
            job = self.daemon.scheduler.jobs.get(number)
            if job is not None and job.state is State.RUNNING and job.attempt == attempt:
                continue
            before = picture(self.daemon.scheduler)
            reports: list[events.Event] = [
                events.Finished(number, attempt, state, b"{}"),
                events.Returned(number, attempt),
                events.Long(number, attempt),
            ]
            for report in reports:
                assert [type(action) for action in self.daemon.handle(report)] == [actions.Note]
            assert picture(self.daemon.scheduler) == before

    @rule(seconds=st.sampled_from([0.5, 1, 2, 10]))
    def advance(self, seconds: float) -> None:
        self.daemon.advance(seconds)

    @rule()
    def until_the_next_deadline(self) -> None:
        due = self.daemon.scheduler.next_deadline()
        if due is not None:
            self.daemon.advance(max(0.0, due - self.daemon.steady))

    # Turns and crashes.

    @precondition(lambda self: self.daemon.asked)
    @rule()
    def answer(self) -> None:
        self.daemon.answer()

    @rule()
    def turn(self) -> None:
        self.daemon.turn()

    @invariant()
    def turn_of_the_eager(self) -> None:
        """In half of the runs the turn ends after every event: else there is little that runs."""
        if self.eager:
            self.daemon.turn()

    @rule(performed=st.one_of(st.none(), st.integers(0, 5)))
    def crash(self, performed: int | None) -> None:
        """The daemon dies: before its commit, or after it with the first few of the rest done."""
        if performed is not None:
            self.daemon.turn(performed)
        depth, ahead = self.daemon.depth, self.daemon.ahead
        self.daemon.boot()
        self.daemon.capacity(self.daemon.cpus, depth, ahead)

    # What always holds.

    @invariant()
    def agrees(self) -> None:
        """What is used is what the running jobs cost, and who is owed how much is known."""
        daemon = self.daemon
        running = [number for number, job in daemon.scheduler.jobs.items() if job.state is State.RUNNING]
        assert daemon.scheduler.places.used == sum(daemon.costs[number] for number in running)
        for conn, client in daemon.clients.items():
            assert daemon.scheduler._subscriptions._owed.get(conn, 0) == client.owed.total(), conn

    @invariant()
    def replays(self) -> None:
        """Where all is committed, a scheduler restored from the store is the same as this one."""
        daemon = self.daemon
        if daemon.gathered:
            return
        other = Scheduler(daemon.cpus, daemon.near)
        found = other.restore(daemon.store.open(), daemon.now)
        self.steps.forget()
        ran = {(action.job_id, action.attempt) for action in found if isinstance(action, Start | Kill)}
        assert ran == set(daemon.pool) and len(found) == sum(isinstance(action, Start | Kill) for action in found)
        mine, theirs = picture(daemon.scheduler, daemon.store), picture(other, daemon.store)
        if daemon.pruned:
            # Of a group that goes on, jobs that are no longer kept are no longer counted.
            for one in (mine, theirs):
                one["groups"] = {name: unfinished for name, (unfinished, _) in one["groups"].items()}
        assert theirs == mine

    def teardown(self) -> None:
        """With faults off all jobs end, and everything owed is told."""
        daemon = self.daemon
        if daemon.scheduler.draining:
            daemon.turn()
            daemon.boot()
        for name in (None, *QUEUES):
            self.pause(name, False)
        for name in QUEUES:
            self.limit(name, None)
        daemon.capacity(2, 2, 1)
        for _ in range(20 * len(daemon.known) + 20):
            daemon.turn()
            while daemon.asked:
                daemon.answer()
            for start in list(daemon.pool.values()):
                daemon.finish(start, State.SUCCEEDED)
            due = daemon.scheduler.next_deadline()
            if due is not None and not daemon.pool and not daemon.gathered:
                daemon.advance(max(0.0, due - daemon.steady))
        assert not daemon.scheduler.jobs and not daemon.scheduler.places.rows, daemon.scheduler.jobs
        type(self).fetched += daemon.fetched
        assert (daemon.scheduler.places.running, daemon.scheduler.places.used, daemon.scheduler.groups.open) == (
            0,
            0,
            {},
        )
        assert not any(client.owed.total() or client.leaving for client in daemon.clients.values())
        assert all(one.ended is not None for one in daemon.known.values())


@seeded
def run(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=repeatable(300, 60))


class MachineTests(TestCase):
    """Whatever happens in whatever order."""

    def test_random(self) -> None:
        """All that the machine claims holds, and in its course jobs take every step that there is."""
        Machine.steps, Machine.fetched = Steps(), 0
        watched = Machine.steps.watched()
        with mock.patch("jobd.scheduler.Job", watched), mock.patch("jobd.far.Job", watched):
            run(Machine)
        self.assertGreater(Machine.fetched, 500)
        every = {(old, new) for old, states in TRANSITIONS.items() for new in states}
        self.assertEqual(every, set(Machine.steps.taken))
        self.assertEqual(set(State), {new for _, new in Machine.steps.taken})
