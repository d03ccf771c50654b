"""
Which processes belong to which command: the seam at which platforms differ.

L{Family} is what every POSIX system can do: a command is its process group. L{jobd.worker.descent.Descent} is what
Linux can do. The runner asks for nothing but what stands here.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

from jobd.worker.link import Key
from jobd.worker.running import Command

assert sys.platform != "win32"


class Family:
    """
    @ivar commands: those that were started and are not reported, by id and attempt.
    @ivar mains: those whose main process has not been waited for, by its number.
    """

    def __init__(self) -> None:
        self.commands: dict[Key, Command] = {}
        self.mains: dict[int, Command] = {}

    def began(self, command: Command) -> None:
        """It was started."""
        self.commands[command.key] = self.mains[command.pid] = command

    def waited_for(self, pid: int) -> Command | None:
        """A child of the runner has ended, and its number is free. Returns the command whose main process it was."""
        return self.mains.pop(pid, None)

    def look(self) -> None:
        """Find out what has become of processes whose parents have ended."""

    def look_after(self, commands: Iterable[Command]) -> None:
        """These have run for some time, and are worth an effort."""

    def remains(self, command: Command) -> bool:
        """Whether anything runs of a command whose main process has ended."""
        # As long as one process is in a group no other process or group gets its number. Only in between an end of
        # the last and the next look here could it be given out anew, after all other numbers.
        try:
            os.killpg(command.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def count(self, command: Command) -> int:
        """How many processes of it run, the main one excepted; 0 if that is not known."""
        return 0

    def signal(self, command: Command, number: signal.Signals) -> None:
        """Signal all of it."""
        # A main process that was not waited for keeps its number; else see above.
        with suppress(OSError):
            os.killpg(command.pid, number)

    def over(self, command: Command) -> None:
        """Nothing of it is left; it will be reported now."""
        del self.commands[command.key]

    def close(self) -> None:
        """The runner ends: end what cannot be said to be any command's."""
