"""
A daemon without I/O around the scheduler, which checks whatever goes through it.

What follows from events is gathered; at the end of a turn the changes are committed to a
L{MemoryStore}, then the rest is done in its order. A crash comes before the commit, or after it at any
place in the rest. Beside it stands what was promised to whom, over all crashes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import msgspec
from hypothesis import note

from jobd import actions, events
from jobd.actions import Action, Announce, Start
from jobd.events import Event, Now
from jobd.far import Block
from jobd.job import SATISFIED_BY, State
from jobd.places import UNIT
from jobd.scheduler import NEAR, Scheduler
from jobd.store import Specs
from jobd.store.memory import MemoryStore

from .simulation import START, Steps, check, check_room, ids_of, of, picture, submissions

KEPT = (actions.Insert, actions.Update, actions.KeepGroupEvent, actions.KeepQueue)


@attrs.define
class Client:
    """
    A connection and what it was promised.

    @ivar owed: events, by job id or by the name of a group.
    @ivar leaving: it has ended its input.
    """

    owed: Counter[int | str] = attrs.Factory(Counter)
    leaving: bool = False


@attrs.define
class Known:
    """
    What is remembered of a job, over all crashes.

    @ivar due: the time on the wall before which it must not start.
    @ivar promised: its id was told to somebody: it must never be lost again.
    @ivar begun: its highest attempt that was begun and not given back.
    @ivar ended: its final state and cursor, once they were told.
    """

    after: dict[int, str]
    due: float
    attempts: int
    promised: bool = False
    begun: int = 0
    ended: tuple[State, int] | None = None


class SimulatedDaemon:
    """
    @ivar pool: the attempts that were begun and have not ended.
    @ivar costs: what each running job takes of the processors, by a reckoning of its own.
    @ivar pruned: whether jobs were ever forgotten.
    @ivar near: how many jobs are kept whole; C{asked}: the blocks of others that come near now;
        C{fetched}: how often some have.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.store = MemoryStore()
        self.known: dict[int, Known] = {}
        self.cpus = 2
        self.near = NEAR
        self.wall = START
        self.pruned = False
        self.newest = 0
        self.conns = 0
        self.fetched = 0
        self.boot()

    @property
    def now(self) -> Now:
        return Now(self.steady, self.wall)

    def boot(self) -> None:
        """A new scheduler on what the store has; all that ran is lost."""
        self.steady = 0.0
        self.depth = self.ahead = 1
        self.gathered: list[Action] = []
        self.pool: dict[tuple[int, int], Start] = {}
        self.killed: set[tuple[int, int]] = set()
        self.clients: dict[int, Client] = {}
        self.promises: dict[bytes, list[int]] = {}
        self.halted = False
        self.asked: list[Block] = []
        self.scheduler = Scheduler(self.cpus, self.near)
        found = self.scheduler.restore(self.store.open(), self.now)
        running = [action for action in found if isinstance(action, Start)]
        self.costs = {start.job_id: start.cpus * UNIT for start in running}
        self.steps.forget()
        self.newest = self.scheduler.cursor
        self.compare()
        for start in running:
            self.handle(events.Finished(start.job_id, start.attempt, State.LOST, b'{"error":"the machine died"}'))

    def compare(self) -> None:
        """What was promised before a crash holds after it."""
        for number, one in list(self.known.items()):
            state = self.scheduler.state_of(number)
            if state is None:
                assert not (one.promised or one.begun or one.ended), f"job {number} is gone: {one}"
                del self.known[number]
            elif one.ended is not None:
                assert one.ended[0] is state, (number, one, state)
            elif state.final:
                # That it ended was kept, and then nobody was told: the store knows.
                (event,) = self.store.finishes([number])
                one.ended = (state, event.cursor)
            else:
                job = self.scheduler.job(number)
                assert job is not None and job.attempt >= one.begun, (number, one)
                one.begun = job.attempt

    def handle(self, event: Event) -> list[Action]:
        out = [*self.scheduler.handle(event, self.now), *self.scheduler.fill(self.now)]
        note(f"{self.steady:g}: {event} -> {[type(action).__name__ for action in out]}")
        self.steps.look()
        check(self.scheduler, self.now)
        for action in out:
            if isinstance(action, Start):
                self.may_start(action)
            elif isinstance(action, Announce):
                self.is_owed(action)
            elif isinstance(action, actions.Close):
                client = self.clients.pop(action.conn)
                assert client.leaving and not client.owed.total()
        check_room(self.scheduler, out)
        self.gathered += out
        return out

    # A turn.

    def turn(self, most: int | None = None) -> None:
        """Commit what was gathered and do the rest, or only the first few actions of it."""
        gathered, self.gathered = self.gathered, []
        self.store.commit([action for action in gathered if isinstance(action, KEPT)], lambda problem: None)
        for action in [action for action in gathered if not isinstance(action, KEPT)][:most]:
            self.perform(action)

    def perform(self, action: Action) -> None:
        """What is said or begun now stands in the store."""
        if isinstance(action, actions.Reply):
            for number in self.promises.pop(action.tag, ()):
                assert self.store.records([number]), f"job {number} was promised and is not kept"
                self.known[number].promised = True
        elif isinstance(action, Start):
            self.begin(action)
        elif isinstance(action, actions.Fetch):
            self.asked.append(action.block)
        elif isinstance(action, actions.Kill):
            self.kill((action.job_id, action.attempt))
        elif isinstance(action, Announce):
            self.announce(action)
        elif isinstance(action, actions.Recall):
            assert self.pruned or len(self.store.finishes(action.ids)) == len(action.ids)
        elif isinstance(action, actions.RecallGroup):
            assert self.pruned or self.store.group_event(action.group) is not None
        elif isinstance(action, actions.Halt):
            assert self.scheduler.draining and not self.pool and not self.halted
            self.halted = True

    def begin(self, start: Start) -> None:
        """Attempts grow, and each is kept before it is begun."""
        (record,) = self.store.records([start.job_id])
        one = self.known[start.job_id]
        assert one.begun < start.attempt <= min(one.attempts, record.attempt) and one.ended is None
        one.begun = start.attempt
        self.pool[start.job_id, start.attempt] = start

    def kill(self, attempt: tuple[int, int]) -> None:
        """An attempt is killed once; it may have ended just before."""
        assert attempt not in self.killed
        if attempt in self.pool:
            self.killed.add(attempt)

    def announce(self, action: Announce) -> None:
        """A finish is told once, with a cursor above all before, as it is kept."""
        assert action.cursor > self.newest
        self.newest = action.cursor
        (event,) = self.store.events(action.cursor - 1, 1)
        told = (action.cursor, action.job_id, action.state, action.outcome)
        assert told == (event.cursor, event.job_id, event.state, event.json)
        if action.state is not None:
            one = self.known[action.job_id]
            assert one.ended is None, f"job {action.job_id} has ended twice"
            one.ended = (action.state, action.cursor)

    def answer(self) -> None:
        """What has come near its turn and was asked for first is there."""
        block = self.asked.pop(0)
        self.fetched += 1

        def done(found: Specs | Exception) -> None:
            assert isinstance(found, dict)
            self.handle(events.Fetched(block, found))

        self.store.fetch(block.ids(), done)

    # What is allowed.

    def may_start(self, start: Start) -> None:
        """Its C{after} and its delay allow it."""
        one = self.known[start.job_id]
        assert one.due <= self.wall
        for other, policy in one.after.items():
            state = self.scheduler.ended.get(other)
            assert state in SATISFIED_BY[policy] or (self.pruned and other not in self.known)
        plan = self.scheduler.jobs[start.job_id].plan
        share = {"CPU": self.depth, "COMMAND": self.ahead}.get(plan.lane.name, 1) if plan.cpus == 1 else 1
        self.costs[start.job_id] = min(plan.cpus, self.cpus) * UNIT // share

    def is_owed(self, action: Announce) -> None:
        """It goes to all that are owed it, as often as they are, and to nobody else."""
        outcome = msgspec.json.decode(action.outcome)
        if action.state is State.SKIPPED:
            policy = self.known[action.job_id].after[outcome["because"]]
            assert self.scheduler.ended.get(outcome["because"]) not in SATISFIED_BY[policy]
        name: int | str = action.job_id or str(outcome["group"])
        owed = {conn: count for conn, client in self.clients.items() if (count := client.owed.pop(name, 0))}
        assert owed == Counter(action.conns), (name, owed, action.conns)

    # Requests.

    def someone(self, pick: int) -> int:
        """A connection that may still ask; now and then a new one."""
        there = [conn for conn, client in self.clients.items() if not client.leaving]
        if there and (pick % 4 or len(there) > 4):
            return there[pick // 4 % len(there)]
        self.conns += 1
        self.clients[self.conns] = Client()
        return self.conns

    def some(self, picks: list[int]) -> list[int]:
        """Jobs that exist, newer ones rather than older ones."""
        there = [number for number in self.known if self.scheduler.state_of(number) is not None][-10:]
        return list(dict.fromkeys(there[-1 - pick % len(there)] for pick in picks)) if there else []

    def submit(self, conn: int, specs: list[dict[str, Any]], retry_of: tuple[int, ...] = ()) -> None:
        """Submit jobs, and remember what is promised by that."""
        before, known, owed = picture(self.scheduler), dict(self.known), self.clients[conn].owed.copy()
        ids = self.foresee(conn, specs)
        tag = b"#%d " % len(self.promises)
        out = self.handle(events.Submit(conn, tag, submissions(*specs), retry_of))
        if of(actions.Refuse, out):
            assert picture(self.scheduler) == before
            assert of(actions.Refuse, out)[0].error.code == ("DRAINING" if self.scheduler.draining else "CONFLICT")
            self.known, self.clients[conn].owed = known, owed
        else:
            assert ids_of(of(actions.Reply, out)[0].text) == ids
            self.promises[tag] = ids

    def foresee(self, conn: int, specs: list[dict[str, Any]]) -> list[int]:
        """The ids these jobs will have if they are accepted."""
        keys = {key: number for key, (number, _) in self.scheduler.keys.items()}
        new = self.scheduler.next_id
        ids: list[int] = []
        for spec in specs:
            number = keys.get(spec.get("key", ""), new)
            ids.append(number)
            if number == new:
                if "key" in spec:
                    keys[spec["key"]] = new
                after = spec.get("after", {})
                policies = after if isinstance(after, dict) else dict.fromkeys(after, "ok")
                edges = {int(name) if int(name) > 0 else ids[int(name) - 1]: policies[name] for name in policies}
                self.known[new] = Known(edges, self.wall + spec.get("delay", 0), spec.get("attempts", 1))
                new += 1
            if spec.get("notify", True) and self.scheduler.ended.get(number) is None:
                self.clients[conn].owed[number] = 1
        return ids

    def wait(self, conn: int, ids: list[int]) -> None:
        for number in ids:
            if self.scheduler.job(number) is not None:
                self.clients[conn].owed[number] = 1
        self.handle(events.Wait(conn, b"", ids))

    def wait_group(self, conn: int, group: str) -> None:
        live = group in self.scheduler.groups
        if live or self.store.group_event(group) is not None:
            self.clients[conn].owed[group] += live
            self.handle(events.WaitGroup(conn, b"", group))

    def leave(self, conn: int) -> None:
        client = self.clients[conn]
        client.leaving = True
        self.handle(events.InputEnded(conn))
        assert (conn in self.clients) == bool(client.owed.total())

    # Reports.

    def finish(self, start: Start, state: State) -> None:
        """An attempt ends so; it is the job's end unless there are more attempts, or it was being ended."""
        attempt = (start.job_id, start.attempt)
        del self.pool[attempt]
        self.killed.discard(attempt)
        end = self.scheduler.jobs[start.job_id].ending or state
        again = end in SATISFIED_BY["failed"] and start.attempt < self.known[start.job_id].attempts
        self.handle(events.Finished(*attempt, state, b'{"attempt":%d}' % start.attempt))
        assert self.scheduler.ended.get(start.job_id) is (None if again else end)

    def give_back(self, start: Start) -> None:
        attempt = (start.job_id, start.attempt)
        del self.pool[attempt]
        self.killed.discard(attempt)
        self.known[start.job_id].begun -= 1
        self.handle(events.Returned(*attempt))

    def long(self, start: Start) -> None:
        self.costs[start.job_id] = max(UNIT, self.costs[start.job_id])
        self.handle(events.Long(start.job_id, start.attempt))

    def advance(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds
        self.handle(events.Tick())

    def capacity(self, cpus: int, depth: int, ahead: int) -> None:
        self.cpus, self.depth, self.ahead = cpus, depth, ahead
        self.handle(events.Capacity(cpus, depth, ahead))
