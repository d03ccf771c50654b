"""
The runner where there is no POSIX: a thread for each command.

What is weaker than in L{jobd.worker.posix}: only the process group of a command
(on Windows what C{taskkill /T} finds) is ended with it, and on Windows neither
the processor time nor the memory of a command is known.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from threading import Condition, Lock, Thread, Timer

import msgspec

from jobd.worker.command import (
    NOT_EXECUTABLE,
    CannotStart,
    CommandSpec,
    Launch,
    NoRoom,
    Settings,
    cannot_execute,
    decode_spec,
    find_program,
    finish_of,
    no_folder,
    outcome_of,
)
from jobd.worker.gate import PATIENCE, Gate, Waiting
from jobd.worker.link import Key, Link, no_room
from jobd.worker.outcome import UNKNOWN, Usage, done, failed

_STOP_GRACE = 5.0
"""Seconds between TERM and KILL for everything, when the pool has closed the link."""

_REST, _REST_PAUSE = 5.0, 0.005
"""Seconds for what was killed to be gone, and between two looks."""

Process = subprocess.Popen[bytes]

if sys.platform == "win32":

    def spawn(program: str, launch: Launch) -> Process:
        """Start a command in a group of its own. Raises L{OSError}."""
        arguments = launch.arguments
        if arguments[:2] == ["cmd", "/c"]:
            # cmd has quoting rules of its own: the line goes to it as it is.
            return _popen(f"cmd /c {arguments[2]}", None, launch)
        return _popen(arguments, program, launch)

    def _popen(arguments: str | list[str], program: str | None, launch: Launch) -> Process:
        return subprocess.Popen(
            arguments,
            executable=program,
            cwd=launch.folder,
            env=launch.environment,
            stdin=_or_null(launch.stdin),
            stdout=_or_null(launch.stdout),
            stderr=_or_null(launch.stderr),
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )

    def wait(process: Process) -> tuple[int, Usage]:
        """The return code of a command, once it has ended."""
        return process.wait(), UNKNOWN

    def end(process: Process, kill: bool) -> None:
        """Ask a command to end, or end it with what it has started."""
        if kill:
            subprocess.run(["taskkill", "/PID", str(process.pid), "/T", "/F"], capture_output=True, check=False)
        else:
            process.send_signal(signal.CTRL_BREAK_EVENT)

    def end_rest(process: Process) -> int:
        """How many processes a command has left behind, which were ended; not known here."""
        return 0

    def await_end(process: Process) -> bool:
        """Wait for a command's end. Whether its number is still its own: then what it has left can be ended by it."""
        process.wait()
        return False

else:
    from jobd.worker.outcome import usage

    def spawn(program: str, launch: Launch) -> Process:
        """Start a command in a session of its own. Raises L{OSError}."""
        return subprocess.Popen(
            launch.arguments,
            executable=program,
            cwd=launch.folder,
            env=launch.environment,
            stdin=_or_null(launch.stdin),
            stdout=_or_null(launch.stdout),
            stderr=_or_null(launch.stderr),
            start_new_session=True,
        )

    def wait(process: Process) -> tuple[int, Usage]:
        """The return code of a command and what it has used, once it has ended."""
        _, status, record = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, usage(record)

    def await_end(process: Process) -> bool:
        """Wait for a command's end. Whether its number is still its own: then what it has left can be ended by it."""
        if sys.platform == "darwin":
            return False
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return True

    def end(process: Process, kill: bool) -> None:
        """Signal the process group of a command that was not waited for: its number is no other's."""
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)

    def end_rest(process: Process) -> int:
        """Wait until nothing is left in the group of a command that has ended, which was killed. Whether there was."""
        if sys.platform == "darwin":
            # The number was free for a moment only, and all others are given out before it.
            end(process, kill=True)
        left = 0
        until = time.monotonic() + _REST
        while _group_exists(process.pid) and time.monotonic() < until:
            left = 1
            time.sleep(_REST_PAUSE)
        return left

    def _group_exists(group: int) -> bool:
        try:
            os.killpg(group, 0)
        except OSError:
            return False
        return True


def _or_null(descriptor: int) -> int:
    return subprocess.DEVNULL if descriptor == -1 else descriptor


