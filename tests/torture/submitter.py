"""
A client of the kill loop that speaks the wire: it submits batches of jobs, ahead of their replies, cancels some,
hears how each ends, and writes all that down. When the daemon goes, it looks for the next one: what had
a key and no reply is submitted again, what had been acknowledged and not ended is waited for.

    python -m tests.torture.submitter SOCKET RECORD WITNESS PROGRAM SEED CLIENT
"""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path

from jobd.client.ids import format_ids, parse_ids
from tests.torture.connection import PATIENCE, Connection, Orders
from tests.torture.mix import Job, Source, Tools
from tests.torture.records import Acked, Asked, Book, Cancelled, Refused, Sent, Told, Unknown, now

WINDOW = 60
"""Jobs under way at a time."""

SLOW = 8
"""How many of them may be slow ones."""

BATCH = 12
"""Jobs in one submission, at most."""

WAITED = 200
"""Jobs named in one C{wait}."""

REPEATED = 0.02
"""How often a submission that was acknowledged is repeated, which must change nothing."""

WITHOUT_KEY = 0.2
"""How many submissions have no keys: never repeated, their fate may stay unknown."""

CANCEL_WITHIN = 0.4
"""Seconds after which, at most, a job that is to be cancelled is."""

Batch = list[Job]
Request = tuple[str, Batch, list[int]]
"""C{submit} with its jobs; C{cancel} or C{wait} with ids."""


class Submitter:
    """
    @ivar pending: the requests without a reply.
    @ivar again: batches to be submitted once more.
    @ivar running: the jobs that were acknowledged and have not ended, by id.
    """

    def __init__(self, path: str, book: Book, tools: Tools, source: Source) -> None:
        self._orders = Orders()
        self._connection = Connection(path, self._orders)
        self._book, self._tools, self._source = book, tools, source
        self._acked: set[int] = set()
        self.pending: deque[Request] = deque()
        self.again: list[Batch] = []
        self.running: dict[int, Job] = {}
        self._heard: set[int] = set()
        self._cancels: dict[int, float] = {}
        self._refusing = False

    def run(self) -> None:
        """Until the loop has said stop and everything that was acknowledged has ended."""
        while not self._over():
            self._connection.open()
            self._connected()
            while not self._over():
                self._ask_for_more()
                lines = self._connection.lines(self._pause())
                if lines is None:
                    break
                told = len(self._acked)
                for line in lines:
                    self._received(line)
                self._book.keep()
                if len(self._acked) != told:
                    print(len(self._acked), flush=True)
            self._disconnected()
        self._connection.close()

    def _over(self) -> bool:
        return self._orders.stopping and not (self.pending or self.again or self.running)

    def _connected(self) -> None:
        self._refusing = False
        again, self.again = self.again, []
        for batch in again:
            self._submit(batch)
        ids = list(self.running)
        for place in range(0, len(ids), WAITED):
            self._wait(ids[place : place + WAITED])

    def _disconnected(self) -> None:
        for verb, batch, ids in self.pending:
            if verb == "cancel":
                self._cancels[ids[0]] = time.monotonic()
            elif verb == "submit":
                for job in batch:
                    self._book.note(Unknown(job.name, now()))
                if batch[0].keyed:
                    self.again.append(batch)
        self.pending.clear()
        self._book.keep()

    def _pause(self) -> float:
        if not self._cancels:
            return PATIENCE
        return max(0.0, min(self._cancels.values()) - time.monotonic())

    # Out.

    def _request(self, request: Request, line: str) -> None:
        self.pending.append(request)
        self._connection.send(line)

    def _submit(self, batch: Batch) -> None:
        self._request(("submit", batch, []), f"submit [{','.join(job.json(self._tools) for job in batch)}]")

    def _wait(self, ids: list[int]) -> None:
        self._request(("wait", [], ids), "wait " + format_ids(ids))
        for job_id in ids:
            self._book.note(Asked(self._connection.number, job_id))

    def _ask_for_more(self) -> None:
        due = [job_id for job_id, at in self._cancels.items() if at <= time.monotonic()]
        for job_id in due:
            del self._cancels[job_id]
            self._request(("cancel", [], [job_id]), f"cancel {job_id}")
        while not (self._orders.stopping or self._refusing):
            under_way = [*self.running.values(), *(job for _, batch, _ in self.pending for job in batch)]
            room = WINDOW - len(under_way)
            if room < BATCH:
                return
            keyed = not self._source.chance(WITHOUT_KEY)
            slow = SLOW - sum(job.slow for job in under_way)
            batch = list(self._source.batch(keyed, BATCH, slow))
            for job in batch:
                self._book.note(Sent(job.name, job.kind, job.keyed, job.attempts, now()))
            # What is done may be known only later than what was to be done.
            self._book.keep()
            self._submit(batch)

    # In.

    def _received(self, line: str) -> None:
        if line.startswith("* "):
            self._told(line)
            return
        verb, batch, ids = self.pending.popleft()
        word, _, text = line.partition(" ")
        if verb == "submit":
            self._submitted(batch, text) if word == "ok" else self._refused(batch, text)
        elif verb == "cancel" and word == "ok":
            self._book.note(Cancelled(ids[0], now()))
        elif verb == "wait" and (word != "ok" or int(text) < len(ids)):
            self._not_there(ids)

    def _submitted(self, batch: Batch, text: str) -> None:
        for job, job_id in zip(batch, parse_ids(text), strict=True):
            self._book.note(Acked(job.name, job_id, now()))
            self._book.note(Asked(self._connection.number, job_id))
            self._acked.add(job_id)
            if job_id not in self._heard:
                self.running[job_id] = job
                if job.cancelled:
                    self._cancels[job_id] = time.monotonic() + self._source.seconds(CANCEL_WITHIN)
        if batch[0].keyed and self._source.chance(REPEATED):
            self._submit(batch)

    def _refused(self, batch: Batch, text: str) -> None:
        code = text.partition(" ")[0]
        for job in batch:
            self._book.note(Refused(job.name, code, now()))
        if code not in ("DRAINING", "FULL"):
            sys.exit(f"a submission was refused: {text}")
        # The next daemon will take it.
        self._refusing = True
        if batch[0].keyed:
            self.again.append(batch)

    def _not_there(self, ids: list[int]) -> None:
        """One of these jobs is not there, though it was acknowledged: the judge will see that."""
        if len(ids) == 1:
            self.running.pop(ids[0], None)
            return
        for job_id in ids:
            self._wait([job_id])

    def _told(self, line: str) -> None:
        _, cursor, job_id, state, json = line.split(" ", 4)
        self._book.note(Told(self._connection.number, int(cursor), int(job_id), state, now(), json))
        self._heard.add(int(job_id))
        self._cancels.pop(int(job_id), None)
        self.running.pop(int(job_id), None)


def main(path: str, record: str, witness: str, program: str, seed: str, client: str) -> None:
    """The program."""
    book = Book(Path(record))
    Submitter(path, book, Tools(witness, program), Source(int(seed), int(client))).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
