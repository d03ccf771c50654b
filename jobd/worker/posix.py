"""
The runner where there is POSIX: one thread, asleep until something happens.

What can happen: a line comes in by the link, a process ends (SIGCHLD writes
into a pipe), a moment comes that was noted. Commands are started by
posix_spawn, which beats C{subprocess.Popen} by half its processor time; it cannot change
the folder, but this process can, since it does nothing else meanwhile. All
descriptors of this process are closed on exec, so none needs closing by hand.

A command has ended when its main process has. What that one has left running
is then ended too, and only when all is gone is the finish reported. No pipe is
ever waited for. What does not even go when it is killed, as it hangs in the kernel, is
told to be stuck, and reported when it has gone after all.

Short commands need no looking after. What has run for a while is looked at now and then: it gets a control group, and
its output is cut where it is too long.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
from contextlib import suppress

import msgspec

from jobd.worker import tree
from jobd.worker.cgroup import Own
from jobd.worker.command import (
    NOT_EXECUTABLE,
    CannotStart,
    Launch,
    NoRoom,
    Settings,
    cannot_execute,
    decode_spec,
    find_program,
    finish_of,
    outcome_of,
)
from jobd.worker.gate import PATIENCE, Gate, Waiting
from jobd.worker.link import Key, Link, no_room
from jobd.worker.outcome import Usage, done, failed
from jobd.worker.running import Command, Timers

assert sys.platform != "win32"

from jobd.worker.descent import Descent  # noqa: E402
from jobd.worker.family import Family  # noqa: E402
from jobd.worker.outcome import usage  # noqa: E402

_STARTS = 4
"""How many commands are started before ended ones are collected again."""

_LOOK = 0.5
"""Seconds from one look at what runs to the next. What is younger is not looked at."""

_LONGEST_PAUSE = 8.0
"""The same for the output of a command that has long written nothing."""

_LEFT_GRACE = 1.0
"""Seconds between TERM and KILL for what a command has left running."""

_STOP_GRACE = 5.0
"""The same for everything, when the pool has closed the link."""

_KILL_PAUSE, _STUCK_PAUSE = 0.05, 1.0
"""Seconds from one KILL to the next: what forks may escape one. The second is for what is stuck."""

_KILL_PATIENCE = 5.0
"""Seconds after the first KILL until a process that does not go away is told to be stuck."""

_DEFAULT_SIGNALS = [
    number
    for number in signal.valid_signals()
    if number not in (signal.SIGKILL, signal.SIGSTOP) and isinstance(number, signal.Signals)
]
"""What this process or the daemon ignores must not be ignored by a command."""


class Runner:
    """
    The program's one thread.

    @param limit: how many bytes are kept of each output stream of an attempt; 0: all.
    @param group: the control group this process is in with all that it starts.
    """

    def __init__(
        self, link: Link, output: str, limit: int = 0, group: Own | None = None, family: Family | None = None
    ) -> None:
        self._link = link
        self._settings = Settings(output, limit=limit)
        self._gate = Gate()
        self._impatient = False
        self._news: list[bytes] = []
        self._family = family or (Descent(group) if tree.adopt_orphans() else Family())
        self._commands = self._family.commands
        self._ending: set[Command] = set()
        self._timers = Timers()
        self._next_look = math.inf
        self._stopping = False
        self._listener = -1
        self._null = os.open(os.devnull, os.O_RDWR)
        self._poll = select.poll()
        self._wake_reader = self._catch_signals()

    def _catch_signals(self) -> int:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._poll.register(reader, select.POLLIN)
        return reader

    def run(self) -> None:
        """Work until the link has ended and every command has."""
        self._poll.register(self._link.reader, select.POLLIN)
        os.chdir("/")
        self._link.send(b"H %d\n" % os.getpid())
        while not self._finished():
            ready = dict(self._poll.poll(0 if self._gate.open else self._timers.timeout()))
            if self._wake_reader in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake_reader, 4096)
            if self._link.reader in ready:
                self._receive()
            elif self._listener in ready:
                self._rejoin()
            self._timers.run()
            self._collect()
            if self._news:
                # Before anything more begins: so it is known what has not, whatever becomes of this process.
                self._link.report(*self._news)
                self._news.clear()
            self._begin()
        self._family.close()
        self._settings.spool.close()
        if self._stopping and self._link.journal is not None:
            self._link.leave(self._commands)

    def _finished(self) -> bool:
        if self._stopping:
            # What is stuck will never run on: the pool tells what becomes of it.
            return all(command.stuck for command in self._commands.values())
        return self._link.reader == -1 and not self._commands

    # Lines.

    def _receive(self) -> None:
        lines = self._link.read()
        if not lines:
            self._leave()
        for line in lines:
            kind, *words = line.split(b" ", 3)
            if kind == b"S" and not self._stopping:
                self._accept((words[0], words[1]), words[2])
            elif kind == b"C":
                self._cancel(words[0], words[1], float(words[2]))
            elif kind == b"N":
                self._gate.set_places(int(words[0]), int(words[1]))
            elif kind == b"K":
                self._link.kept(int(words[0]))
            elif kind == b"Q":
                self._link.ending()
                self._stop()

    def _leave(self) -> None:
        """The link has ended."""
        self._poll.unregister(self._link.reader)
        journal = self._link.journal
        if journal is None or self._stopping:
            self._link.reader = -1
            self._stop()
            return
        self._gate.clear()
        self._link.leave(self._commands)
        self._listener = journal.listener.fileno()
        self._poll.register(self._listener, select.POLLIN)

    def _rejoin(self) -> None:
        """The next daemon is there."""
        self._poll.unregister(self._listener)
        self._listener = -1
        self._link.rejoin(self._commands)
        self._poll.register(self._link.reader, select.POLLIN)
        for command in self._commands.values():
            if command.stuck:
                self._tell_stuck(command)

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._hand_back_all()
        for command in list(self._commands.values()):
            self._end(command, _STOP_GRACE)

    # Waiting for a place.

    def _accept(self, key: Key, text: bytes) -> None:
        try:
            self._gate.add(key, decode_spec(text))
        except msgspec.MsgspecError as problem:
            self._fail(key, str(problem), NOT_EXECUTABLE, 0.0)

    def _begin(self) -> None:
        """Begin some of those for which there are places."""
        for _ in range(_STARTS):
            if not self._gate.open:
                break
            self._start(self._gate.enter())
        if self._gate.waiting and not self._gate.open and not self._impatient:
            self._impatient = True
            first = self._gate.waiting[0]
            self._timers.later(PATIENCE, lambda: self._lose_patience(first))

    def _lose_patience(self, first: Waiting) -> None:
        """Hand back all that wait if this one still does."""
        self._impatient = False
        if self._gate.waiting and self._gate.waiting[0] is first:
            self._hand_back_all()

    def _hand_back(self, key: Key) -> None:
        self._link.send(b"R %b %b\n" % key)

    def _hand_back_all(self) -> None:
        # The last one first: each goes to the head of its queue.
        for one in reversed(self._gate.clear()):
            self._hand_back(one.key)

    # Starting.

    def _start(self, entering: Waiting) -> None:
        started = time.monotonic()
        job, attempt = key = entering.key
        try:
            launch = Launch(entering.spec, job, attempt, self._settings)
            try:
                pid = self._spawn(launch)
            except BaseException:
                launch.failed()
                raise
        except CannotStart as problem:
            self._gate.leave(key)
            self._fail(key, str(problem), problem.exit_code, time.monotonic() - started)
        except NoRoom as problem:
            self._gate.leave(key)
            for one in (entering, *self._gate.clear()):
                self._link.send(no_room(*one.key, problem))
        else:
            launch.started()
            self._family.began(Command(job, attempt, launch.own, pid, started, started + _LOOK))
            self._look_by(started + _LOOK)

    def _fail(self, key: Key, error: str, exit_code: int, wall: float) -> None:
        self._link.report(done(*key, failed(error, exit_code), wall, Usage(0.0, 0.0, 0)))

    def _spawn(self, launch: Launch) -> int:
        try:
            os.chdir(launch.folder)
        except OSError as problem:
            raise CannotStart(f"cannot change into the folder {launch.folder}: {problem.strerror}") from problem
        try:
            program = find_program(launch.arguments[0], launch.environment.get("PATH", os.defpath))
            null = self._null
            redirections = [
                (os.POSIX_SPAWN_DUP2, null if descriptor == -1 else descriptor, number)
                for number, descriptor in enumerate((launch.stdin, launch.stdout, launch.stderr))
            ]
            try:
                return os.posix_spawn(
                    program,
                    launch.arguments,
                    launch.environment,
                    file_actions=redirections,
                    setsid=True,
                    setsigmask=(),
                    setsigdef=_DEFAULT_SIGNALS,
                )
            except OSError as problem:
                raise cannot_execute(program, problem) from problem
            except ValueError as problem:
                raise CannotStart(f"cannot start: {problem}") from problem
        finally:
            # Not to keep a folder busy that is to be unmounted.
            os.chdir("/")

    # Looking after.

    def _look_after(self) -> None:
        """The moment has come for some of those that run."""
        now = time.monotonic()
        if now < self._next_look:
            return
        due = [command for command in self._commands.values() if command.next_look <= now]
        self._family.look_after(due)
        for command in due:
            self._look_at_output(command, now)
        self._next_look = math.inf
        if self._commands:
            # Not each at its own moment: those of the next while together.
            soonest = min(command.next_look for command in self._commands.values())
            self._look_by(max(soonest, now + _LOOK))

    def _look_by(self, when: float) -> None:
        if when < self._next_look:
            self._next_look = when
            self._timers.later(when - time.monotonic(), self._look_after)

    def _look_at_output(self, command: Command, now: float) -> None:
        """Cut off what is too much. A command that writes nothing is looked at more and more seldom."""
        spool = self._settings.spool
        if not spool.limit:
            command.next_look = math.inf
            return
        size = sum(map(spool.size, command.own))
        command.pause = min(4 * command.pause, _LONGEST_PAUSE) if size == command.written else _LOOK
        # Those that have the same pause are looked at together: all at rest wake this process once.
        command.next_look = (now // command.pause + 1) * command.pause
        command.written = size
        if size > spool.limit:
            for file in command.own:
                command.cut = spool.cut(file) or command.cut

    # Ending.

    def _collect(self) -> None:
        """Wait for every process that has ended, and report the commands that are gone."""
        now = time.monotonic()
        news = False
        while True:
            try:
                pid, status, record = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            news = True
            command = self._family.waited_for(pid)
            if command is not None:
                command.main = False
                command.ended = now
                command.returncode = os.waitstatus_to_exitcode(status)
                command.used = usage(record)
                self._ending.add(command)
        if news and self._ending:
            self._settle()

    def _settle(self) -> None:
        """Report the commands whose tree is gone, begin to end what the others have left."""
        self._family.look()
        for command in list(self._ending):
            if not self._family.remains(command):
                self._report(command)
            elif not command.cancelled:
                command.left = self._family.count(command) or 1
                self._end(command, _LEFT_GRACE)

    def _report(self, command: Command) -> None:
        self._ending.discard(command)
        self._family.over(command)
        for file in command.own:
            command.cut = self._settings.spool.ended(file, reuse=not command.left) or command.cut
        ended = outcome_of(finish_of(command.returncode), command.left, command.cut)
        wall = command.ended - command.started
        self._news.append(done(command.job, command.attempt, ended, wall, command.used))
        self._gate.leave(command.key)

    # Signals.

    def _cancel(self, job: bytes, attempt: bytes, grace: float) -> None:
        command = self._commands.get((job, attempt))
        if command is not None:
            self._end(command, grace)
        elif self._gate.withdraw((job, attempt)):
            self._hand_back((job, attempt))

    def _end(self, command: Command, grace: float) -> None:
        """TERM the whole tree, and KILL it when C{grace} seconds have not been enough."""
        command.cancelled = True
        self._family.look()
        self._family.signal(command, signal.SIGTERM)
        self._timers.later(grace, lambda: self._kill(command))

    def _kill(self, command: Command) -> None:
        if self._commands.get(command.key) is not command:
            return
        now = time.monotonic()
        self._family.look()
        if command.killed is None:
            command.killed = now
            command.left = max(command.left, self._family.count(command))
        self._family.signal(command, signal.SIGKILL)
        if command in self._ending and not self._family.remains(command):
            self._report(command)
            return
        if not command.stuck and now - command.killed > _KILL_PATIENCE:
            command.stuck = True
            self._link.log(f"job {command.job.decode()} cannot be killed: it hangs in the kernel")
            self._tell_stuck(command)
        self._timers.later(_STUCK_PAUSE if command.stuck else _KILL_PAUSE, lambda: self._kill(command))

    def _tell_stuck(self, command: Command) -> None:
        self._link.send(b"T %b %b\n" % command.key)