class ThreadedRunner:
    """Reads the link in its main thread; every command has a thread that waits for it."""

    def __init__(self, link: Link, output: str, limit: int = 0) -> None:
        self._link = link
        # Windows cannot rename an open file: none is kept open for another command.
        self._settings = Settings(output, keep=0, limit=limit)
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._gate = Gate()
        self._impatient = False
        self._processes: dict[Key, Process | None] = {}
        self._unreported = 0

    def run(self) -> None:
        """Work until the pool closes the link and every command has ended."""
        self._link.send(b"H %d\n" % os.getpid())
        while lines := self._link.read():
            for line in lines:
                kind, *words = line.split(b" ", 3)
                if kind == b"S":
                    self._accept((words[0], words[1]), words[2])
                elif kind == b"N":
                    with self._lock:
                        self._gate.set_places(int(words[0]), int(words[1]))
                elif kind == b"C":
                    self._cancel((words[0], words[1]), float(words[2]))
            self._begin()
        self._hand_back_all()
        for key in list(self._processes):
            self._cancel(key, _STOP_GRACE)
        with self._lock:
            self._changed.wait_for(lambda: not self._unreported)

    # Waiting for a place.

    def _accept(self, key: Key, text: bytes) -> None:
        try:
            spec = decode_spec(text)
        except msgspec.MsgspecError as problem:
            self._link.send(done(*key, failed(str(problem), NOT_EXECUTABLE), 0.0, Usage(0.0, 0.0, 0)))
            return
        with self._lock:
            self._gate.add(key, spec)

    def _begin(self) -> None:
        """Begin all for which there are places."""
        with self._lock:
            entering = []
            while self._gate.open:
                entering.append(self._gate.enter())
                self._processes[entering[-1].key] = None
                self._unreported += 1
            if self._gate.waiting and not self._impatient:
                self._impatient = True
                timer = Timer(PATIENCE, self._lose_patience, (self._gate.waiting[0],))
                timer.daemon = True
                timer.start()
        for one in entering:
            try:
                Thread(target=self._attend, args=(*one.key, one.spec), daemon=True).start()
            except RuntimeError as problem:
                self._crowded_out(one.key, problem)

    def _lose_patience(self, first: Waiting) -> None:
        """Hand back all that wait if this one still does."""
        with self._lock:
            self._impatient = False
            over = bool(self._gate.waiting) and self._gate.waiting[0] is first
        if over:
            self._hand_back_all()

    def _hand_back_all(self) -> None:
        with self._lock:
            back = self._gate.clear()
        # The last one first: each goes to the head of its queue.
        for one in reversed(back):
            self._link.send(b"R %b %b\n" % one.key)

    # Running.

    def _attend(self, job: bytes, attempt: bytes, spec: CommandSpec) -> None:
        """One command from its start to its report."""
        started = time.monotonic()
        try:
            report = self._perform(job, attempt, spec, started)
        except CannotStart as problem:
            ended = failed(str(problem), problem.exit_code)
            report = done(job, attempt, ended, time.monotonic() - started, Usage(0.0, 0.0, 0))
        except NoRoom as problem:
            self._crowded_out((job, attempt), problem)
            return
        self._report((job, attempt), report)

    def _crowded_out(self, key: Key, problem: Exception) -> None:
        """The system has no room for this one, nor for those behind it."""
        with self._lock:
            behind = self._gate.clear()
        self._report(key, *(no_room(*one, problem) for one in (key, *(waiting.key for waiting in behind))))

    def _report(self, key: Key, *lines: bytes) -> None:
        with self._lock:
            # Before the line is sent: what is handed back may come again at once.
            del self._processes[key]
        self._link.send(b"".join(lines))
        with self._lock:
            # After that: it is told before the next one begins.
            self._gate.leave(key)
            self._unreported -= 1
            self._changed.notify_all()
        self._begin()

    def _perform(self, job: bytes, attempt: bytes, spec: CommandSpec, started: float) -> bytes:
        with self._lock:
            launch = Launch(spec, job, attempt, self._settings)
        try:
            process = self._spawn(launch)
        except BaseException:
            with self._lock:
                launch.failed()
            raise
        with self._lock:
            launch.started()
            self._processes[job, attempt] = process
            self._changed.notify_all()
        own = await_end(process)
        with self._lock:
            if own:
                end(process, kill=True)
            # From here on its number may be that of another process.
            self._processes[job, attempt] = None
            self._changed.notify_all()
        code, used = wait(process)
        wall = time.monotonic() - started
        left = end_rest(process)
        with self._lock:
            # A list: each has to.
            cut = any([self._settings.spool.ended(file, reuse=False) for file in launch.own])
        return done(job, attempt, outcome_of(finish_of(code), left, cut), wall, used)

    def _spawn(self, launch: Launch) -> Process:
        if not os.path.isdir(launch.folder):
            raise no_folder(launch.folder)
        program = launch.arguments[0]
        if sys.platform != "win32":
            program = find_program(program, launch.environment.get("PATH", os.defpath))
        try:
            return spawn(program, launch)
        except ValueError as problem:
            raise CannotStart(f"cannot start: {problem}") from problem
        except OSError as problem:
            raise cannot_execute(os.path.join(launch.folder, program), problem) from problem

    def _cancel(self, key: Key, grace: float) -> None:
        with self._lock:
            withdrawn = self._gate.withdraw(key)
        if withdrawn:
            self._link.send(b"R %b %b\n" % key)
            return
        Thread(target=self._end, args=(key, grace), daemon=True).start()

    def _end(self, key: Key, grace: float) -> None:
        """Ask a command to end, and end it when C{grace} seconds have not been enough."""
        deadline = time.monotonic() + grace
        with self._lock:
            self._changed.wait_for(lambda: self._processes.get(key, ()) is not None, 1.0)
            process = self._processes.get(key)
            if process is None:
                return
            end(process, kill=False)
            self._changed.wait_for(lambda: self._processes.get(key) is not process, deadline - time.monotonic())
            if self._processes.get(key) is process:
                end(process, kill=True)
