"""
What a power cut makes of files: a model of a disk and its cache.

A program's calls are a list of events. Up to any place in it the files can be rebuilt as a power cut there may leave
them: of what was not synced none, all, some writes, or some sectors of them. POSIX promises no more than this:

- a write is on the disk once its file was synced after it; before that any part of it may be, in any order;
- a sector of 512 bytes is written whole or not at all;
- the name of a new file, or its absence, is on the disk once its folder was synced; SQLite does that with
  the first sync of a new journal or log;
- after a sync that has failed the cache takes its pages for written: no later sync brings them to the disk.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Literal

import attrs

SECTOR = 512

Way = Literal["none", "all", "some", "torn"]
"""What of that which was not synced is on the disk."""

WAYS: tuple[Way, ...] = ("none", "all", "some", "torn")


@attrs.frozen(slots=True)
class Open:
    """A file is there from now on. C{durable}: its first sync makes its name last, too."""

    name: str
    durable: bool


@attrs.frozen(slots=True)
class Write:
    name: str
    offset: int
    data: bytes


@attrs.frozen(slots=True)
class Truncate:
    name: str
    size: int


@attrs.frozen(slots=True)
class Sync:
    name: str
    failed: bool = False


@attrs.frozen(slots=True)
class Delete:
    name: str
    synced: bool


@attrs.frozen(slots=True)
class SyncFolder:
    """All names are on the disk."""


@attrs.frozen(slots=True)
class Given:
    """A batch was given to the store."""

    number: int


@attrs.frozen(slots=True)
class Told:
    """It was told to be safe. So is what was found when a store was opened."""

    number: int


Event = Open | Write | Truncate | Sync | Delete | SyncFolder | Given | Told
Change = Write | Truncate


@attrs.define(slots=True, eq=False)
class File:
    """
    @ivar kept: what is on the disk.
    @ivar cached: what a program that reads it now gets.
    @ivar pending: the changes that are not on the disk, and can still come to it.
    """

    durable: bool
    kept: bytearray = attrs.Factory(bytearray)
    cached: bytearray = attrs.Factory(bytearray)
    pending: list[Change] = attrs.Factory(list)


class Disk:
    """Files in one folder."""

    def __init__(self) -> None:
        # What a name has stood for since the folder was last synced; None: for nothing.
        self._names: dict[str, list[File | None]] = {}

    def happen(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Open):
                self._names.setdefault(event.name, [None]).append(File(event.durable))
            elif isinstance(event, Delete):
                self._names[event.name].append(None)
                if event.synced:
                    self._sync_folder()
            elif isinstance(event, (Write, Truncate)):
                file = self._file(event.name)
                file.pending.append(event)
                _apply(event, file.cached)
            elif isinstance(event, Sync):
                self._sync(self._file(event.name), event.failed)
            elif isinstance(event, SyncFolder):
                self._sync_folder()

    def _file(self, name: str) -> File:
        file = self._names[name][-1]
        assert file is not None, name
        return file

    def _sync(self, file: File, failed: bool) -> None:
        if not failed:
            for change in file.pending:
                _apply(change, file.kept)
            if file.durable:
                file.durable = False
                self._sync_folder()
        file.pending.clear()

    def _sync_folder(self) -> None:
        for history in self._names.values():
            del history[:-1]

    def image(self) -> dict[str, bytes]:
        """The files as the next program finds them when this one is killed."""
        return {name: bytes(last.cached) for name, (*_, last) in self._names.items() if last is not None}

    def cut(self, way: Way, rng: random.Random) -> dict[str, bytes]:
        """The files as they may be after a power cut."""
        found = {}
        for name, history in self._names.items():
            file = history[0] if way == "none" else history[-1] if way == "all" else rng.choice(history)
            if file is not None:
                found[name] = _after_cut(file, way, rng)
        return found


def _after_cut(file: File, way: Way, rng: random.Random) -> bytes:
    content = bytearray(file.kept)
    if way != "none":
        share = rng.random()
        for change in file.pending:
            if way == "torn" and isinstance(change, Write):
                for piece in _sectors(change):
                    if rng.random() < share:
                        _apply(piece, content)
            elif way == "all" or rng.random() < share:
                _apply(change, content)
    return bytes(content)


def _sectors(change: Write) -> Iterable[Write]:
    end = change.offset + len(change.data)
    place = change.offset
    while place < end:
        stop = min(end, (place // SECTOR + 1) * SECTOR)
        yield Write(change.name, place, change.data[place - change.offset : stop - change.offset])
        place = stop


def _apply(change: Change, content: bytearray) -> None:
    if isinstance(change, Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    end = change.offset + len(change.data)
    content.extend(bytes(max(0, end - len(content))))
    content[change.offset : end] = change.data
