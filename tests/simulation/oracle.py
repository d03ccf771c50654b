"""
What was promised, and whether it holds: judged by what clients were told on the wire and what the pool was told,
never by what the daemon thinks.

A line counts as told when the daemon has written it: whether or not it arrives, it must be true by then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from jobd import events
from jobd.actions import Kill, Start
from jobd.job import State
from jobd.pool import Report
from tests.unit.simulation import Steps

from .dues import Dues
from .lines import after_of, split_reply, without
from .machine import STALE, Machine
from .places import Room
from .story import Story, Violation
from .times import Times
from .truth import FINAL, SATISFYING, Known, Wanted

if TYPE_CHECKING:
    from .life import Life
    from .network import Link


class Oracle:
    """
    @ivar jobs: all that are known of, by id.
    @ivar wanted: all that was ever submitted, by label.
    @ivar events: every event that was told, by cursor.
    @ivar pruned: the jobs that the disk has forgotten; C{forgotten_for_good}: and of those the daemon knows that.
    @ivar cancels: the filters by which jobs were cancelled, so that any job may end so.
    """

    def __init__(self, story: Story, machine: Machine, steps: Steps, times: Times) -> None:
        self.story = story
        self.machine = machine
        self.steps = steps
        self.times = times
        self.room = Room(machine)
        self.jobs: dict[int, Known] = {}
        self.wanted: dict[str, Wanted] = {}
        self.events: dict[int, tuple[int, str, bytes]] = {}
        self.pruned: set[int] = set()
        self.forgotten_for_good: frozenset[int] = frozenset()
        self.newest = 0
        self.life: Life
        self._violation: Violation | None = None
        self._killed_now: set[tuple[int, int]] = set()
        self._keys: dict[str, list[Wanted]] = {}
        self._streams: list[Dues] = []

    def wrong(self, text: str, job_id: int | None = None) -> Violation:
        """What is raised for it. As the daemon may catch that, it is raised again by L{must_hold}."""
        found = Violation(f"{text}\n{self.story.about(job_id)}")
        self._violation = self._violation or found
        return found

    def must_hold(self) -> None:
        """
        @raise Violation: something has been found wrong.
        """
        if self._violation is not None:
            raise self._violation

    def job(self, job_id: int) -> Known:
        return self.jobs.setdefault(job_id, Known(job_id))

    def newest_ids(self, number: int) -> list[int]:
        """The newest jobs that somebody was told of."""
        found: list[int] = []
        for job_id, known in reversed(self.jobs.items()):
            if known.acknowledged:
                found.append(job_id)
                if len(found) == number:
                    break
        return found

    # Submissions.

    def wants(self, wanted: Wanted) -> None:
        """Somebody is about to submit this."""
        if wanted.label not in self.wanted:
            self.wanted[wanted.label] = wanted
            if wanted.key is not None:
                self._keys.setdefault(wanted.key, []).append(wanted)
        wanted.chances += 1
        self.times.asked(wanted)

    def accepted(self, link: Link, jobs: Sequence[Wanted], ids: Sequence[int]) -> None:
        if len(ids) != len(jobs):
            raise self.wrong(f"{len(jobs)} jobs were submitted, and the answer names {len(ids)}")
        for place, (wanted, job_id) in enumerate(zip(jobs, ids, strict=True)):
            self.same_key(wanted, job_id)
            known = self.came_from(job_id, wanted)
            known.acknowledged = True
            known.is_retry = False
            known.after = after_of(wanted.spec, list(ids[:place]))
            if wanted.spec.get("notify", True):
                self.owe(link, job_id)

    def settled(self) -> None:
        """All that was decided is done."""
        self.room.settled()
        self.check_killed()
        self.forgotten_for_good = frozenset(self.pruned)

    def same_key(self, wanted: Wanted, job_id: int) -> None:
        """A key stands for one job, as long as that is kept."""
        if wanted.key is None:
            if self.job(job_id).acknowledged:
                raise self.wrong(f"job {job_id} was given out twice", job_id)
            return
        for other in self._keys[wanted.key]:
            for number in other.ids:
                if self.stands(number) and self.jobs[number].acknowledged and number != job_id:
                    raise self.wrong(f"key {wanted.key} stood for job {number}, and now for {job_id}", job_id)

    def stands(self, job_id: int) -> bool:
        """A job is kept, and is no retry: whoever has its key gets it."""
        return job_id not in self.pruned and not self.jobs[job_id].is_retry

    def came_from(self, job_id: int, wanted: Wanted) -> Known:
        """A job was seen that came from this submission."""
        known = self.job(job_id)
        if known.wanted is not None:
            if known.wanted is not wanted:
                raise self.wrong(f"job {job_id} is {known.wanted.label} and {wanted.label}", job_id)
            return known
        # Where one stands already this can only be a retry; else nobody can tell before it is acknowledged or starts.
        may_be_retry = wanted.retries > sum(self.jobs[number].is_retry for number in wanted.ids)
        if any(wanted.key is None or self.stands(number) for number in wanted.ids) and not may_be_retry:
            raise self.wrong(f"{wanted.label} became jobs {wanted.ids} and {job_id}", job_id)
        if wanted.chances < 1 and not may_be_retry:
            raise self.wrong(f"{wanted.label} was refused, and became job {job_id}", job_id)
        known.is_retry = may_be_retry and bool(wanted.ids)
        known.wanted = wanted
        wanted.ids.append(job_id)
        return known

    def owe(self, link: Link, job_id: int) -> None:
        """The job's end was asked for on this connection."""
        link.dues.owe(job_id, self.runs(job_id))

    def runs(self, job_id: int) -> bool:
        return any(number == job_id for number, _ in self.machine.running)

    def rejected(self, link: Link, jobs: Sequence[Wanted], code: str) -> None:
        for wanted in jobs:
            wanted.chances -= 1
        if code == "FULL" and not link.dues.life.was_full:
            raise self.wrong("a submission was refused as if there were no room")
        if code == "DRAINING" and not (link.dues.life.may_drain or link.dues.life.stopping):
            raise self.wrong("a submission was refused as if the daemon were draining")
        if code == "CONFLICT" and not any(one.key and len(self._keys[one.key]) > 1 for one in jobs):
            raise self.wrong("a key was said to belong to another job, and there is none")

    def retried(self, link: Link, wanted: Wanted, ids: Sequence[int]) -> None:
        (job_id,) = ids
        known = self.came_from(job_id, wanted)
        if known.acknowledged:
            raise self.wrong(f"job {job_id} was given out twice", job_id)
        known.acknowledged = known.is_retry = True
        self.owe(link, job_id)

    def forgotten(self, gone: list[int]) -> None:
        """The disk has these jobs no more."""
        for one in gone:
            self.pruned.add(one)
            if self.runs(one):
                raise self.wrong(f"job {one} was forgotten while it runs", one)
        if gone:
            self.story.visit("pruned")

    # The pool.

    def restored(self, running: Sequence[Start]) -> None:
        """A new daemon knows of every attempt that runs."""
        self.steps.forget()
        self._killed_now.clear()
        begun = {(start.job_id, start.attempt) for start in running}
        for job_id, attempt in self.machine.running:
            if (job_id, attempt) not in begun:
                raise self.wrong(f"attempt {attempt} of job {job_id} runs, and the new daemon has no idea", job_id)
        for start in running:
            self.recognise(start)

    def recognise(self, start: Start) -> Known:
        """What runs is what was submitted."""
        spec = msgspec.json.decode(start.spec)
        wanted = self.wanted.get(spec.get("label"))
        if wanted is None:
            raise self.wrong(f"job {start.job_id} was submitted by nobody: {spec}", start.job_id)
        known = self.came_from(start.job_id, wanted)
        as_submitted = without(spec, "after") == without(wanted.spec, "after")
        if not as_submitted and spec != without(wanted.spec, "key", "after", "delay", "notify"):
            raise self.wrong(f"job {start.job_id} is not what was submitted: {spec}", start.job_id)
        known.is_retry = known.is_retry or not as_submitted
        known.after = after_of(spec, [])
        return known

    def started(self, start: Start) -> None:
        job_id, attempt = start.job_id, start.attempt
        self.story.tell(f"job {job_id} : attempt {attempt} starts")
        known = self.recognise(start)
        if self.runs(job_id):
            raise self.wrong(f"job {job_id} has two live attempts", job_id)
        if not known.used < attempt <= (known.attempts or attempt):
            raise self.wrong(f"job {job_id} starts attempt {attempt}, after {known.used}", job_id)
        if known.final is not None:
            raise self.wrong(f"job {job_id} starts after it has ended", job_id)
        if self.life.draining:
            raise self.wrong(f"job {job_id} starts while the daemon drains", job_id)
        for other, policy in known.after.items():
            self.may_follow(job_id, other, policy)
        problem = self.room.take(start) or self.times.begins(known, attempt)
        if problem:
            raise self.wrong(f"job {job_id} starts, and {problem}", job_id)
        known.used = attempt
        known.started.append(attempt)

    def may_follow(self, job_id: int, other: int, policy: str) -> None:
        final = self.job(other).final
        if (final is not None and final not in SATISFYING[policy]) or self.runs(other):
            raise self.wrong(f"job {job_id} starts before job {other}, after which it was to come", job_id)

    def killed(self, kill: Kill) -> None:
        self.story.tell(f"job {kill.job_id} : attempt {kill.attempt} is killed")
        self.job(kill.job_id).killed.add(kill.attempt)
        self._killed_now.add((kill.job_id, kill.attempt))

    def is_killed(self, job_id: int, attempt: int) -> bool:
        return attempt in self.job(job_id).killed

    def check_killed(self) -> None:
        """All that was decided is done: what was to be cancelled has been killed, by this daemon too."""
        for job_id, attempt in self.machine.running:
            if self.job(job_id).cancel_promised and (job_id, attempt) not in self._killed_now:
                raise self.wrong(f"job {job_id} was to be cancelled, and nobody has killed it", job_id)

    def reported(self, report: Report) -> None:
        """The machine has said this to a daemon."""
        if isinstance(report, events.Capacity):
            self.story.tell(f"room for {report.cpus} cpus, depth {report.depth}, ahead {report.ahead}")
            self.room.said(report)
            return
        self.story.tell(f"job {report.job_id} : {report}")
        if isinstance(report, events.Returned):
            known = self.job(report.job_id)
            if report.attempt == known.used and report.attempt not in known.reports:
                known.used -= 1
        elif isinstance(report, events.Long):
            self.room.widened(report.job_id, report.attempt)
        elif isinstance(report, events.Finished) and report.outcome != STALE:
            known = self.job(report.job_id)
            known.used = max(known.used, report.attempt)
            known.reports.setdefault(report.attempt, []).append(report)
            self.times.reported(report.job_id, report.attempt)

    # The wire.

    def heard(self, link: Link, line: bytes) -> None:
        """The daemon has written a line."""
        self.story.tell(f"{link.number} < {line.decode()}")
        if line.startswith(b"* "):
            self.event(link, line)
        else:
            self.reply(link, line)

    def reply(self, link: Link, line: bytes) -> None:
        """Replies come in the order of the requests, one each."""
        tag, word, rest = split_reply(line)
        code, _, _ = rest.partition(b" ")
        if word == b"error" and code == b"SLOW":
            link.dues.slow = True
            self.story.visit("client cut off as slow")
            return
        link.answered += 1
        if not link.asked or link.answered > link.delivered:
            raise self.wrong(f"a reply that nobody has asked for: {line!r}")
        asked = link.asked.popleft()
        if asked.tag != tag:
            raise self.wrong(f"'{asked.line}' has tag {asked.tag!r}, its reply is {line!r}")
        if word == b"ok":
            asked.ok(self, link, rest)
            self.story.visit(f"ok {asked.what}")
        elif word == b"error" and code.decode() in asked.errors:
            asked.refused(self, link, code.decode())
            self.story.visit(f"error {code.decode()}")
        else:
            raise self.wrong(f"'{asked.line}' was answered {line!r}")

    def event(self, link: Link, line: bytes) -> None:
        _, number, job, state, *rest = line.split(b" ", 4)
        cursor, job_id, word, outcome = int(number), int(job), state.decode(), rest[0] if rest else b""
        if cursor == 0:
            return
        self.announced(cursor, job_id, word, outcome)
        dues = link.dues
        if dues.begin is None:
            name = None if job_id else str(msgspec.json.decode(outcome)["group"])
            if not (dues.pay(job_id) if name is None else dues.pay_group(name)):
                raise self.wrong(f"client {link.number} is not owed this: {line!r}", job_id)
        elif cursor <= (dues.position or 0):
            raise self.wrong(f"client {link.number} watches, and was at {dues.position}: {line!r}", job_id)
        else:
            dues.position = cursor
            dues.count += 1

    def announced(self, cursor: int, job_id: int, word: str, outcome: bytes) -> None:
        """A finish is the same to all, and a cursor stands for one event."""
        told = self.events.setdefault(cursor, (job_id, word, outcome))
        if told != (job_id, word, outcome):
            raise self.wrong(f"cursor {cursor} is {told} and {(job_id, word, outcome)}", job_id)
        self.newest = max(self.newest, cursor)
        if not job_id:
            return
        known = self.job(job_id)
        if known.told == (cursor, outcome) and known.final == word:
            return
        if known.told is not None:
            raise self.wrong(f"job {job_id} has ended twice: {known.told}, then {(cursor, outcome)}", job_id)
        self.ended(known, word)
        known.told = (cursor, outcome)
        self.plausible(known, word, outcome)

    def ended(self, known: Known, word: str) -> None:
        """It was seen to be over, in whatever way."""
        if known.final is None and self.runs(known.id):
            raise self.wrong(f"job {known.id} has ended, and still runs", known.id)
        if known.final not in (None, word) or word not in FINAL:
            raise self.wrong(f"job {known.id} is {known.final}, and then {word}", known.id)
        known.final = word

    def plausible(self, known: Known, word: str, outcome: bytes) -> None:
        """It ended as the pool said it did, unless somebody wanted its end."""
        self.story.visits[f"ended {word}"] += 1
        if outcome == STALE:
            raise self.wrong(f"job {known.id} ended by a report that was stale", known.id)
        if word == "skipped":
            other = int(msgspec.json.decode(outcome)["because"])
            policy = known.after.get(other)
            final = self.job(other).final
            if policy is not None and final is not None and final in SATISFYING[policy]:
                raise self.wrong(f"job {known.id} was skipped because of job {other}, which is {final}", known.id)
            return
        if known.cancel_promised and word != "cancelled":
            raise self.wrong(f"job {known.id} was to be cancelled and is {word}", known.id)
        if word == "cancelled":
            return
        problem = self.times.times_out(known) if word == "timed_out" and known.wanted is not None else None
        if problem:
            raise self.wrong(f"job {known.id} timed out, but {problem}", known.id)
        reports = known.reports.get(known.used, [])
        reported = {report.state.word for report in reports if report.outcome == outcome}
        if not reported:
            raise self.wrong(f"job {known.id} is {word} {outcome!r}, but attempt {known.used}: {reports}", known.id)
        if word not in reported and word != "timed_out":
            raise self.wrong(f"job {known.id} is {word}, but was reported {reported}", known.id)
        if word in SATISFYING["failed"] and known.attempts is not None and known.used < known.attempts:
            raise self.wrong(f"job {known.id} is {word} with attempts left", known.id)

    def must_be_cancelled(self, job_id: int) -> None:
        known = self.job(job_id)
        known.cancel_promised = True
        if known.final not in (None, "cancelled"):
            raise self.wrong(f"job {job_id} is to be cancelled, and is {known.final} already", job_id)

    # Streams.

    def watching(self, link: Link, since: int | None, newest: int) -> None:
        link.dues.begin = link.dues.position = newest if since is None else since
        self._streams.append(link.dues)
        self.story.visit("watch from now" if since is None else "watch from a cursor")

    def gone(self, since: int | None) -> None:
        if not self.pruned:
            raise self.wrong(f"events since {since} were said to be no longer kept, and nothing was forgotten")

    def check_streams(self) -> None:
        """All that was told to anybody was told in each stream that it belongs to."""
        cursors = sorted(self.events)
        for dues in self._streams:
            assert dues.begin is not None and dues.position is not None
            due = bisect_right(cursors, dues.position) - bisect_right(cursors, dues.begin)
            if due != dues.count:
                raise self.wrong(f"a stream from {dues.begin} to {dues.position} had {dues.count} events of {due}")

    # Looking.

    def known(self, start: int) -> list[tuple[int, str | None]]:
        """The jobs that must be there from an id on, and the final states that were told."""
        return [
            (number, one.final)
            for number, one in sorted(self.jobs.items())
            if number >= start and (one.acknowledged or one.final or one.used) and number not in self.pruned
        ]

    def listed(self, known: list[tuple[int, str | None]], jobs: list[dict[str, Any]], more: bool) -> None:
        """Every job that was acknowledged is present, and what was final is so for ever."""
        found = {job["id"]: job for job in jobs}
        end = jobs[-1]["id"] if more else max((number for number, _ in known), default=0)
        for number, final in known:
            if number > end or number in self.pruned:
                continue
            if number not in found:
                raise self.wrong(f"job {number} is lost", number)
            if final is not None and found[number]["state"] != final:
                raise self.wrong(f"job {number} was {final} and is {found[number]['state']}", number)
        for job in jobs:
            wanted = self.wanted.get(job.get("label", ""))
            if wanted is None:
                raise self.wrong(f"job {job['id']} was submitted by nobody", job["id"])
            self.seen(self.came_from(job["id"], wanted), job)

    def shown(self, job: dict[str, Any]) -> None:
        self.seen(self.job(job["id"]), job)

    def seen(self, known: Known, job: dict[str, Any]) -> None:
        """It was looked at."""
        if job["state"] in FINAL:
            self.ended(known, job["state"])
            cursor = job.get("cursor")
            if cursor is not None and known.told is not None and known.told[0] != cursor:
                raise self.wrong(f"job {known.id} ended at cursor {known.told[0]} and at {cursor}", known.id)
        elif job["state"] == State.RUNNING.word and job["attempt"] < 1:
            raise self.wrong(f"job {known.id} runs and has no attempt", known.id)

    def missing(self, job_id: int) -> None:
        known = self.job(job_id)
        if known.acknowledged and job_id not in self.pruned:
            raise self.wrong(f"job {job_id} is lost", job_id)

    # Connections.

    def hung_up(self, link: Link) -> None:
        """The daemon closes a connection in good order: nothing is outstanding."""
        life = link.dues.life
        self.story.tell(f"{link.number} is closed")
        if link.dues.slow or life.stopping or link.quit:
            return
        if link.dues.begin is not None and self.pruned:
            # What it was still to be told may have been forgotten.
            return
        if link.delivered != link.answered or b"\n" in link.up:
            raise self.wrong(f"client {link.number} is closed with {[one.line for one in link.asked]} unanswered")
        late = link.dues.missing(self.pruned)
        if late:
            raise self.wrong(f"client {link.number} is closed without the events of {late}")

    def check_dues(self, links: Sequence[Link]) -> None:
        """With all said and done, nobody waits for anything."""
        for link in links:
            if link.asked:
                raise self.wrong(f"client {link.number} got no answer to {[one.line for one in link.asked]}")
            late = link.dues.missing(self.pruned)
            if late:
                raise self.wrong(f"client {link.number} is still owed the events of {late}")
            if link.dues.begin is not None and link.dues.position != max(link.dues.begin, self.newest):
                raise self.wrong(f"client {link.number} watches, and is at {link.dues.position} of {self.newest}")

    def check_ends(self, states: dict[int, str]) -> None:
        """Every job that was ever seen has ended, and what came after others did so rightly."""
        for number, known in self.jobs.items():
            if number in self.pruned:
                continue
            state = states.get(number)
            if state is None and known.acknowledged:
                raise self.wrong(f"job {number} is lost", number)
            if state not in (None, known.final) or (state is None and known.acknowledged):
                raise self.wrong(f"job {number} is {state} at the end, and was told to be {known.final}", number)
            if known.cancel_promised and known.final != "cancelled":
                raise self.wrong(f"job {number} was to be cancelled and is {known.final}", number)
            if known.started:
                for other, policy in known.after.items():
                    self.may_follow(number, other, policy)
