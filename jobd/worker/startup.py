"""How each of the worker programs begins: its options, its session, its link."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from jobd.worker import cgroup
from jobd.worker.journal import Gone, Journal
from jobd.worker.link import Link, take_link
from jobd.worker.unsent import Unsent


class Options(NamedTuple):
    """
    What a worker is told when it is started.

    @ivar output: the folder for the jobs' output, absolute.
    @ivar threads: how many plain functions the io worker runs at once.
    @ivar journal: the file by which the next daemon finds this worker; none: it ends with its link.
    @ivar limit: how many bytes of each output stream of an attempt are kept; 0: all.
    @ivar cgroup: it may use a control group.
    @ivar portable: the runner is to use a thread for each command, as it does
        where there is no POSIX.
    @ivar unsent: the descriptor of the memory for reports that wait to be sent; -1: none waits.
    """

    output: str
    threads: int = 64
    journal: str = ""
    limit: int = 0
    cgroup: bool = True
    portable: bool = False
    unsent: int = -1


class Worker(NamedTuple):
    """
    What a worker program begins with.

    @ivar group: the control group it is in with all that it starts; none where there is none to be had.
    """

    options: Options
    link: Link
    group: cgroup.Own | None


def parse(argv: list[str]) -> Options:
    """
    The options in C{argv} (without the program's name). Raises L{SystemExit}
    with a line that names the wrong one.
    """
    options = Options("")
    words = iter(argv)
    for word in words:
        if word == "--output":
            options = options._replace(output=os.path.abspath(next(words, "")))
        elif word == "--threads":
            options = options._replace(threads=int(next(words, "64")))
        elif word == "--journal":
            options = options._replace(journal=os.path.abspath(next(words, "")))
        elif word == "--output-limit":
            options = options._replace(limit=int(next(words, "0")))
        elif word == "--unsent":
            options = options._replace(unsent=int(next(words, "-1")))
        elif word == "--no-cgroup":
            options = options._replace(cgroup=False)
        elif word == "--portable":
            options = options._replace(portable=True)
        else:
            raise SystemExit(f"jobd worker: unknown option {word!r}")
    if not options.output:
        raise SystemExit("jobd worker: --output DIR is missing; workers are started by the daemon")
    return options


@contextmanager
def begun(argv: list[str], orderly: bool = False) -> Iterator[Worker]:
    """
    Parse C{argv}, lead a session of our own and take the link; at the end of the block end what is left of what was
    started in it, as far as that is to be found. A worker that the next daemon has given up already ends here: it
    must not begin anything.

    @param orderly: this program is never killed by its daemon, so its control group is removed even if nobody is told
        of it by a journal.
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
    with cgroup.staying(options.cgroup and (orderly or journal is not None)) as group:
        if journal is not None and group is not None:
            journal.write([b"G %b" % os.fsencode(group.path)])
        unsent = Unsent(options.unsent) if options.unsent != -1 else None
        yield Worker(options, take_link(journal, unsent), group)


def home() -> str:
    """The folder a job runs in that names none: the user's home, or the root folder where there is none."""
    folder = os.path.expanduser("~")
    return folder if os.path.isdir(folder) else os.path.abspath(os.sep)
