"""
The runner where there is POSIX: one thread, asleep until something happens.

What can happen: a line comes in by the link, a process ends (SIGCHLD writes
into a pipe), a moment comes that was noted. Commands are started by
posix_spawn, which beats C{subprocess.Popen} by half its processor time; it cannot change
the folder, but this process can, since it does nothing else meanwhile. All
descriptors of this process are closed on exec, so none needs closing by hand.

A command has ended when its main process has. What that one has left running
is then ended too, and only when all is gone is the finish reported. No pipe is
ever waited for.
"""

from __future__ import annotations

import heapq
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec

from jobd.worker import tree
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
from jobd.worker.link import Link, no_room
from jobd.worker.outcome import UNKNOWN, Usage, done, failed
from jobd.worker.spool import OwnFile

assert sys.platform != "win32"

from jobd.worker.outcome import usage  # noqa: E402

_STARTS = 4
"""How many commands are started before ended ones are collected again."""

_LEFT_GRACE = 1.0
"""Seconds between TERM and KILL for what a command has left running."""

_STOP_GRACE = 5.0
"""The same for everything, when the pool has closed the link."""

_KILL_PAUSE = 0.05
_KILL_PATIENCE = 5.0
"""Seconds after KILL until a process that does not go away (it hangs in the kernel) is given up."""

_DEFAULT_SIGNALS = [
    number
    for number in signal.valid_signals()
    if number not in (signal.SIGKILL, signal.SIGSTOP) and isinstance(number, signal.Signals)
]
"""What this process or the daemon ignores must not be ignored by a command."""


class Command:
    """
    A command that was started.

    @ivar pid: its main process, and its process group and session.
    @ivar main: whether the main process has not been waited for.
    @ivar own: its own output files.
    @ivar orphans: processes it has left, now children of the runner.
    @ivar cancelled: whether it was told to end.
    @ivar killed: the monotonic time of the first KILL.
    """

    __slots__ = (
        "attempt", "cancelled", "ended", "job", "killed", "left", "main", "orphans", "own", "pid", "returncode",
        "started", "used",
    )  # fmt: skip

    def __init__(self, job: bytes, attempt: bytes, own: list[OwnFile], pid: int, started: float) -> None:
        self.job = job
        self.attempt = attempt
        self.own = own
        self.pid = pid
        self.started = started
        self.main = True
        self.orphans: set[int] = set()
        self.cancelled = False
        self.killed: float | None = None
        self.left = 0
        self.ended = 0.0
        self.returncode = 0
        self.used: Usage = UNKNOWN


