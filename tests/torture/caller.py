"""
Clients of the kill loop that use C{jobd.connect()}, which is to bring them over every daemon's death by itself.

    python -m tests.torture.caller submit URL RECORD WITNESS PROGRAM SEED CLIENT
    python -m tests.torture.caller watch URL RECORD
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from threading import Lock, Thread
from typing import TypeVar

import jobd
from jobd.client.jobs import Job as Submitted
from jobd.client.outcome import Outcome
from jobd.errors import ConnectionProblem, Draining, NoSuchJob
from tests.torture.connection import PATIENCE, Orders
from tests.torture.mix import Job, Source, Tools
from tests.torture.records import Acked, Asked, Book, Refused, Sent, Told, now

T = TypeVar("T")

WINDOW = 30
"""Jobs under way at a time."""

SLOW = 4
"""How many of them may be slow ones."""

BATCH = 6
"""Jobs in one submission, at most."""

DRAINED = 0.1
"""Seconds before the next try, when a daemon that is about to stop has refused a submission."""


class Caller:
    """Submits jobs, each with a key, and waits for them."""

    def __init__(self, client: jobd.Client, book: Book, tools: Tools, source: Source) -> None:
        self._client, self._book, self._tools, self._source = client, book, tools, source
        self._orders = Orders()
        self._running: dict[futures.Future[Outcome], tuple[Submitted, Job]] = {}
        self._acked = 0

    def run(self) -> None:
        """Until the loop has said stop and everything has ended."""
        Thread(target=self._listen, daemon=True).start()
        while self._running or not self._orders.stopping:
            while not self._orders.stopping and WINDOW - len(self._running) >= BATCH:
                slow = SLOW - sum(job.slow for _, job in self._running.values())
                self._submit([job for job in self._source.batch(True, BATCH, slow) if not job.cancelled])
            done, _ = futures.wait(self._running, 1, futures.FIRST_COMPLETED)
            for one in done:
                self._ended(one)
            self._book.keep()

    def _listen(self) -> None:
        while not self._orders.stopping:
            self._orders.read()

    def _submit(self, batch: list[Job]) -> None:
        for job in batch:
            self._book.note(Sent(job.name, job.kind, job.keyed, job.attempts, now()))
        self._book.keep()
        submitted = self._accepted(batch)
        for job, one in zip(batch, submitted, strict=True):
            self._book.note(Acked(job.name, one.id, now()))
            self._book.note(Asked(1, one.id))
            self._running[one.done] = (one, job)
        self._book.keep()
        self._acked += len(batch)
        print(self._acked, flush=True)

    def _accepted(self, batch: list[Job]) -> list[Submitted]:
        while True:
            try:
                return self._client.submit([job.spec(self._tools) for job in batch])
            except Draining as problem:
                for job in batch:
                    self._book.note(Refused(job.name, problem.code, now()))
                time.sleep(DRAINED)

    def _ended(self, done: futures.Future[Outcome]) -> None:
        del self._running[done]
        # One that is not there, though it was acknowledged, is for the judge to see.
        if not isinstance(done.exception(), NoSuchJob):
            self._book.note(told(done.result()))


def told(outcome: Outcome) -> Told:
    text = json.dumps(outcome.data)
    return Told(1, outcome.cursor, outcome.id, outcome.state, now(), text)


class Looker:
    """Watches every finish. A thread of its own hears when that is enough."""

    def __init__(self, client: jobd.Client, book: Book) -> None:
        self._client, self._book = client, book
        self._orders = Orders()
        self._lock = Lock()
        self._cursor = 0

    def run(self) -> None:
        Thread(target=self._listen, daemon=True).start()
        for outcome in once_there(lambda: self._client.watch(0)):
            assert isinstance(outcome, Outcome)
            with self._lock:
                self._cursor = outcome.cursor
                self._book.note(told(outcome))
                self._book.keep()
            self._look()

    def _listen(self) -> None:
        while self._orders.until is None:
            self._orders.read()
        self._look()

    def _look(self) -> None:
        with self._lock:
            if self._orders.until is not None and self._cursor >= self._orders.until:
                os._exit(0)


def once_there(ask: Callable[[], T]) -> T:
    """Only what has begun is brought over a daemon's death: begin it, however many daemons that may take."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except ConnectionProblem:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main(what: str, url: str, record: str, *rest: str) -> None:
    """The program."""
    with once_there(lambda: jobd.connect(url, timeout=PATIENCE, reconnect=PATIENCE)) as client:
        if what == "watch":
            Looker(client, Book(Path(record))).run()
        else:
            witness, program, seed, number = rest
            Caller(client, Book(Path(record)), Tools(witness, program), Source(int(seed), int(number))).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
