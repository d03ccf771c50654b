"""The judge of the kill loop, on evidence made up for it: it sees what was not kept, and lets pass what has a cause."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.torture import records
from tests.torture.judge import AFTERMATH, STARTING, Event, Evidence, Kept, Verdict, judge, load
from tests.torture.mix import KINDS
from tests.torture.records import (
    Acked,
    Asked,
    Book,
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


def told(cursor: int, job_id: int, state: str, at: int = 900, **outcome: Any) -> Told:
    return Told(1, cursor, job_id, state, at, json.dumps(outcome))


def ran(name: str, job_id: int, attempt: int, start: int, end: int | None = None, status: int = 0) -> list[Witnessed]:
    """An execution, and its end if it came to one."""
    lines = [Witnessed(name, job_id, attempt, start, "start", start, 0)]
    return lines if end is None else [*lines, Witnessed(name, job_id, attempt, start, "end", end, status)]


def one_job(kind: str = "command", attempts: int = 1) -> Evidence:
    """A job that was acknowledged as number 7, has run, has succeeded, and everybody was told."""
    sent: list[Record] = [Sent("0-1", kind, True, attempts, 10), Acked("0-1", 7, 20), Asked(1, 7)]
    end = told(1, 7, "succeeded", attempt=1)
    return Evidence(
        ran("0-1", 7, 1, 30, 40),
        {"client-0": [*sent, end]},
        {"watcher-wire": [end]},
        [],
        [],
        [Kept(7, "succeeded", 1, "0-1")],
        [Event(1, 7, "succeeded", {"attempt": 1})],
    )


def ended(evidence: Evidence, state: str, attempt: int, at: int = 900) -> Evidence:
    """The same with another end."""
    end = told(1, 7, state, at, attempt=attempt)
    book = [record for record in evidence.clients["client-0"] if not isinstance(record, Told)]
    return attrs.evolve(
        evidence,
        clients={"client-0": [*book, end]},
        watchers={"watcher-wire": [end]},
        jobs=[Kept(7, state, attempt, "0-1")],
        events=[Event(1, 7, state, {"attempt": attempt})],
    )


class JudgeTestCase(SynchronousTestCase):
    """Claims about verdicts."""

    def assertKept(self, evidence: Evidence) -> Verdict:
        verdict = judge(evidence)
        self.assertEqual([], verdict.problems)
        return verdict

    def assertBroken(self, kind: str, evidence: Evidence) -> Verdict:
        verdict = judge(evidence)
        self.assertIn(kind, {problem.partition(":")[0] for problem in verdict.problems})
        return verdict

    def with_records(self, *more: Record) -> Evidence:
        evidence = one_job()
        evidence.clients["client-0"] += more
        return evidence


class Accepted(JudgeTestCase):
    """What was acknowledged, refused, or got no reply."""

    def test_all_is_well(self) -> None:
        """A job that was acknowledged, ran once, ended and was told breaks nothing."""
        counts = self.assertKept(one_job()).counts
        self.assertEqual((1, 1, 1), (counts["submitted"], counts["acknowledged"], counts["executions"]))
        self.assertEqual(2, counts["notifications expected"])

    def test_lost(self) -> None:
        """An acknowledged job that is not there, or is another one, is lost."""
        gone = attrs.evolve(one_job(), jobs=[], events=[])
        self.assertEqual(1, self.assertBroken("lost", gone).counts["acknowledged and lost"])
        other = attrs.evolve(one_job(), jobs=[Kept(7, "succeeded", 1, "0-2")])
        self.assertEqual(1, self.assertBroken("lost", other).counts["acknowledged and lost"])

    def test_repeated(self) -> None:
        """A submission that was repeated has the same id, whatever came between, and its end may be told again."""
        end = told(1, 7, "succeeded", attempt=1)
        self.assertKept(self.with_records(Unknown("0-1", 50), Acked("0-1", 7, 60), Asked(1, 7), end))
        self.assertBroken("two ids", self.with_records(Acked("0-1", 8, 60)))

    def test_without_a_reply(self) -> None:
        """A job without a reply may be there or not; it is counted."""
        missing = self.with_records(Sent("0-2", "command", False, 1, 50), Unknown("0-2", 60))
        counts = self.assertKept(missing).counts
        self.assertEqual(1, counts["of these unknown for good, and not kept"])

    def test_refused(self) -> None:
        """A job that was refused and nothing else is not there."""
        evidence = self.with_records(Sent("0-2", "command", False, 1, 50), Refused("0-2", "DRAINING", 60))
        self.assertKept(evidence)
        evidence.jobs.append(Kept(8, "succeeded", 1, "0-2"))
        self.assertBroken("refused and there", evidence)

    def test_never_submitted(self) -> None:
        """No job is there that nobody has submitted, and none is there twice."""
        evidence = one_job()
        evidence.jobs.append(Kept(8, "succeeded", 1, "0-1"))
        self.assertBroken("twice there", evidence)
        evidence.jobs[-1] = Kept(8, "succeeded", 1, "0-9")
        self.assertBroken("unheard of", evidence)

    def test_without_an_end(self) -> None:
        """Every job has ended, as its event says, once."""
        self.assertBroken("no end", attrs.evolve(one_job(), jobs=[Kept(7, "running", 1, "0-1")]))
        evidence = one_job()
        evidence.events.append(Event(2, 7, "succeeded", {"attempt": 1}))
        self.assertBroken("events", evidence)


class Notified(JudgeTestCase):
    """What clients were told."""

    def test_missing(self) -> None:
        """An end that a watcher, or the client that submitted the job, was not told is missing."""
        evidence = one_job()
        evidence.watchers["watcher-wire"] = []
        self.assertEqual(1, self.assertBroken("not told", evidence).counts["notifications missing"])
        evidence = one_job()
        evidence.clients["client-0"].pop()
        self.assertEqual(1, self.assertBroken("not told", evidence).counts["notifications missing"])

    def test_twice(self) -> None:
        """A watcher is told each end once, a client once for each time it has asked."""
        evidence = one_job()
        evidence.watchers["watcher-wire"] *= 2
        self.assertEqual(1, self.assertBroken("told twice", evidence).counts["notifications duplicated"])
        again = self.with_records(told(1, 7, "succeeded", attempt=1))
        self.assertEqual(1, self.assertBroken("told twice", again).counts["notifications duplicated"])

    def test_in_order(self) -> None:
        """A watcher's cursors grow."""
        evidence = one_job()
        evidence.watchers["watcher-wire"].insert(0, told(2, 8, "succeeded", attempt=1))
        self.assertBroken("order", evidence)

    def test_otherwise(self) -> None:
        """Everybody is told the same end."""
        evidence = one_job()
        evidence.watchers["watcher-wire"] = [told(1, 7, "lost", attempt=1)]
        self.assertBroken("told otherwise", evidence)


