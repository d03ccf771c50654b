"""
The io worker: many calls at once in one process, for those that mostly wait.

Plain functions run in threads, C{async def} functions as tasks of one event
loop. A task must not block: it would hold up all others. A thread cannot be
ended from outside.

Which of the two a job is becomes known when its callable has been found, and
that may import a module: jobs of a name that is not known yet wait for a
thread that does nothing else, those of known names go on meanwhile.

All share one process: its folder and environment are those of no job in
particular (a job's C{cwd} only says where its callable is looked for first), and only what is
written through C{sys.stdout} and C{sys.stderr} finds its way to the job's own
output. What goes to the descriptors 1 and 2 themselves ends in the daemon's log.
"""

from __future__ import annotations

import contextvars
import os
import select
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Lock, Thread
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import msgspec

from jobd.worker import current, startup
from jobd.worker.current import Report
from jobd.worker.link import Link, no_room
from jobd.worker.modules import Modules
from jobd.worker.outcome import Ended, Usage, done, failed, members, process_usage, thread_time
from jobd.worker.proxy import JobOutput, redirect
from jobd.worker.results import CallSpec, decode_spec, raised, returned, unpickle
from jobd.worker.startup import begun

if TYPE_CHECKING:
    import asyncio

_STOP = 5.0
"""Seconds for jobs to come to their end when the pool has closed the link."""

_FRESH = 1.0
"""Seconds for which a callable that was found is taken as unchanged."""

_CO_COROUTINE = 0x80

Key = tuple[bytes, bytes]
Name = tuple[str, str]


