"""How each of the worker programs begins: its options, its session, its link."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NamedTuple

from jobd.worker.link import Link, take_link


class Options(NamedTuple):
    """
    What a worker is told when it is started.

    @ivar output: the folder for the jobs' output, absolute.
    @ivar threads: how many plain functions the io worker runs at once.
    @ivar portable: the runner is to use a thread for each command, as it does
        where there is no POSIX.
    """

    output: str
    threads: int = 64
    portable: bool = False


def parse(argv: list[str]) -> Options:
    """
    The options in C{argv} (without the program's name). Raises L{SystemExit}
    with a line that names the wrong one.
    """
    output, threads, portable = "", 64, False
    words = iter(argv)
    for word in words:
        if word == "--output":
            output = os.path.abspath(next(words, ""))
        elif word == "--threads":
            threads = int(next(words, "64"))
        elif word == "--portable":
            portable = True
        else:
            raise SystemExit(f"jobd worker: unknown option {word!r}")
    if not output:
        raise SystemExit("jobd worker: --output DIR is missing; workers are started by the daemon")
    return Options(output, threads, portable)


def begin(argv: list[str]) -> tuple[Options, Link]:
    """Parse C{argv}, lead a session of our own and take the link."""
    options = parse(argv)
    if sys.platform != "win32":
        # The pool may have made this process a group leader already.
        with suppress(PermissionError):
            os.setsid()
    os.makedirs(options.output, mode=0o700, exist_ok=True)
    return options, take_link()


def home() -> str:
    """The folder a job runs in that names none: the user's home, or the root folder where there is none."""
    folder = os.path.expanduser("~")
    return folder if os.path.isdir(folder) else os.path.abspath(os.sep)
