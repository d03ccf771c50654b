"""What the daemon and its workers have, seen from outside."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import attrs


@attrs.frozen
class Family:
    """
    Several processes together.

    @ivar memory: bytes of their own: neither files nor what they share.
    @ivar zombies: ended ones that nobody has waited for.
    """

    memory: int
    descriptors: int
    threads: int
    zombies: int


def family(pid: int) -> list[int]:
    """A process and all that are below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def look(pids: list[int]) -> Family:
    """At these processes, those that have ended meanwhile left out."""
    memory = descriptors = threads = zombies = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _status(pid)
            if fields["State"].startswith("Z"):
                zombies += 1
                continue
            memory += int(fields["RssAnon"].split()[0]) * 1024
            threads += int(fields["Threads"])
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    return Family(memory, descriptors, threads, zombies)


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def size(path: Path) -> int:
    """Bytes of a file; 0 if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def files(folder: Path) -> int:
    """How many files are in a folder, in any depth."""
    return sum(len(names) for _, _, names in os.walk(folder))


def jobs_kept(database: Path) -> int:
    """How many jobs the store holds."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        count: int = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
        return count