class Runner:
    """The program's one thread."""

    def __init__(self, link: Link, output: str) -> None:
        self._link = link
        self._settings = Settings(output)
        self._queue: deque[tuple[bytes, bytes, bytes]] = deque()
        self._commands: dict[tuple[bytes, bytes], Command] = {}
        self._mains: dict[int, Command] = {}
        self._orphans: dict[int, Command | None] = {}
        self._ending: set[Command] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._stopping = False
        self._listener = -1
        self._adopts = tree.adopt_orphans()
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
        while self._commands or not (self._stopping or self._link.reader == -1):
            ready = dict(self._poll.poll(self._timeout()))
            if self._wake_reader in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake_reader, 4096)
            if self._link.reader in ready:
                self._receive()
            elif self._listener in ready:
                self._rejoin()
            for _ in range(min(_STARTS, len(self._queue))):
                self._start(*self._queue.popleft())
            self._collect()
            self._run_timers()
        for pid in self._orphans:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._settings.spool.close()

    # Lines.

    def _receive(self) -> None:
        lines = self._link.read()
        if not lines:
            self._leave()
        for line in lines:
            kind, *words = line.split(b" ", 3)
            if kind == b"S" and not self._stopping:
                self._queue.append((words[0], words[1], words[2]))
            elif kind == b"C":
                self._cancel(words[0], words[1], float(words[2]))
            elif kind == b"K":
                self._link.kept(int(words[0]))
            elif kind == b"Q":
                self._stop()

    def _leave(self) -> None:
        """The link has ended."""
        self._poll.unregister(self._link.reader)
        journal = self._link.journal
        if journal is None or self._stopping:
            self._link.reader = -1
            self._stop()
            return
        self._queue.clear()
        self._link.leave(self._commands)
        self._listener = journal.listener.fileno()
        self._poll.register(self._listener, select.POLLIN)

    def _rejoin(self) -> None:
        """The next daemon is there."""
        self._poll.unregister(self._listener)
        self._listener = -1
        self._link.rejoin(self._commands)
        self._poll.register(self._link.reader, select.POLLIN)

    def _hand_back(self, job: bytes, attempt: bytes) -> None:
        self._link.send(b"R %b %b\n" % (job, attempt))

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._queue.clear()
        for command in list(self._commands.values()):
            self._end(command, _STOP_GRACE)

    # Starting.

    def _start(self, job: bytes, attempt: bytes, text: bytes) -> None:
        started = time.monotonic()
        try:
            launch = Launch(decode_spec(text), job, attempt, self._settings)
            try:
                pid = self._spawn(launch)
            except BaseException:
                launch.failed()
                raise
        except (CannotStart, msgspec.MsgspecError) as problem:
            exit_code = problem.exit_code if isinstance(problem, CannotStart) else NOT_EXECUTABLE
            wall = time.monotonic() - started
            self._link.report(done(job, attempt, failed(str(problem), exit_code), wall, Usage(0.0, 0.0, 0)))
        except NoRoom as problem:
            self._link.send(no_room(job, attempt, problem))
        else:
            launch.started()
            command = Command(job, attempt, launch.own, pid, started)
            self._commands[job, attempt] = self._mains[pid] = command

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
            command = self._mains.pop(pid, None)
            if command is not None:
                command.main = False
                command.ended = now
                command.returncode = os.waitstatus_to_exitcode(status)
                command.used = usage(record)
                self._ending.add(command)
                continue
            owner = self._orphans.pop(pid, None)
            if owner is not None:
                owner.orphans.discard(pid)
        if news and self._ending:
            self._settle()

    def _settle(self) -> None:
        """Report the commands whose tree is gone, begin to end what the others have left."""
        self._adopt()
        for command in list(self._ending):
            if not self._remains(command):
                self._report(command)
            elif not command.cancelled:
                command.left = len(self._processes(command)) or 1
                self._end(command, _LEFT_GRACE)

    def _remains(self, command: Command) -> bool:
        if self._adopts:
            return bool(command.orphans)
        return not command.main and _group_exists(command.pid)

    def _adopt(self) -> None:
        """Find out whose the processes are that have become children of this one."""
        if not self._adopts:
            return
        for pid in tree.own_children():
            if pid in self._mains or pid in self._orphans:
                continue
            process = tree.look_at(pid)
            if process is None or process.state == "Z":
                continue
            command = self._owner(process)
            self._orphans[pid] = command
            if command is not None:
                command.orphans.add(pid)

    def _owner(self, process: tree.Process) -> Command | None:
        for command in (*self._ending, *self._mains.values()):
            if command.pid in (process.session, process.group):
                return command
        named = tree.job_of(process.pid)
        return None if named is None else self._commands.get(named)

    def _report(self, command: Command, error: str | None = None) -> None:
        self._ending.discard(command)
        del self._commands[command.job, command.attempt]
        for file in command.own:
            self._settings.spool.ended(file, reuse=not command.left)
        ended = outcome_of(finish_of(command.returncode), command.left, error)
        wall = command.ended - command.started
        self._link.report(done(command.job, command.attempt, ended, wall, command.used))

    # Signals.

    def _cancel(self, job: bytes, attempt: bytes, grace: float) -> None:
        command = self._commands.get((job, attempt))
        if command is not None:
            self._end(command, grace)
            return
        for waiting in self._queue:
            if waiting[:2] == (job, attempt):
                self._queue.remove(waiting)
                self._hand_back(job, attempt)
                return

    def _end(self, command: Command, grace: float) -> None:
        """TERM the whole tree, and KILL it when C{grace} seconds have not been enough."""
        command.cancelled = True
        self._adopt()
        self._signal(command, signal.SIGTERM)
        self._later(grace, lambda: self._kill(command))

    def _kill(self, command: Command) -> None:
        if self._commands.get((command.job, command.attempt)) is not command:
            return
        now = time.monotonic()
        self._adopt()
        if command.killed is None:
            command.killed = now
            command.left = max(command.left, len(self._processes(command)))
        elif now - command.killed > _KILL_PATIENCE:
            self._give_up(command)
            return
        self._signal(command, signal.SIGKILL)
        if command in self._ending and not self._remains(command):
            self._report(command)
        else:
            self._later(_KILL_PAUSE, lambda: self._kill(command))

    def _give_up(self, command: Command) -> None:
        if command.main:
            command.ended = time.monotonic()
            command.returncode = -signal.SIGKILL
            self._mains.pop(command.pid)
        count = len(self._processes(command))
        for pid in command.orphans:
            self._orphans[pid] = None
        self._report(command, f"{count} of its processes did not end after KILL")

    def _processes(self, command: Command) -> list[tree.Process]:
        """The living processes of the command, but for the main one."""
        if not self._adopts:
            return []
        found = [process for pid in command.orphans if (process := tree.look_at(pid)) and process.state != "Z"]
        for root in (*command.orphans, *((command.pid,) if command.main else ())):
            found += tree.descendants(root)
        return found

    def _signal(self, command: Command, number: signal.Signals) -> None:
        others = self._processes(command)
        if command.main or not self._adopts:
            # As long as the main process was not waited for, or another one is in its
            # group, the number stands for this group and no other.
            with suppress(OSError):
                os.killpg(command.pid, number)
        for process in others:
            if not (command.main and process.group == command.pid):
                tree.send(process, number)

    # Time.

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay, self._timer_count, action))

    def _timeout(self) -> float | None:
        """Milliseconds until something is to be done; C{None}: nothing is."""
        if self._queue:
            return 0
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic()) * 1000 + 1

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
