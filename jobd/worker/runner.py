"""
The runner: starts and looks after many commands at once.

How is the platform's matter: one thread that waits for events where there is
POSIX, else a thread for each command.
"""

from __future__ import annotations

import sys

from jobd.worker.startup import begun


def main() -> None:
    """The program."""
    with begun(sys.argv[1:], orderly=True) as (options, link, group):
        if sys.platform == "win32" or options.portable:
            from jobd.worker.portable import ThreadedRunner

            ThreadedRunner(link, options.output, options.limit).run()
        else:
            from jobd.worker.posix import Runner

            Runner(link, options.output, options.limit, group).run()


if __name__ == "__main__":
    main()