class Executed(JudgeTestCase):
    """How often a job ran, and why."""

    def twice(self, first: list[Witnessed], second: list[Witnessed], *faults: Fault, attempts: int = 3) -> Evidence:
        """A job whose second execution is that of the attempt it ended with."""
        evidence = ended(one_job(attempts=attempts), "succeeded", second[0].attempt)
        return attrs.evolve(evidence, witnessed=[*first, *second], faults=list(faults))

    def test_failed_and_tried_again(self) -> None:
        """An attempt that failed is a cause for the next one."""
        verdict = self.assertKept(self.twice(ran("0-1", 7, 1, 30, 40, 3), ran("0-1", 7, 2, 50, 60)))
        self.assertEqual({"it failed and had attempts left": 1}, dict(verdict.causes))

    def test_lost_and_tried_again(self) -> None:
        """So is a worker of its lane that was killed between the two, or the machine; a dead daemon is none."""
        first, second = ran("0-1", 7, 1, 30), ran("0-1", 7, 2, 50, 60)
        for kind in ("runner", "machine"):
            self.assertKept(self.twice(first, second, Fault(kind, 40, 45)))
        self.assertKept(self.twice(first, second, Fault("runner", 20, 31)))
        for fault in (
            Fault("kill", 40, 45),
            Fault("call", 40, 45),
            Fault("runner", 70, 80),
            Fault("runner", 10 - STARTING, 20 - STARTING),
        ):
            self.assertBroken("run again", self.twice(first, second, fault))

    def test_handed_back(self) -> None:
        """An orderly stop hands back what runs, and the same attempt runs again. Without one that is a double run."""
        first, second = ran("0-1", 7, 1, 30), ran("0-1", 7, 1, 50, 60)
        self.assertKept(self.twice(first, second, Fault("stop", 40, 45)))
        broken = self.assertBroken("double run", self.twice(first, second, Fault("machine", 40, 45)))
        self.assertEqual(1, broken.counts["double runs of one attempt"])

    def test_cancelled_after_it_was_handed_back(self) -> None:
        """What was handed back and then cancelled ends without an attempt."""
        evidence = attrs.evolve(one_job("cancelled"), faults=[Fault("stop", 40, 45)], witnessed=ran("0-1", 7, 1, 30))
        self.assertKept(ended(evidence, "cancelled", 0))

    def test_of_the_io_lane(self) -> None:
        """A job that does not know its attempt may have run again for any cause, but not for none."""
        evidence = attrs.evolve(one_job("task"), witnessed=[*ran("0-1", 0, 0, 30), *ran("0-1", 0, 0, 50, 60)])
        self.assertBroken("double run", evidence)
        for kind in ("io", "stop", "machine"):
            self.assertKept(attrs.evolve(evidence, faults=[Fault(kind, 40, 45)]))
        self.assertBroken("double run", attrs.evolve(evidence, faults=[Fault("runner", 40, 45)]))

    def test_too_often(self) -> None:
        """Never more attempts than were allowed, none after the end, none behind the one that counted."""
        first, second = ran("0-1", 7, 1, 30, 40, 3), ran("0-1", 7, 2, 50, 60)
        self.assertBroken("too many attempts", self.twice(first, second, attempts=1))
        self.assertBroken("run after its end", ended(self.twice(first, second), "succeeded", 2, at=45))
        self.assertBroken("ended by a stale attempt", ended(self.twice(first, second), "failed", 1))

    def test_under_two_ids(self) -> None:
        """A job runs under its own id, and one that runs is there."""
        self.assertBroken("another id", attrs.evolve(one_job(), witnessed=ran("0-1", 8, 1, 30, 40)))
        evidence = one_job()
        evidence.witnessed += ran("0-2", 8, 1, 30, 40)
        self.assertBroken("ran without a trace", evidence)


