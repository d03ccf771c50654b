"""What clients ask, and which answers are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from jobd import wire

from .lines import ids_of

if TYPE_CHECKING:
    from .network import Link
    from .oracle import Oracle
    from .truth import Belief, Wanted


class Asked:
    """
    A request under way.

    @ivar line: as it is sent, without its tag and its end.
    @ivar tag: repeated in the reply; may be empty.
    @ivar errors: the codes with which it may be refused.
    """

    errors: frozenset[str] = frozenset()

    def __init__(self, line: str, *errors: str) -> None:
        self.line = line
        self.tag = b""
        self.errors = self.errors | frozenset(errors)

    @property
    def what(self) -> str:
        """What is counted of it: its verb, and whether that was with a filter or options."""
        verb, _, argument = self.line.partition(" ")
        if argument[:1] != "{":
            return verb
        return verb + {"wait": " with a filter", "cancel": " with a filter", "list": ""}.get(verb, " with options")

    def sent(self, oracle: Oracle, link: Link) -> None:
        """It is on its way."""

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        """It was answered so."""

    def refused(self, oracle: Oracle, link: Link, code: str) -> None:
        """It was refused, with one of the codes that are allowed."""


class Ping(Asked):
    """Its reply is what it said."""

    def __init__(self, word: str) -> None:
        super().__init__(f"ping {word}")
        self.word = word

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        if text.decode() != self.word:
            raise oracle.wrong(f"ping {self.word} was answered {text!r}")


class Submit(Asked):
    """Accepted are all or none."""

    errors = frozenset({"FULL", "DRAINING", "CONFLICT", "NO_SUCH_JOB"})

    def __init__(self, jobs: Sequence[Wanted], alone: bool) -> None:
        specs = [job.spec for job in jobs]
        super().__init__("submit " + wire.to_json(specs[0] if alone else specs).decode())
        self.jobs = list(jobs)
        self.forgotten: frozenset[int] = frozenset()

    def sent(self, oracle: Oracle, link: Link) -> None:
        self.forgotten = oracle.forgotten_for_good

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        if not self.forgotten.isdisjoint(ids_of(text)):
            raise oracle.wrong(f"'{self.line}' was answered {text!r}, which was forgotten before")
        oracle.accepted(link, self.jobs, ids_of(text))

    def refused(self, oracle: Oracle, link: Link, code: str) -> None:
        oracle.rejected(link, self.jobs, code)


class Retry(Asked):
    """A new job like the one that has ended."""

    errors = frozenset({"FULL", "DRAINING", "NOT_FINISHED", "NO_SUCH_JOB"})

    def __init__(self, job_id: int, wanted: Wanted) -> None:
        super().__init__(f"retry {job_id}")
        self.job_id = job_id
        self.wanted = wanted

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        oracle.retried(link, self.wanted, ids_of(text))

    def refused(self, oracle: Oracle, link: Link, code: str) -> None:
        self.wanted.retries -= 1


class Wait(Asked):
    """An event for each job."""

    errors = frozenset({"NO_SUCH_JOB"})

    def __init__(self, selector: str, ids: Sequence[int], exact: bool = True) -> None:
        """
        @param exact: all of these are meant; else those of them that there are.
        """
        super().__init__(f"wait {selector}")
        self.ids = list(dict.fromkeys(ids))
        self.exact = exact

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        if int(text) != len(self.ids) and (self.exact or int(text)):
            raise oracle.wrong(f"'{self.line}' stands for {self.ids}, and was answered {text!r}")
        if int(text):
            for number in self.ids:
                oracle.owe(link, number)


class WaitGroup(Asked):
    """One event for the group."""

    errors = frozenset({"NO_SUCH_JOB"})

    def __init__(self, group: str) -> None:
        super().__init__("wait " + wire.to_json({"group": group}).decode())
        self.group = group

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        if text != b"1":
            raise oracle.wrong(f"'{self.line}' was answered {text!r}")
        link.dues.owe_group(self.group)


class Follow(Asked):
    """Its output, and then its event."""

    errors = frozenset({"NO_SUCH_JOB"})

    def __init__(self, job_id: int) -> None:
        super().__init__(f"follow {job_id}")
        self.job_id = job_id

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        oracle.owe(link, self.job_id)


class Watch(Asked):
    """All events from a cursor on."""

    errors = frozenset({"GONE"})

    def __init__(self, since: int | None, progress: bool, newest: int) -> None:
        """
        @param newest: a cursor that was told to somebody before this is asked.
        """
        options: dict[str, Any] = {} if since is None else {"since": since}
        if progress:
            options["progress"] = True
        super().__init__("watch " + wire.to_json(options).decode() if options else "watch")
        self.since = since
        self.newest = newest

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        if int(text) < self.newest:
            raise oracle.wrong(f"cursor {self.newest} was told, and then the newest was {text!r}")
        oracle.watching(link, self.since, int(text))

    def refused(self, oracle: Oracle, link: Link, code: str) -> None:
        oracle.gone(self.since)


class Cancel(Asked):
    """One job, by its id, or all of a group."""

    errors = frozenset({"FINISHED", "NO_SUCH_JOB"})

    def __init__(self, selector: str, job_id: int | None = None) -> None:
        super().__init__(f"cancel {selector}")
        self.job_id = job_id

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        if self.job_id is not None:
            if text != b"1":
                raise oracle.wrong(f"'{self.line}' was answered {text!r}")
            oracle.must_be_cancelled(self.job_id)


class Setting(Asked):
    """C{queue}, C{pause} and C{resume}: from its reply on it holds."""

    def __init__(self, line: str, changes: Sequence[tuple[Belief, Any]]) -> None:
        super().__init__(line)
        self.changes = list(changes)

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        for belief, value in self.changes:
            belief.confirmed(value)


class Drain(Asked):
    """Nothing starts any more."""

    def sent(self, oracle: Oracle, link: Link) -> None:
        link.dues.life.may_drain = True

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        link.dues.life.draining = True


class Show(Asked):
    """One job, as it is kept."""

    errors = frozenset({"NO_SUCH_JOB"})

    def __init__(self, job_id: int) -> None:
        super().__init__(f"show {job_id}")
        self.job_id = job_id

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        oracle.shown(msgspec.json.decode(text))

    def refused(self, oracle: Oracle, link: Link, code: str) -> None:
        oracle.missing(self.job_id)


class List(Asked):
    """
    Jobs from an id on.

    @ivar known: the jobs that must be there, with their final states if they had been told when this was asked.
    @ivar last: the last id of the page, and whether there are more; C{states}: the page itself.
    """

    def __init__(self, start: int, limit: int, oracle: Oracle) -> None:
        super().__init__(f'list {{"from": {start}, "limit": {limit}}}')
        self.start = start
        self.known = oracle.known(start)
        self.last: tuple[int, bool] | None = None
        self.states: dict[int, str] = {}

    def ok(self, oracle: Oracle, link: Link, text: bytes) -> None:
        answer = msgspec.json.decode(text)
        jobs = answer["jobs"]
        oracle.listed(self.known, jobs, answer["more"])
        self.states = {job["id"]: job["state"] for job in jobs}
        self.last = (jobs[-1]["id"] if jobs else self.start, answer["more"])
