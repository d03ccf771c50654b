"""How each of the worker programs begins: its options, its session, its link."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NamedTuple

from jobd.worker.journal import Gone, Journal
from jobd.worker.link import Link, take_link


class Options(NamedTuple):
    """
    What a worker is told when it is started.

    @ivar output: the folder for the jobs' output, absolute.
    @ivar threads: how many plain functions the io worker runs at once.
    @ivar journal: the file by which the next daemon finds this worker; none: it ends with its link.
    @ivar portable: the runner is to use a thread for each command, as it does
        where there is no POSIX.
    """

    output: str
    threads: int = 64
    journal: str = ""
    portable: bool = False


def parse(argv: list[str]) -> Options:
    """
    The options in C{argv} (without the program's name). Raises L{SystemExit}
    with a line that names the wrong one.
    """
    output, threads, journal, portable = "", 64, "", False
    words = iter(argv)
    for word in words:
        if word == "--output":
            output = os.path.abspath(next(words, ""))
        elif word == "--threads":
            threads = int(next(words, "64"))
        elif word == "--journal":
            journal = os.path.abspath(next(words, ""))
        elif word == "--portable":
            portable = True
        else:
            raise SystemExit(f"jobd worker: unknown option {word!r}")
    if not output:
        raise SystemExit("jobd worker: --output DIR is missing; workers are started by the daemon")
    return Options(output, threads, journal, portable)


def begin(argv: list[str]) -> tuple[Options, Link]:
    """
    Parse C{argv}, lead a session of our own and take the link. A worker that the next
    daemon has given up already ends here: it must not begin anything.
    """
    options = parse(argv)
    if sys.platform != "win32":
        # The pool may have made this process a group leader already.
        with suppress(PermissionError):
            os.setsid()
    os.makedirs(options.output, mode=0o700, exist_ok=True)
    try:
        journal = Journal(options.journal) if options.journal else None
    except Gone:
        sys.exit(1)
    return options, take_link(journal)


def home() -> str:
    """The folder a job runs in that names none: the user's home, or the root folder where there is none."""
    folder = os.path.expanduser("~")
    return folder if os.path.isdir(folder) else os.path.abspath(os.sep)
