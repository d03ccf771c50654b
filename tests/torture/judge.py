"""
Reads what a kill loop has written down, and says what was promised and not kept. What a job did is
known from the witness file, what was promised from the clients' records; the daemon is believed nothing but what it
has to say in the end, and that is held against the others.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from jobd.job import Lane
from tests.torture import records
from tests.torture.mix import KINDS
from tests.torture.records import (
    Acked,
    Asked,
    Cancelled,
    Fault,
    Look,
    Record,
    Refused,
    Sent,
    Told,
    Unknown,
    Witnessed,
)

ENDS = {"runner": {Lane.COMMAND}, "call": {Lane.CPU}, "io": {Lane.IO}, "machine": set(Lane)}
"""The faults an attempt may be lost by, and the lanes they strike."""

CAUSES = {
    "runner": "the runner was killed",
    "call": "the call worker was killed",
    "io": "the io worker was killed",
    "machine": "the machine died",
}
FAILED_AGAIN, HANDED_BACK = "it failed and had attempts left", "an orderly stop handed it back"

AFTERMATH = 10_000_000_000
"""
Nanoseconds after a worker's death in which an attempt may be lost by it that was never seen to begin: until all that it
may have left is gone, nobody can tell its attempts from those that were begun on disk since.
"""

STARTING = 5_000_000_000
"""Nanoseconds that a command whose worker has just died may take until it tells that it has begun."""

MOST = 20
"""Problems of one kind that are told in full."""


class Kept(NamedTuple):
    """A job, as the last daemon shows it."""

    id: int
    state: str
    attempt: int
    label: str


class Event(NamedTuple):
    """A finish event, as the last daemon tells it."""

    cursor: int
    job_id: int
    state: str
    outcome: dict[str, Any]


@attrs.define
class Evidence:
    """
    @ivar clients: the records of those that submit, by name.
    @ivar watchers: those of the others.
    @ivar left: processes that were there after the last daemon.
    @ivar zombies: those that had ended, and nobody came for them.
    @ivar recoveries: seconds from each death to the first reply of the next daemon.
    @ivar missed: daemons that did not come to the point where they were to die.
    """

    witnessed: list[Witnessed]
    clients: dict[str, list[Record]]
    watchers: dict[str, list[Told]]
    faults: list[Fault]
    looks: list[Look]
    jobs: list[Kept]
    events: list[Event]
    left: int = 0
    zombies: int = 0
    recoveries: list[float] = attrs.Factory(list)
    missed: int = 0


def load(folder: Path) -> Evidence:
    """What the loop has left in its folder."""
    found = json.loads((folder / "found.json").read_text())
    books = {path.stem: list(records.read_book(path)) for path in sorted(folder.glob("*.record"))}
    return Evidence(
        records.read(folder / "witness", Witnessed),
        {name: book for name, book in books.items() if name.startswith("client")},
        {name: [one for one in book if isinstance(one, Told)] for name, book in books.items() if name[0] == "w"},
        records.read(folder / "faults", Fault),
        records.read(folder / "looks", Look),
        [Kept(job["id"], job["state"], job["attempt"], job["label"]) for job in found["jobs"]],
        [Event(*event) for event in found["events"]],
        found["left"],
        found["zombies"],
        found["recoveries"],
        found["missed"],
    )


@attrs.define
class Verdict:
    """
    @ivar counts: the figures of the table, by name.
    @ivar causes: why jobs were run more than once, and how often.
    @ivar problems: promises that were not kept, each in a sentence.
    """

    counts: dict[str, float] = attrs.Factory(dict)
    causes: Counter[str] = attrs.Factory(Counter)
    problems: list[str] = attrs.Factory(list)


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a run."""
    return Judge(evidence).verdict()