class Ended(JudgeTestCase):
    """The state a job ended in is the one that the witness knows."""

    def test_otherwise(self) -> None:
        """Success is an attempt that came to its end, failure one that said so."""
        self.assertBroken("ended otherwise", attrs.evolve(one_job(), witnessed=ran("0-1", 7, 1, 30)))
        self.assertBroken("ended otherwise", ended(one_job(), "failed", 1))
        failed = attrs.evolve(one_job("fail"), witnessed=ran("0-1", 7, 1, 30, 40, 3))
        self.assertKept(ended(failed, "failed", 1))

    def test_from_outside(self) -> None:
        """Only what has a timeout times out, and only what was to be cancelled is cancelled; then it surely is."""
        for kind, state in (("timed", "timed_out"), ("cancelled", "cancelled")):
            self.assertKept(ended(attrs.evolve(one_job(kind), witnessed=ran("0-1", 7, 1, 30)), state, 1))
            self.assertBroken("ended otherwise", ended(one_job(), state, 1))
        self.assertBroken("not cancelled", self.with_records(Cancelled(7, 25)))

    def test_lost(self) -> None:
        """Lost is an attempt whose worker or machine died while it ran."""
        evidence = attrs.evolve(ended(one_job(), "lost", 1), witnessed=ran("0-1", 7, 1, 30))
        self.assertKept(attrs.evolve(evidence, faults=[Fault("runner", 40, 45)]))
        for fault in (Fault("kill", 40, 45), Fault("runner", 20 - STARTING, 25 - STARTING), Fault("io", 40, 45)):
            self.assertBroken("lost without a cause", attrs.evolve(evidence, faults=[fault]))

    def test_lost_before_it_began(self) -> None:
        """An attempt that is lost need not have begun."""
        evidence = attrs.evolve(ended(one_job(), "lost", 1), witnessed=[], faults=[Fault("runner", 0, 0)])
        self.assertKept(evidence)
        earlier = attrs.evolve(evidence, faults=[Fault("runner", -AFTERMATH, -AFTERMATH)])
        self.assertBroken("lost without a cause", earlier)


