"""
SQLite's own calls, recorded, and made to fail.

The store's code runs over the SQLite that apsw brings along, whose file system layer (VFS) may be written in
Python. L{Database} stands for the C{sqlite3.Connection} that the store asks for.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from tests.reliability.powercut import Delete, Event, Open, Sync, Truncate, Write

Fault = Callable[[str, str], "apsw.Error | None"]
"""Is asked before each call, with its kind and the file's name, for the error that it is to end with."""

TEXTS = {
    apsw.SQLITE_FULL: "database or disk is full",
    apsw.SQLITE_IOERR: "disk I/O error",
    apsw.SQLITE_BUSY: "database is locked",
    apsw.SQLITE_CORRUPT: "database disk image is malformed",
    apsw.SQLITE_NOTADB: "file is not a database",
    apsw.SQLITE_CANTOPEN: "unable to open database file",
}
"""What Python's own module says for the same codes."""

CODES: dict[type[apsw.Error], int] = {apsw.FullError: apsw.SQLITE_FULL, apsw.CorruptError: apsw.SQLITE_CORRUPT}

IO_CODES = {
    "open": apsw.SQLITE_CANTOPEN,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "delete": apsw.SQLITE_IOERR_DELETE,
}

NAMES = {int(code): str(name) for name, code in apsw.mapping_extended_result_codes.items() if isinstance(code, int)}

_names = map("recorded-{}".format, itertools.count())


def no_room(kind: str) -> apsw.Error:
    """What SQLite's own layer makes of C{ENOSPC}, and of a write that was cut short."""
    return apsw.FullError("no room")


def failed(kind: str) -> apsw.Error:
    """What it makes of C{EIO}."""
    problem: apsw.Error = apsw.CantOpenError("EIO") if kind == "open" else apsw.IOError("EIO")
    vars(problem)["extendedresult"] = IO_CODES[kind]
    return problem


class Nth:
    """
    A fault: the nth call of a kind fails, and with C{lasting} all that follow, too, until C{over}.

    @ivar seen: how many of them there were.
    """

    def __init__(self, kind: str, nth: int, problem: Callable[[str], apsw.Error], lasting: bool = False) -> None:
        self._kind, self._nth, self._problem, self._lasting = kind, nth, problem, lasting
        self.seen = 0
        self.over = False

    def __call__(self, kind: str, name: str) -> apsw.Error | None:
        if kind != self._kind or self.over:
            return None
        self.seen += 1
        hit = self.seen == self._nth or (self._lasting and self.seen > self._nth)
        return self._problem(kind) if hit else None


class Recorder:
    """
    A VFS that remembers all that was done to files, in order.

    @ivar events: that.
    @ivar fault: makes calls fail.
    """

    def __init__(self, fault: Fault = lambda kind, name: None) -> None:
        self.events: list[Event] = []
        self.fault = fault
        self.name = next(_names)
        self._vfs = RecordingVFS(self)

    def connect(self, path: Path) -> sqlite3.Connection:
        """What a store calls to open its file."""
        stand_in: Any = Database(path, self.name)
        return stand_in  # type: ignore[no-any-return]

    def meet(self, kind: str, name: str) -> None:
        problem = self.fault(kind, name)
        if problem is not None:
            raise problem


class RecordingVFS(apsw.VFS):
    """Passes everything on but syncs, which would only take time."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder.name, "")
        self._recorder = recorder

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            # A temporary file, which means nothing to anybody after.
            return super().xOpen(name, flags)
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        self._recorder.meet("open", path.name)
        fresh = not path.exists()
        file = RecordingFile(name, flags, path.name, self._recorder)
        if fresh:
            synced = flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL)
            self._recorder.events.append(Open(path.name, bool(synced)))
        return file

    def xDelete(self, name: str, sync_folder: bool) -> None:
        self._recorder.meet("delete", Path(name).name)
        super().xDelete(name, sync_folder)
        self._recorder.events.append(Delete(Path(name).name, sync_folder))


class RecordingFile(apsw.VFSFile):
    def __init__(self, path: str | apsw.URIFilename | None, flags: list[int], name: str, recorder: Recorder) -> None:
        super().__init__("", path, flags)
        self._name, self._recorder = name, recorder

    def xWrite(self, data: bytes, offset: int) -> None:
        try:
            self._recorder.meet("write", self._name)
        except apsw.FullError:
            # As much as there was room for.
            self._write(data[: len(data) // 2], offset)
            raise
        self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._recorder.events.append(Write(self._name, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        self._recorder.meet("truncate", self._name)
        super().xTruncate(size)
        self._recorder.events.append(Truncate(self._name, size))

    def xSync(self, flags: int) -> None:
        try:
            self._recorder.meet("sync", self._name)
        except apsw.Error:
            self._recorder.events.append(Sync(self._name, failed=True))
            raise
        self._recorder.events.append(Sync(self._name))


class Rows:
    """What a statement gave."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)


class Database:
    """As much of C{sqlite3.Connection} as the store uses."""

    def __init__(self, path: Path, vfs: str) -> None:
        with _translated():
            self._connection = apsw.Connection(str(path), vfs=vfs)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        with _translated():
            return Rows(list(self._connection.execute(sql, tuple(values))))

    def executescript(self, sql: str) -> None:
        self.execute(sql)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        # SQLite says nothing of what fails here, and nor does Python's own module.
        with contextlib.suppress(apsw.Error):
            self._connection.close(True)


class _translated:
    """apsw's errors, as those of Python's own module."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, where: object) -> None:
        if not isinstance(problem, apsw.Error):
            return
        code: int = getattr(problem, "extendedresult", None) or CODES.get(type(problem), apsw.SQLITE_ERROR)
        other = sqlite3.OperationalError(TEXTS.get(code & 0xFF, str(problem)))
        # As from Python 3.11.
        vars(other).update(sqlite_errorcode=code, sqlite_errorname=NAMES.get(code, "SQLITE_ERROR"))
        raise other from problem