class Judge:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.problems: dict[str, list[str]] = defaultdict(list)
        self.causes: Counter[str] = Counter()
        self.sent: dict[str, Sent] = {}
        self.acked: dict[str, int] = {}
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.cancelled: set[int] = set()
        self.heard: dict[int, int] = {}
        for book in evidence.clients.values():
            for record in book:
                self._sort(record)
        for told in (one for watched in evidence.watchers.values() for one in watched):
            self._hear(told)
        self.jobs = {job.id: job for job in evidence.jobs}
        self.by_name = {job.label: job for job in evidence.jobs}
        self.events = {event.job_id: event for event in evidence.events}
        self.executions: dict[str, list[Witnessed]] = defaultdict(list)
        self.ends: dict[tuple[str, int], list[Witnessed]] = defaultdict(list)
        self.overlaps: set[str] = set()
        for line in evidence.witnessed:
            if line.what == "start":
                self.executions[line.name].append(line)
            elif line.what == "end":
                self.ends[line.name, line.attempt].append(line)
            else:
                self.overlaps.add(line.name)

    def _sort(self, record: Record) -> None:
        if isinstance(record, Sent):
            self.sent[record.name] = record
        elif isinstance(record, Acked):
            if self.acked.setdefault(record.name, record.job_id) != record.job_id:
                self._problem("two ids", f"{record.name} was acknowledged with two ids")
        elif isinstance(record, Refused):
            self.refused.add(record.name)
        elif isinstance(record, Unknown):
            self.unknown.add(record.name)
        elif isinstance(record, Cancelled):
            self.cancelled.add(record.job_id)
        elif isinstance(record, Told):
            self._hear(record)

    def _hear(self, told: Told) -> None:
        self.heard[told.job_id] = min(told.at, self.heard.get(told.job_id, told.at))

    def _problem(self, kind: str, text: str) -> None:
        self.problems[kind].append(text)

    def verdict(self) -> Verdict:
        lost = self.check_acknowledged()
        self.check_jobs()
        expected, missing, repeated = self.check_notifications()
        again = sum(self.check_executions(name, starts) for name, starts in self.executions.items())
        for event in self.evidence.events:
            self.check_end(event)
        overlaps = self.check_overlaps()
        orphans = self.check_processes()
        recoveries = self.evidence.recoveries
        counts: dict[str, float] = {
            "submitted": len(self.sent),
            "acknowledged": len(self.acked),
            "refused": len(self.refused),
            "without a reply": len(self.unknown),
            "of these submitted again by their key": sum(self.sent[name].keyed for name in self.unknown),
            "of these unknown for good, and kept": len((self.unknown - self.acked.keys()) & self.by_name.keys()),
            "of these unknown for good, and not kept": len(self.unknown - self.acked.keys() - self.by_name.keys()),
            "acknowledged and lost": lost,
            "executions": sum(map(len, self.executions.values())),
            "re-executions": again,
            "double runs of one attempt": len(self.problems["double run"]),
            "overlaps": overlaps,
            "ended as lost": sum(event.state == "lost" for event in self.evidence.events),
            "notifications expected": expected,
            "notifications missing": missing,
            "notifications duplicated": repeated,
            "orphans": orphans,
            "zombies": self.evidence.zombies,
            "slowest recovery": max(recoveries, default=0.0),
            "points missed": self.evidence.missed,
        }
        return Verdict(counts, self.causes, list(_told(self.problems)))

    # What was accepted.

    def check_acknowledged(self) -> int:
        """How many jobs were acknowledged and are not there."""
        lost = 0
        for name, job_id in self.acked.items():
            job = self.jobs.get(job_id)
            if job is None or job.label != name:
                lost += 1
                self._problem("lost", f"{name} was acknowledged as job {job_id}, which is {job or 'not there'}")
        return lost

    def check_jobs(self) -> None:
        """Every job that is there was submitted, is there once, and has ended once."""
        names = Counter(job.label for job in self.evidence.jobs)
        for job in self.evidence.jobs:
            event = self.events.get(job.id)
            if event is None or event.state != job.state:
                self._problem("no end", f"job {job.id} is {job.state}, its event is {event}")
            if job.label not in self.sent:
                self._problem("unheard of", f"nobody has submitted job {job.id}, {job.label}")
            elif names[job.label] > 1:
                self._problem("twice there", f"{job.label} is there {names[job.label]} times")
            if job.label in self.refused and job.label not in self.acked and job.label not in self.unknown:
                self._problem("refused and there", f"job {job.id}, {job.label}, was refused")
        for name in self.executions.keys() - self.by_name.keys():
            self._problem("ran without a trace", f"{name} has run and is not there")
        cursors = [event.cursor for event in self.evidence.events]
        if sorted(set(cursors)) != cursors or len(self.events) != len(cursors):
            self._problem("events", "cursors do not grow, or a job has two events")

    # What was told.

    def check_notifications(self) -> tuple[int, int, int]:
        """How many were expected, how many did not come, how many came twice."""
        expected = missing = repeated = 0
        for name, told in self.evidence.watchers.items():
            seen = Counter(one.cursor for one in told)
            expected += len(self.events)
            missing += self._missing(name, (event.job_id for event in self.evidence.events if event.cursor not in seen))
            repeated += self._repeated(name, sum(seen.values()) - len(seen))
            if [one.cursor for one in told] != sorted(seen):
                self._problem("order", f"{name} was told cursors that do not grow")
            self._compare(name, told)
        for name, book in self.evidence.clients.items():
            mine = {record.job_id for record in book if isinstance(record, Acked)}
            told = [record for record in book if isinstance(record, Told)]
            expected += len(mine)
            missing += self._missing(name, mine - {one.job_id for one in told})
            asked = Counter((record.connection, record.job_id) for record in book if isinstance(record, Asked))
            came = Counter((one.connection, one.job_id) for one in told)
            repeated += self._repeated(name, sum((came - asked).values()))
            self._compare(name, told)
        return expected, missing, repeated

    def _missing(self, name: str, job_ids: Iterable[int]) -> int:
        count = 0
        for job_id in job_ids:
            count += 1
            self._problem("not told", f"{name} was not told of the end of job {job_id}")
        return count

    def _repeated(self, name: str, count: int) -> int:
        if count:
            self._problem("told twice", f"{name} was told {count} ends more often than it had asked")
        return count

    def _compare(self, name: str, told: list[Told]) -> None:
        for one in told:
            event = self.events.get(one.job_id)
            if event is None or event[:3] != (one.cursor, one.job_id, one.state) or event.outcome != one.outcome:
                self._problem("told otherwise", f"{name} was told {one}, and there is {event}")

    # What was run.

    def check_executions(self, name: str, starts: list[Witnessed]) -> int:
        """How often a job was run again; each time must have its cause."""
        starts.sort(key=lambda start: start.at)
        for earlier, later in pairwise(starts):
            cause = self._cause(name, earlier, later)
            if cause:
                self.causes[cause] += 1
            elif earlier.attempt == later.attempt:
                self._problem("double run", f"{later} although there was {earlier}")
            else:
                self._problem("run again", f"{later} has no cause after {earlier}")
        job = self.by_name.get(name)
        if job is not None:
            self._check_last(job, starts)
        return len(starts) - 1

    def _cause(self, name: str, earlier: Witnessed, later: Witnessed) -> str | None:
        knows = later.attempt > 0
        if later.attempt < earlier.attempt:
            return None
        if later.attempt > earlier.attempt:
            failed = any(end.status for end in self.ends[name, earlier.attempt])
            return FAILED_AGAIN if failed else self._striking(name, earlier.at - STARTING, later.at)
        if self._stopped(earlier.at, later.at):
            return HANDED_BACK
        return None if knows else self._striking(name, earlier.at - STARTING, later.at)

    def _striking(self, name: str, since: int, until: int) -> str | None:
        """The fault by which an attempt may have been lost."""
        lane = KINDS[self.sent[name].kind].lane if name in self.sent else None
        for fault in self.evidence.faults:
            if fault.kind in ENDS and lane in ENDS[fault.kind] and fault.over >= since and fault.began <= until:
                return CAUSES[fault.kind]
        return None

    def _stopped(self, since: int, until: int) -> bool:
        return any(
            fault.kind == "stop" and fault.over >= since and fault.began <= until for fault in self.evidence.faults
        )

    def _check_last(self, job: Kept, starts: list[Witnessed]) -> None:
        sent = self.sent.get(job.label)
        heard = self.heard.get(job.id)
        if sent is not None and starts[-1].attempt > sent.attempts:
            self._problem("too many attempts", f"{starts[-1]}, and {sent.attempts} were allowed")
        if starts[-1].attempt > job.attempt and not self._stopped(starts[-1].at, heard or starts[-1].at):
            self._problem("ended by a stale attempt", f"{job} had begun attempt {starts[-1].attempt}")
        if heard is not None and starts[-1].at > heard:
            self._problem("run after its end", f"{starts[-1]}, and its end had been told")
        if starts[0].job_id not in (0, job.id):
            self._problem("another id", f"{starts[0]} ran as another job than {job.id}")

    # How it ended.

    def check_end(self, event: Event) -> None:
        """The state in which a job ended is that in which its last attempt did."""
        job = self.jobs.get(event.job_id)
        sent = self.sent.get(job.label) if job is not None else None
        if job is None or sent is None:
            return
        kind = KINDS[sent.kind]
        # A job of the io lane does not know its attempt.
        attempt = 0 if kind.lane is Lane.IO else int(event.outcome.get("attempt", 0))
        statuses = {end.status for end in self.ends[job.label, attempt]}
        if event.job_id in self.cancelled and event.state != "cancelled":
            self._problem("not cancelled", f"{event}, and its cancel was acknowledged")
        if event.state == "lost":
            began = [start.at for start in self.executions.get(job.label, ()) if start.attempt == attempt]
            since = max(began) - STARTING if began else sent.at - AFTERMATH
            if not self._striking(job.label, since, self.heard.get(job.id, since)):
                self._problem("lost without a cause", f"{event} of {sent}")
            return
        right = {
            "succeeded": 0 in statuses,
            "failed": bool(statuses - {0}),
            "timed_out": kind.timeout is not None,
            "cancelled": kind.cancelled,
        }
        if not right.get(event.state):
            self._problem("ended otherwise", f"{event} of {sent}, and the witness has {statuses}")

    # What was alive.

    def check_overlaps(self) -> int:
        """How many jobs had two live attempts at a time."""
        overlapping = set(self.overlaps)
        for name, starts in self.executions.items():
            for earlier, later in pairwise(starts):
                if any(
                    end.pid == earlier.pid and end.at > later.at > earlier.at
                    for end in self.ends[name, earlier.attempt]
                ):
                    overlapping.add(name)
        for look in self.evidence.looks:
            job = self.jobs.get(look.job_id)
            starts = self.executions.get(job.label, []) if job is not None else []
            if any(start.attempt > look.attempt and start.at < look.at for start in starts):
                overlapping.add(job.label if job is not None else "")
        for name in overlapping:
            self._problem("overlap", f"{name} had two live attempts at a time: {self.executions.get(name)}")
        return len(overlapping)

    def check_processes(self) -> int:
        """How many processes of jobs outlived their job's end, or the last daemon."""
        orphans = self.evidence.left
        if self.evidence.left:
            self._problem("left", f"{self.evidence.left} processes were there after the last daemon")
        if self.evidence.zombies:
            self._problem("zombies", f"{self.evidence.zombies} processes had ended, and nobody came for them")
        for look in self.evidence.looks:
            if self.heard.get(look.job_id, look.at) < look.at:
                orphans += 1
                self._problem("orphan", f"{look} lived, and the end of job {look.job_id} had been told")
        return orphans


def _told(problems: dict[str, list[str]]) -> Iterable[str]:
    for kind, texts in problems.items():
        yield from (f"{kind}: {text}" for text in texts[:MOST])
        if len(texts) > MOST:
            yield f"{kind}: and {len(texts) - MOST} more"
