"""
A runner whose commands cannot be killed: a double for what hangs in the kernel, which no test can ask for.

C{KILL} does nothing to them until there is a file C{let-go} in the home folder.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from jobd.worker import posix, tree
from jobd.worker.descent import Descent
from jobd.worker.running import Command
from jobd.worker.startup import begun


class Hanging(Descent):
    """As the real one, but for C{KILL}."""

    def signal(self, command: Command, number: signal.Signals) -> None:
        if number != signal.SIGKILL or (Path.home() / "let-go").exists():
            super().signal(command, number)


def main() -> None:
    """The program."""
    posix._KILL_PATIENCE = 0.2
    tree.adopt_orphans()
    with begun(sys.argv[1:]) as (options, link, group):
        posix.Runner(link, options.output, options.limit, group, Hanging(group)).run()


if __name__ == "__main__":
    main()