class Alive(JudgeTestCase):
    """Two attempts at a time, and what outlives its job."""

    def test_overlaps(self) -> None:
        """Known from a lock that was taken, from an end that came late, and from a process that was seen."""
        first, second = ran("0-1", 7, 1, 30), ran("0-1", 7, 2, 50, 60)
        evidence = ended(one_job(attempts=3), "succeeded", 2)
        evidence = attrs.evolve(evidence, witnessed=[*first, *second], faults=[Fault("runner", 40, 45)])
        self.assertKept(evidence)
        for found in (
            attrs.evolve(evidence, witnessed=[*first, *second, Witnessed("0-1", 7, 2, 50, "overlap", 49, 0)]),
            attrs.evolve(evidence, witnessed=[*ran("0-1", 7, 1, 30, 55), *second]),
            attrs.evolve(evidence, looks=[Look(52, 30, 7, 1)]),
        ):
            self.assertEqual(1, self.assertBroken("overlap", found).counts["overlaps"])
        self.assertKept(attrs.evolve(evidence, looks=[Look(42, 30, 7, 1), Look(52, 50, 7, 2)]))

    def test_orphans(self) -> None:
        """A process that was seen after its job's end had been told; what was left in the end; what nobody came for."""
        self.assertKept(attrs.evolve(one_job(), looks=[Look(35, 30, 7, 1)]))
        self.assertEqual(
            1, self.assertBroken("orphan", attrs.evolve(one_job(), looks=[Look(901, 30, 7, 1)])).counts["orphans"]
        )
        self.assertEqual(2, self.assertBroken("left", attrs.evolve(one_job(), left=2)).counts["orphans"])
        self.assertBroken("zombies", attrs.evolve(one_job(), zombies=1))

    def test_many_problems(self) -> None:
        """Of one kind only so many are told in full."""
        evidence = one_job()
        evidence.looks += [Look(901, 30, 7, 1)] * 100
        self.assertEqual("orphan: and 80 more", judge(evidence).problems[-1])


class Files(SynchronousTestCase):
    """What is written down is read again."""

    def test_round_trip(self) -> None:
        """All kinds of records, and the rest of a run's folder."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            evidence = one_job()
            evidence.faults.append(Fault("kill", 3, 10**9))
            evidence.looks.append(Look(5, 30, 7, 1))
            book = evidence.clients["client-0"]
            book += [Refused("0-2", "FULL", 1), Unknown("0-3", 2), Cancelled(9, 3)]
            for path, lines in (("client-0.record", book), ("watcher-wire.record", evidence.watchers["watcher-wire"])):
                kept = Book(folder / path)
                for record in lines:
                    kept.note(record)
                kept.keep()
                kept.close()
            for file, found in (
                ("witness", evidence.witnessed),
                ("faults", evidence.faults),
                ("looks", evidence.looks),
            ):
                for one in found:
                    records.write(folder / file, one)
            jobs = [job._asdict() for job in evidence.jobs]
            found_ = {"jobs": jobs, "events": evidence.events, "left": 0, "zombies": 0, "recoveries": [], "missed": 0}
            (folder / "found.json").write_text(json.dumps(found_))
            self.assertEqual(evidence, load(folder))

    def test_the_mixture(self) -> None:
        """The shares of all kinds of jobs are a thousand."""
        self.assertEqual(1000, sum(kind.share for kind in KINDS.values()))
