"""
Which processes belong to which command, on Linux: all that it has started.

The runner is a subreaper: a process whose parent has ended becomes a child of the runner. Whose it is tells its
session or its process group; else the control group it is in; else the mark in the environment it was started with. A
process may have left the first and cleared the last, and a control group is not worth its price for what is short: a
command gets one when it has run for a while, with all that it has started by then. What is left can be the
process of none but those commands that were running at that time without a group: once all of them but one are over it
belongs to that one, and once all are over it is killed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

from jobd.worker import tree
from jobd.worker.cgroup import Cgroup, Own
from jobd.worker.running import Command

assert sys.platform != "win32"

from jobd.worker.family import Family  # noqa: E402

_ROUNDS = 5
"""How often what a command has started is looked for again while it is put into its group: it may be forking."""


class Children:
    """
    Those of this process, which has one thread, also those that have ended and were not waited for. The file stays
    open: to find it costs more than to read it.
    """

    def __init__(self) -> None:
        self._file = os.open("/proc/thread-self/children", os.O_RDONLY)

    def read(self) -> list[int]:
        text = data = os.pread(self._file, 65536, 0)
        while data:
            data = os.pread(self._file, 65536, len(text))
            text += data
        return list(map(int, text.split()))

    def close(self) -> None:
        os.close(self._file)


class Descent(Family):
    """
    @param group: the runner's own control group; without one none is used.
    """

    def __init__(self, group: Own | None) -> None:
        super().__init__()
        self._own = group
        self._children = Children()
        self._by_pid: dict[int, Command] = {}
        self._orphans: dict[int, Command] = {}
        self._strays: dict[int, set[Command]] = {}

    def began(self, command: Command) -> None:
        super().began(command)
        self._by_pid[command.pid] = command

    def waited_for(self, pid: int) -> Command | None:
        owner = self._orphans.pop(pid, None)
        if owner is not None:
            owner.orphans.discard(pid)
        self._strays.pop(pid, None)
        return super().waited_for(pid)

    # Whose a process is.

    def look(self) -> None:
        for pid in self._children.read():
            if pid in self.mains or pid in self._orphans or pid in self._strays:
                continue
            process = tree.look_at(pid)
            if process is None or process.state == "Z":
                continue
            owner = self._owner(process)
            if owner is not None:
                self._assign(pid, owner)
            else:
                self._strays[pid] = {one for one in self.commands.values() if not one.enclosed}
        for pid, suspects in list(self._strays.items()):
            if len(suspects) == 1:
                del self._strays[pid]
                self._assign(pid, *suspects)
            elif not suspects:
                self._kill(pid)

    def _assign(self, pid: int, owner: Command) -> None:
        self._orphans[pid] = owner
        owner.orphans.add(pid)

    def _owner(self, process: tree.Process) -> Command | None:
        # While one process of a session or a group lives, its number is no other's.
        known = self._by_pid.get(process.session) or self._by_pid.get(process.group)
        if known is not None:
            return known
        named = tree.job_of(process.pid)
        if self._own is not None and (name := self._own.below(process.pid)):
            job, _, attempt = name.encode().partition(b".")
            named = job, attempt
        return None if named is None else self.commands.get(named)

    def _kill(self, pid: int) -> None:
        """A stray: none of the commands it could belong to is there any more. It is a child of this process."""
        for process in tree.descendants(pid):
            tree.send(process, signal.SIGKILL)
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)

    # Control groups.

    def look_after(self, commands: Iterable[Command]) -> None:
        if self._own is None:
            return
        for command in commands:
            if command.group is None and command.main:
                self._enclose(command, self._own)

    def _enclose(self, command: Command, own: Own) -> None:
        group = own.make(f"{command.job.decode()}.{command.attempt.decode()}")
        if group is None:
            return
        command.group = group
        group.take(command.pid)
        for _ in range(_ROUNDS):
            outside = [one for one in self._processes(command) if not group.holds(one.pid)]
            if not outside:
                break
            for process in outside:
                _take(process, group, own)
        self.look()
        command.enclosed = not outside and not any(command in suspects for suspects in self._strays.values())

    def _processes(self, command: Command) -> list[tree.Process]:
        """Its living processes that are this one's descendants, but for the main one."""
        found = [process for pid in command.orphans if (process := tree.look_at(pid)) and process.state != "Z"]
        for root in (*command.orphans, *((command.pid,) if command.main else ())):
            found += tree.descendants(root)
        return found

    # What the runner asks.

    def remains(self, command: Command) -> bool:
        return bool(command.orphans) or (command.group is not None and command.group.populated)

    def count(self, command: Command) -> int:
        pids = {process.pid for process in self._processes(command)}
        if command.group is not None:
            pids.update(command.group.pids())
        return len(pids - {command.pid})

    def signal(self, command: Command, number: signal.Signals) -> None:
        others = self._processes(command)
        if command.main:
            # It was not waited for: the number stands for its group and no other.
            with suppress(OSError):
                os.killpg(command.pid, number)
        if command.group is not None and number == signal.SIGKILL:
            command.group.kill()
        for process in others:
            if not (command.main and process.group == command.pid):
                tree.send(process, number)
        if command.group is not None and number != signal.SIGKILL:
            command.group.send(number, {command.pid, *(process.pid for process in others)})

    def over(self, command: Command) -> None:
        super().over(command)
        if self._by_pid.get(command.pid) is command:
            del self._by_pid[command.pid]
        for suspects in self._strays.values():
            suspects.discard(command)
        if command.group is not None:
            command.group.remove()
        if self._strays:
            self.look()

    def close(self) -> None:
        self.look()
        for pid in (*self._strays, *self._orphans):
            self._kill(pid)
        self._children.close()


def _take(process: tree.Process, group: Cgroup, own: Own) -> None:
    """Put a descendant into a group, and nobody else in its place who has got its number."""
    if sys.platform != "linux":
        return
    with suppress(OSError):
        descriptor = os.pidfd_open(process.pid)
        try:
            now = tree.look_at(process.pid)
            if now is None or now.started != process.started:
                return
            group.take(process.pid)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if poll.poll(0) and group.holds(process.pid):
                # It has ended meanwhile, and the number was given out again.
                own.origin.take(process.pid)
        finally:
            os.close(descriptor)