class IoJob:
    """
    A job on its way.

    @ivar function: its callable, with its arguments.
    @ivar future: it waits for a thread, or has one.
    @ivar task: it runs in the event loop.
    @ivar cancelled: it was told to end.
    @ivar taken: a thread has it, or it was handed back since there is none.
    """

    __slots__ = ("attempt", "cancelled", "function", "future", "job", "output", "spec", "started", "taken", "task")

    def __init__(self, job: bytes, attempt: bytes, spec: CallSpec, folder: str, limit: int) -> None:
        self.job = job
        self.attempt = attempt
        self.spec = spec
        self.output = JobOutput(folder, int(job), int(attempt), limit)
        self.started = time.monotonic()
        self.function: Callable[[], Any] | None = None
        self.future: Future[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False
        self.taken = False


_running: contextvars.ContextVar[IoJob | None] = contextvars.ContextVar("jobd_io_job", default=None)


def _output_here() -> JobOutput | None:
    job = _running.get()
    return None if job is None else job.output


class IoWorker:
    """The program; its main thread reads the link."""

    def __init__(self, link: Link, output: str, threads: int, limit: int = 0) -> None:
        self._link = link
        self._folder = output
        self._limit = limit
        self._home = startup.home()
        self._threads = ThreadPoolExecutor(threads, "call")
        self._modules = Modules()
        self._finding = Lock()
        self._known: dict[Name, tuple[Callable[..., Any], float]] = {}
        self._unknown: dict[Name, list[IoJob]] = {}
        self._changed = Condition()
        self._jobs: dict[Key, IoJob] = {}
        self._unreported = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken, self._waker = os.pipe()

    def run(self) -> None:
        """Work until the link has ended, and what ran then."""
        redirect(_output_here)
        current.register(self._report)
        self._link.send(b"H %d\n" % os.getpid())
        while not self._read() and self._link.journal is not None:
            self._leave()
            if not self._rejoined():
                return
        for key in list(self._jobs):
            self._cancel(key)
        with self._changed:
            self._changed.wait_for(lambda: not self._unreported, _STOP)
        if self._link.journal is not None:
            self._link.leave(())

    def _read(self) -> bool:
        """Do as the link says, until it ends. True: everything is to be ended."""
        while lines := self._link.read():
            for line in lines:
                kind, *words = line.split(b" ", 3)
                if kind == b"S":
                    self._start(words[0], words[1], words[2])
                elif kind == b"C":
                    self._cancel((words[0], words[1]))
                elif kind == b"K":
                    self._link.kept(int(words[0]))
                elif kind == b"Q":
                    self._link.ending()
                    return True
        return False

    def _leave(self) -> None:
        """The link has ended: drop what still waits for a thread, and take all else as begun."""
        waiting = {key for key, job in list(self._jobs.items()) if job.future is not None and job.future.cancel()}
        _silence()
        self._link.leave(set(self._jobs) - waiting)
        with self._changed:
            for key in waiting:
                del self._jobs[key]
                self._unreported -= 1

    def _rejoined(self) -> bool:
        """Wait for the next daemon. False: all has ended, and none has come."""
        if sys.platform == "win32" or self._link.journal is None:
            return False
        listener = self._link.journal.listener
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while self._unreported:
            ready = dict(poll.poll())
            if listener.fileno() in ready:
                self._link.rejoin(list(self._jobs))
                return True
            os.read(self._woken, 4096)
        return False

    # Starting.

    def _start(self, job: bytes, attempt: bytes, text: bytes) -> None:
        try:
            new = IoJob(job, attempt, decode_spec(text), self._folder, self._limit)
        except msgspec.MsgspecError as problem:
            unread = IoJob(job, attempt, CallSpec(), self._folder, self._limit)
            self._accept(unread)
            self._end(unread, failed(f"the job cannot be read: {problem}"), None)
            return
        self._accept(new)
        if new.spec.pickle is not None:
            new.function = lambda: self._unpickled(new.spec)()
            self._run_in_thread(new)
            return
        name = (new.spec.cwd or self._home, new.spec.call)
        function, found = self._known.get(name, (None, 0.0))
        if function is not None and new.started - found < _FRESH:
            self._begin(new, function)
            return
        with self._changed:
            waiting = self._unknown.setdefault(name, [])
            waiting.append(new)
        if len(waiting) == 1:
            try:
                Thread(target=self._find, args=(name,), daemon=True).start()
            except RuntimeError as problem:
                with self._changed:
                    waiting = self._unknown.pop(name)
                for one in waiting:
                    self._hand_back(one, problem)

    def _accept(self, job: IoJob) -> None:
        with self._changed:
            self._jobs[job.job, job.attempt] = job
            self._unreported += 1

    def _find(self, name: Name) -> None:
        """Find a callable and begin the jobs that wait for it."""
        folder, call = name
        problem: BaseException | None = None
        try:
            with self._finding:
                self._modules.enter(folder, time.monotonic())
                function = self._modules.find(call)
            self._known[name] = function, time.monotonic()
        except BaseException as trouble:
            problem = trouble
        with self._changed:
            waiting = self._unknown.pop(name)
        for job in waiting:
            if problem is not None:
                self._end(job, raised(problem, False), None)
            else:
                self._begin(job, function)

    def _unpickled(self, spec: CallSpec) -> Callable[[], Any]:
        with self._finding:
            self._modules.enter(spec.cwd or self._home, time.monotonic())
            return unpickle(spec)

    def _begin(self, job: IoJob, function: Callable[..., Any]) -> None:
        if job.cancelled:
            self._hand_back(job)
            return
        job.function = lambda: function(*job.spec.args, **job.spec.kwargs)
        if _is_coroutine_function(function):
            self._run_in_loop(job, job.function)
        else:
            self._run_in_thread(job)

    # Threads.

    def _run_in_thread(self, job: IoJob) -> None:
        try:
            job.future = self._threads.submit(self._perform, job)
        except RuntimeError as problem:
            # It waits for a thread all the same, and one of those there are may have taken it.
            if self._take(job):
                self._hand_back(job, problem)

    def _take(self, job: IoJob) -> bool:
        """Whether nobody has it yet."""
        with self._changed:
            taken, job.taken = job.taken, True
        return not taken

    def _perform(self, job: IoJob) -> None:
        if not self._take(job):
            return
        token = _running.set(job)
        before = thread_time()
        job.started = time.monotonic()
        pickled = job.spec.pickle is not None
        try:
            assert job.function is not None
            value = job.function()
            if isinstance(value, CoroutineType):
                # Not to be seen from outside that this is one: a decorated or a callable object.
                self._run_in_loop(job, lambda: value)
                return
            ended = returned(value, pickled)
        except BaseException as problem:
            ended = raised(problem, pickled)
        finally:
            _running.reset(token)
        after = thread_time()
        used = None if before is None or after is None else (after[0] - before[0], after[1] - before[1])
        self._end(job, ended, used)

    # The event loop.

    def _run_in_loop(self, job: IoJob, function: Callable[[], Any]) -> None:
        try:
            loop = self._event_loop()
        except (RuntimeError, OSError) as problem:
            self._hand_back(job, problem)
            return
        loop.call_soon_threadsafe(self._create_task, job, function)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        """Made when it is first needed: many daemons never see a coroutine."""
        with self._changed:
            if self._loop is None:
                import asyncio

                loop = asyncio.new_event_loop()
                try:
                    Thread(target=loop.run_forever, name="event loop", daemon=True).start()
                except RuntimeError:
                    loop.close()
                    raise
                self._loop = loop
            return self._loop

    def _create_task(self, job: IoJob, function: Callable[[], Any]) -> None:
        if job.cancelled:
            self._end(job, Ended(b"cancelled", 1), None)
            return
        assert self._loop is not None
        context = contextvars.copy_context()
        context.run(_running.set, job)
        job.task = context.run(self._loop.create_task, self._attend(job, function))

    async def _attend(self, job: IoJob, function: Callable[[], Any]) -> None:
        pickled = job.spec.pickle is not None
        try:
            ended = returned(await function(), pickled)
        except BaseException as problem:
            ended = Ended(b"cancelled", 1) if job.cancelled else raised(problem, pickled)
        self._end(job, ended, None)

    # Ending.

    def _cancel(self, key: Key) -> None:
        job = self._jobs.get(key)
        if job is None:
            return
        job.cancelled = True
        if job.future is not None and job.future.cancel():
            self._hand_back(job)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(_cancel_task, job)

    def _hand_back(self, job: IoJob, problem: Exception | None = None) -> None:
        """It was not begun: as it is no longer wanted, or the system has no room for a thread."""
        line = b"R %b %b\n" % (job.job, job.attempt) if problem is None else no_room(job.job, job.attempt, problem)
        self._forget(job, self._link.send, line)

    def _end(self, job: IoJob, ended: Ended, used: tuple[float, float] | None) -> None:
        wall = time.monotonic() - job.started
        user, system = used or (-1.0, -1.0)
        if job.output.close():
            ended = ended._replace(extra=ended.extra + members(cut=True))
        whole = Usage(user, system, process_usage()[2])
        self._forget(job, self._link.report, done(job.job, job.attempt, ended, wall, whole))

    def _forget(self, job: IoJob, say: Callable[[bytes], None], line: bytes) -> None:
        with self._changed:
            # Before the line is sent: what is handed back may come again at once.
            del self._jobs[job.job, job.attempt]
        say(line)
        with self._changed:
            self._unreported -= 1
            self._changed.notify_all()
            if self._link.reader == -1:
                os.write(self._waker, b".")

    def _report(self, report: Report) -> None:
        job = _running.get()
        if job is not None:
            self._link.send(b"P %b %b %b\n" % (job.job, job.attempt, msgspec.json.encode(report)))


def _silence() -> None:
    """What is written to the descriptors themselves went to the daemon's log; there is none now."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def _cancel_task(job: IoJob) -> None:
    if job.task is not None:
        job.task.cancel()


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)


def main() -> None:
    """The program."""
    with begun(sys.argv[1:]) as (options, link, _):
        IoWorker(link, options.output, options.threads, options.limit).run()
    # Threads that are still at it would hold up an ordinary end for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
