"""
What daemons leave behind, and the store that a daemon has on it.

A batch is written when the world says so, some time after it was given: until then the daemon may die, and
then any number of the batches under way is on the disk, and the last of them was told to nobody.
"""

from __future__ import annotations

import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from jobd.actions import Kept
from jobd.errors import Full, StoreError
from jobd.snapshot import Snapshot
from jobd.store import Reader, Specs, schema
from jobd.store.batches import prepare_batch, write_batch
from jobd.store.memory import MemoryStore
from jobd.store.pruning import Pruning
from jobd.store.restore import read_snapshot
from jobd.store.sqlreader import SqlReader, read_specs
from jobd.testing import as_it_is

T = TypeVar("T")


class Disk(Protocol):
    """What survives."""

    @property
    def reader(self) -> Reader: ...

    def open(self) -> Snapshot: ...

    def prepare(self, batch: Iterable[Kept]) -> Any:
        """The values of a batch as they are now, for L{write}."""

    def write(self, prepared: Any) -> None: ...

    def fetch(self, ids: Sequence[int]) -> Specs: ...

    def prune(self, keep: int, before: float) -> list[int]: ...


class MemoryDisk:
    """On the store that keeps nothing."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._store._instance = "simulated"

    @property
    def reader(self) -> Reader:
        return self._store

    def open(self) -> Snapshot:
        return self._store.open()

    def prepare(self, batch: Iterable[Kept]) -> Any:
        return [as_it_is(change) for change in batch]

    def write(self, prepared: Any) -> None:
        self._store.commit(prepared, lambda problem: None)

    def fetch(self, ids: Sequence[int]) -> Specs:
        found: list[Specs] = []
        self._store.fetch(ids, lambda specs: found.extend([specs] if isinstance(specs, dict) else []))
        return found[0]

    def prune(self, keep: int, before: float) -> list[int]:
        found: list[int] = []
        self._store.prune(keep, before, lambda gone: found.extend(gone if isinstance(gone, list) else ()))
        return found


class SqlDisk:
    """The statements of the SQLite store, on a database in memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._pruning: Pruning
        self._database.executescript(schema.CREATE)

    @property
    def reader(self) -> Reader:
        return SqlReader(self._database)

    def open(self) -> Snapshot:
        # It dies with its daemon.
        self._pruning = Pruning()
        return read_snapshot(self._database)

    def prepare(self, batch: Iterable[Kept]) -> Any:
        return prepare_batch(batch)

    def write(self, prepared: Any) -> None:
        if prepared.statements:
            write_batch(self._database, prepared.statements)
            self._pruning.ended(prepared.ended, prepared.oldest)

    def fetch(self, ids: Sequence[int]) -> Specs:
        return read_specs(self._database, ids)

    def prune(self, keep: int, before: float) -> list[int]:
        self._check_count()
        gone = self._pruning.prune(self._database, keep, before)
        self._check_count()
        return gone

    def _check_count(self) -> None:
        """What is counted as it is written is what there is."""
        there = self._database.execute("SELECT count(*) FROM ends").fetchone()[0]
        assert self._pruning._count in (None, there), (self._pruning._count, there)


class SimulatedStore:
    """
    The store of one life.

    @ivar full: there is no room.
    @ivar broken: the next batch fails for good.
    @param effect: called before anything leaves the daemon: it may die there.
    @param turn: calls a function with arguments in a turn of the reactor.
    @param forgotten: told which jobs the disk has no more.
    """

    def __init__(
        self,
        disk: Disk,
        effect: Callable[[str], None],
        turn: Callable[..., object],
        forgotten: Callable[[list[int]], None],
    ) -> None:
        self.full = False
        self.broken = False
        self.refused = 0
        self._closed = False
        self._disk, self._effect, self._turn, self._forgotten = disk, effect, turn, forgotten
        self._writes: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._reads: deque[tuple[Callable[[Reader], Any], Callable[[Any], None]]] = deque()

    @property
    def writing(self) -> int:
        """How many writes are under way."""
        return len(self._writes)

    @property
    def busy(self) -> bool:
        return bool(self._writes or self._reads)

    # What the daemon asks.

    def open(self) -> Snapshot:
        return self._disk.open()

    def commit(self, batch: Iterable[Kept], done: Callable[[Exception | None], None]) -> None:
        self._effect("commit")
        if self._closed:
            return
        prepared = self._disk.prepare(batch)
        self._writes.append((lambda: self._disk.write(prepared), done))

    def read(self, ask: Callable[[Reader], T], done: Callable[[T | Exception], None]) -> None:
        self._effect("read")
        self._reads.append((ask, done))

    def fetch(self, ids: Sequence[int], done: Callable[[Specs | Exception], None]) -> None:
        self._effect("read")
        self._writes.append((lambda: self._disk.fetch(ids), done))

    def prune(self, keep: int, before: float, done: Callable[[list[int] | Exception], None]) -> None:
        self._effect("prune")
        self._writes.append((lambda: self._prune(keep, before), done))

    def _prune(self, keep: int, before: float) -> list[int]:
        gone = self._disk.prune(keep, before)
        self._forgotten(gone)
        return gone

    def close(self) -> None:
        while self._writes:
            self.write_one()
        self._closed = True

    # What the world does.

    def write_one(self) -> bool:
        """The oldest write ends, as it can."""
        if not self._writes:
            return False
        write, done = self._writes.popleft()
        if self.full:
            self.refused += 1
            self._turn(done, Full("there is no room for the job store"))
        elif self.broken:
            self._turn(done, StoreError("the disk says: Input/output error"))
        else:
            self._turn(done, write())
        return True

    def read_one(self) -> bool:
        """The oldest question is answered."""
        if not self._reads:
            return False
        ask, done = self._reads.popleft()
        self._turn(done, ask(self._disk.reader))
        return True

    def lose(self, rng: random.Random) -> int:
        """The daemon has died: any number of the writes under way were still done. Returns how many."""
        number = 0 if self.full else rng.randint(0, len(self._writes))
        for _ in range(number):
            self._writes.popleft()[0]()
        self._writes.clear()
        return number
