"""
What a worker that has died has left running: a program that ends it.

    python -m jobd.worker.sweep JOURNAL...

All that a worker starts is in its control group, if its journal names one, and inherits C{JOBD_WORKER=NAME} in its
environment, NAME being its journal's. The group is killed, and so are the processes with that mark, until none is
left; with nobody to collect how they end there is no reason to ask them first. Only Linux shows the environment of a
process; elsewhere nothing is found.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

from jobd.worker import journal, tree
from jobd.worker.cgroup import Cgroup

MARK = "JOBD_WORKER"

_PATIENCE = 5.0
"""Seconds for all of them to be gone."""

_PAUSE = 0.01


def group_of(path: str) -> Cgroup | None:
    """The control group of the worker that has, or had, this journal."""
    try:
        # The locks of this process on that file would be gone with this, if it had any: see L{journal.lock}.
        with open(path, "rb") as file:
            lines = journal.decode(file.read())
    except OSError:
        return None
    return next((Cgroup(os.fsdecode(line[2:])) for line in lines if line[:2] == b"G "), None)


def marked(names: set[bytes]) -> list[tree.Process]:
    """The living processes that have one of these marks, this one excepted."""
    prefix = MARK.encode() + b"="
    marks = {prefix + name for name in names}
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        process = tree.look_at(int(entry))
        if process is not None and process.state != "Z" and not marks.isdisjoint(tree.environment_of(process.pid)):
            found.append(process)
    return found


def sweep(journals: Iterable[str]) -> int:
    """
    End what these workers have left, and them if they live; returns how many of the processes that are known would not
    go.

    @param journals: their files.
    """
    if sys.platform == "win32":
        return 0
    paths = list(journals)
    names = {os.fsencode(os.path.basename(path)) for path in paths}
    end = time.monotonic() + _PATIENCE
    while found := marked(names):
        if time.monotonic() > end:
            break
        for process in found:
            tree.send(process, signal.SIGKILL)
        time.sleep(_PAUSE)
    groups = [group for path in paths if (group := group_of(path)) is not None]
    return len(found) + sum(not group.end() for group in groups)


def main() -> None:
    """The program; its exit code says whether something is left."""
    sys.exit(1 if sweep(sys.argv[1:]) else 0)


if __name__ == "__main__":
    main()
