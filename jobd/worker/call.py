"""
The call worker: runs Python calls, one at a time, in a warm process.

It may be given many short calls ahead; the report of one that was brief waits
for those behind it, for a millisecond, if it can be expected that the next is
brief as well (L{jobd.worker.unsent}). Every other is reported at once. A call
that takes long must not hold up those behind it: a second thread looks after it and hands them back.

Calls share the process: what one leaves in it (open files, threads, changed
globals, C{os.environ}) the next one finds. Output of a thread or a program that
a call leaves running belongs to whichever call runs when it is written.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from types import CoroutineType
from typing import NoReturn

import msgspec

from jobd.worker import current
from jobd.worker.current import Report
from jobd.worker.environment import name_job, set_variable
from jobd.worker.link import Link
from jobd.worker.modules import Folders, Modules
from jobd.worker.outcome import Ended, Usage, Used, children_time, done, failed, members, process_usage
from jobd.worker.results import CallSpec, decode_spec, invoke, raised, returned, run_coroutine
from jobd.worker.scratch import Printed
from jobd.worker.startup import begun
from jobd.worker.watchdog import Watchdog

_CHILD = 0.0003
"""Seconds: a call shorter than this cannot have run a program and waited for it."""

_BRIEF = 0.0002
"""Seconds: behind a call that has taken more, or of which it is not known that it takes less, no report waits."""

_HOLD = 0.001
"""Seconds for which reports wait for others."""

_NAMES = 1000
"""How many callables are remembered as brief."""


class CallWorker:
    """
    The main thread of the program.

    @ivar waiting: the lines of the jobs that have not begun.
    @ivar current: ID and ATTEMPT of the job that is running.
    @ivar begun: how many jobs have begun or ended: a changed number tells the
        watchdog that this is not the job it was looking at.
    @ivar halt: begin no more jobs.
    @ivar printed: what the calls write to standard output and error.
    """

    def __init__(self, link: Link, output: str, limit: int = 0) -> None:
        self.link = link
        self.waiting: deque[bytes] = deque()
        self.current: tuple[bytes, bytes] | None = None
        self.begun = 0
        self.halt = False
        self._modules = Modules()
        self._folders = Folders(self._modules)
        self.printed = Printed(output, link.log, limit)
        self._watchdog = Watchdog(self)
        self._used = process_usage()
        self._children = children_time()
        self._name = ""
        self._brief: set[str] = set()
        self._sent = 0.0

    def run(self) -> None:
        """Work until the link has ended, and the call that ran then."""
        current.register(self._report)
        self.link.send(b"H %d\n" % os.getpid())
        try:
            while not self.halt:
                try:
                    line = self.waiting.popleft()
                except IndexError:
                    self.link.flush()
                    if not self._watchdog.fill():
                        break
                    continue
                self._run(line)
            self.link.flush()
            self._watchdog.see_off()
        finally:
            self.printed.discard()

    def _run(self, line: bytes) -> None:
        _, job, attempt, text = line.split(b" ", 3)
        self.current = (job, attempt)
        if self.halt:
            # Asked after it is to be seen what runs, as whoever sets it looks at that afterwards.
            self.current = None
            self.link.send(b"R %b %b\n" % (job, attempt))
            return
        self.begun += 1
        started = time.monotonic()
        ended = self._perform(job, attempt, text, started)
        if self.link.abandoned:
            self._leave_copy(ended)
        if self.printed.collect(job, attempt):
            ended = ended._replace(extra=ended.extra + members(cut=True))
        wall = time.monotonic() - started
        report = done(job, attempt, ended, wall, self._usage(wall))
        self.current = None
        self.begun += 1
        self._tell(report, wall, started + wall)
        self._watchdog.job_ended()

    def _tell(self, report: bytes, wall: float, now: float) -> None:
        if wall > _BRIEF:
            self._brief.discard(self._name)
        else:
            if self._name not in self._brief:
                if len(self._brief) >= _NAMES:
                    self._brief.clear()
                self._brief.add(self._name)
            if self.waiting and now - self._sent < _HOLD:
                self.link.hold(report)
                return
        self._sent = now
        self.link.report(report)

    def _leave_copy(self, ended: Ended) -> NoReturn:
        """The call has forked, and this is the copy, which has come back from it."""
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ended.exit_code)

    def _perform(self, job: bytes, attempt: bytes, text: bytes, now: float) -> Ended:
        try:
            spec = decode_spec(text)
            self._name = spec.call
            if self._name not in self._brief:
                self.link.flush()
            self._folders.enter(spec.cwd, now)
        except msgspec.MsgspecError as problem:
            return failed(f"the job cannot be read: {problem}")
        except OSError as problem:
            return failed(f"cannot change into the folder {spec.cwd}: {problem.strerror}")
        name_job(job, attempt)
        if spec.env:
            return self._call_with(spec.env, spec)
        return self._call(spec)

    def _call(self, spec: CallSpec) -> Ended:
        pickled = spec.pickle is not None
        try:
            value = invoke(spec, self._modules)
            if type(value) is CoroutineType:
                value = run_coroutine(value)
            return returned(value, pickled)
        except BaseException as problem:
            return raised(problem, pickled)

    def _call_with(self, changes: Mapping[str, str | None], spec: CallSpec) -> Ended:
        before = {name: os.environ.get(name) for name in changes}
        try:
            _set_all(changes)
            return self._call(spec)
        except (OSError, ValueError) as problem:
            return failed(f"the environment cannot be set: {problem}")
        finally:
            _set_all(before)

    def usage_so_far(self) -> Usage:
        """What the job that is running has used by now; from any thread."""
        user, system, max_rss = process_usage()
        return Usage(user - self._used[0], system - self._used[1], max_rss)

    def _usage(self, wall: float) -> Used:
        used = process_usage()
        user, system = used[0] - self._used[0], used[1] - self._used[1]
        self._used = used
        if wall > _CHILD:
            children = children_time()
            user += children[0] - self._children[0]
            system += children[1] - self._children[1]
            self._children = children
        return user, system, used[2]

    def _report(self, report: Report) -> None:
        if self.current is not None:
            self.link.send(b"P %b %b %b\n" % (*self.current, msgspec.json.encode(report)))


def _set_all(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        set_variable(name, value)


def main() -> None:
    """The program."""
    with begun(sys.argv[1:]) as (options, link, _):
        CallWorker(link, options.output, options.limit).run()


if __name__ == "__main__":
    main()
