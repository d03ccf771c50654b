"""
From the fields of a job to what the system needs to start a program.

Everything here is the same on all platforms; nothing here starts a process.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import NamedTuple

import msgspec

from jobd.worker.outcome import Ended, members
from jobd.worker.output import Stream
from jobd.worker.spool import KEEP, OwnFile, Spool
from jobd.worker.startup import home

NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""Exit codes, as a shell has them."""

_BINARY = getattr(os, "O_BINARY", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_TEMPORARY = _BINARY | getattr(os, "O_TEMPORARY", 0) | os.O_RDWR | os.O_CREAT | os.O_EXCL
_NO_RESOURCES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class CannotStart(Exception):
    """
    The command cannot be started, and another try would not help.

    @ivar exit_code: what a shell would exit with.
    """

    def __init__(self, text: str, exit_code: int = NOT_EXECUTABLE) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class NoRoom(Exception):
    """The system has no room for one more process or descriptor just now."""


class CommandSpec(msgspec.Struct):
    """The fields of a job that matter to the runner."""

    argv: list[str] | None = None
    shell: str | None = None
    cwd: str | None = None
    env: dict[str, str | None] = {}
    stdin: str | dict[str, str] | None = None
    stdout: str | msgspec.UnsetType | None = msgspec.UNSET
    stderr: str | msgspec.UnsetType | None = msgspec.UNSET
    cpus: int = 1


decode_spec = msgspec.json.Decoder(CommandSpec).decode


class Settings:
    """What is the same for all commands of a runner: read once, when it starts."""

    def __init__(self, output: str, keep: int = KEEP, limit: int = 0) -> None:
        self.output = output
        self.spool = Spool(output, keep, limit)
        self.home = home()
        self.environment = dict(os.environ)


class Launch:
    """
    All that is needed to start one command. Whoever made it calls L{started}
    once the command runs, or L{failed} if it will not.

    @ivar arguments: the program as it was named, and its arguments.
    @ivar stdin, stdout, stderr: descriptors; -1 stands for the null device.
    @ivar own: its own output files; they go back to the spool when it has ended.
    """

    __slots__ = ("_opened", "_spool", "arguments", "environment", "folder", "own", "stderr", "stdin", "stdout")

    def __init__(self, spec: CommandSpec, job: bytes, attempt: bytes, settings: Settings) -> None:
        self.arguments = _arguments(spec)
        self.folder = settings.home if spec.cwd is None else spec.cwd
        self.environment = _environment(spec.env, job, attempt, settings)
        self.own: list[OwnFile] = []
        self._opened: list[int] = []
        self._spool = settings.spool
        self.stdin = self.stdout = self.stderr = -1
        try:
            self._open(spec, int(job), int(attempt), settings.output)
        except BaseException:
            self.failed()
            raise

    def _open(self, spec: CommandSpec, job: int, attempt: int, output: str) -> None:
        if spec.stdin is not None:
            self.stdin = self._keep(self._open_stdin(spec.stdin, output, job))
        self.stdout = self._open_stream(spec.stdout, "out", job, attempt)
        if spec.stderr == "&1" or (isinstance(spec.stderr, str) and spec.stderr == spec.stdout):
            self.stderr = self.stdout
        else:
            self.stderr = self._open_stream(spec.stderr, "err", job, attempt)

    def _keep(self, descriptor: int) -> int:
        self._opened.append(descriptor)
        return descriptor

    def _open_stdin(self, stdin: str | dict[str, str], output: str, job: int) -> int:
        if isinstance(stdin, dict):
            return self._open_file(stdin["file"], os.O_RDONLY, "stdin")
        path = f"{output}{os.sep}.{os.getpid()}.{job}.in"
        try:
            descriptor = os.open(path, _TEMPORARY, 0o600)
        except OSError as problem:
            raise trouble(problem, "the text for stdin cannot be kept") from problem
        try:
            if sys.platform != "win32":
                os.unlink(path)
            data = stdin.encode("utf-8", "surrogatepass")
            while data:
                data = data[os.write(descriptor, data) :]
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError as problem:
            os.close(descriptor)
            raise trouble(problem, "the text for stdin cannot be kept") from problem
        return descriptor

    def _open_stream(self, where: str | msgspec.UnsetType | None, stream: Stream, job: int, attempt: int) -> int:
        if where is None:
            return -1
        if isinstance(where, str):
            return self._keep(self._open_file(where, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, f"std{stream}"))
        try:
            file = self._spool.make(job, attempt, stream)
        except OSError as problem:
            raise trouble(problem, f"the file for its std{stream} cannot be made") from problem
        self.own.append(file)
        return file.descriptor

    def _open_file(self, path: str, flags: int, what: str) -> int:
        path = os.path.join(self.folder, path)
        if not os.path.isdir(self.folder):
            raise no_folder(self.folder)
        try:
            # A named pipe that nobody has opened must not hold up the runner.
            descriptor = os.open(path, flags | _NONBLOCK | _BINARY, 0o666)
        except OSError as problem:
            raise trouble(problem, f"{what}: cannot open {path}") from problem
        if sys.platform != "win32":
            os.set_blocking(descriptor, True)
        return descriptor

    def started(self) -> None:
        """The command runs, with copies of the descriptors."""
        self._close()
        for file in self.own:
            self._spool.started(file)

    def failed(self) -> None:
        """The command could not be started."""
        self._close()
        for file in self.own:
            self._spool.ended(file, reuse=True)

    def _close(self) -> None:
        while self._opened:
            os.close(self._opened.pop())


def _arguments(spec: CommandSpec) -> list[str]:
    if spec.argv is not None:
        if not spec.argv or not spec.argv[0]:
            raise CannotStart("there is no program: argv is empty", NOT_FOUND)
        return spec.argv
    line = spec.shell or ""
    return ["cmd", "/c", line] if sys.platform == "win32" else ["/bin/sh", "-c", line]


def _environment(changes: dict[str, str | None], job: bytes, attempt: bytes, settings: Settings) -> dict[str, str]:
    environment = settings.environment.copy()
    for name, value in changes.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    environment["JOBD_JOB_ID"] = job.decode()
    environment["JOBD_ATTEMPT"] = attempt.decode()
    return environment


def no_folder(folder: str) -> CannotStart:
    """The error for a C{cwd} that is not there."""
    return CannotStart(f"cannot change into the folder {folder}: there is no such folder")


def trouble(problem: OSError, what: str) -> CannotStart | NoRoom:
    """The error that C{problem} means for a command that was to be started."""
    if problem.errno in _NO_RESOURCES:
        return NoRoom(f"{what}: {problem.strerror}")
    return CannotStart(f"{what}: {problem.strerror}")


def find_program(name: str, path: str) -> str:
    """
    The program C{name} stands for with this C{PATH}. A relative result is
    relative to the current folder. Raises L{CannotStart}.
    """
    if os.sep in name:
        return name
    candidates = [f"{folder or '.'}{os.sep}{name}" for folder in path.split(os.pathsep)]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    for candidate in candidates:
        if os.path.isfile(candidate):
            raise CannotStart(f"{name}: {candidate} is not executable")
    raise CannotStart(f"{name}: command not found", NOT_FOUND)


def cannot_execute(program: str, problem: OSError) -> CannotStart | NoRoom:
    """The error that C{problem} means that came when C{program} was executed."""
    if problem.errno in _NO_RESOURCES:
        return NoRoom(f"cannot start a process: {problem.strerror}")
    if problem.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.exists(program):
            return CannotStart(f"{program}: the interpreter it names in its first line does not exist")
        return CannotStart(f"{program}: no such program", NOT_FOUND)
    if os.path.isdir(program):
        return CannotStart(f"{program}: is a folder")
    return CannotStart(f"{program}: {problem.strerror}")


class Finish(NamedTuple):
    """What is known of a command that has ended."""

    exit_code: int
    signal: str | None = None


def finish_of(code: int) -> Finish:
    """From a return code as C{subprocess} has it: negative for a signal."""
    if code >= 0:
        return Finish(code)
    try:
        return Finish(128 - code, signal.Signals(-code).name)
    except ValueError:
        return Finish(128 - code, f"SIGRTMIN+{-code - 34}" if -code > 34 else str(-code))


def outcome_of(finish: Finish, left: int = 0, cut: bool = False) -> Ended:
    """
    How the attempt ended.

    @param left: how many processes had to be ended after it.
    @param cut: it wrote more than is kept.
    """
    state = b"failed" if finish.exit_code else b"succeeded"
    if not (finish.signal or left or cut):
        return Ended(state, finish.exit_code)
    return Ended(state, finish.exit_code, members(signal=finish.signal, left=left or None, cut=cut or None))
