"""
What a worker that has died has left running: a program that ends it.

    python -m jobd.worker.sweep NAME...

Whatever a worker starts inherits C{JOBD_WORKER=NAME} in its environment. All such
processes are killed, until none is left; with nobody to collect how they end there is no reason to ask them first.
Only Linux shows the environment of a process; elsewhere nothing is found.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from jobd.worker import tree

MARK = "JOBD_WORKER"

_PATIENCE = 5.0
"""Seconds for all of them to be gone."""

_PAUSE = 0.01


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


def sweep(names: set[bytes]) -> int:
    """End what these workers have left; returns how many processes would not go."""
    if sys.platform == "win32":
        return 0
    end = time.monotonic() + _PATIENCE
    while found := marked(names):
        if time.monotonic() > end:
            break
        for process in found:
            tree.send(process, signal.SIGKILL)
        time.sleep(_PAUSE)
    return len(found)


def main() -> None:
    """The program; its exit code says whether something is left."""
    sys.exit(1 if sweep({name.encode() for name in sys.argv[1:]}) else 0)


if __name__ == "__main__":
    main()
