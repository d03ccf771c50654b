"""
The call worker's second thread: looks after the link while a call takes long.

While calls are short it does next to nothing: it wakes a hundred times a
second, sends what reports wait, sees that the main thread is getting on, and after a while without any
job sleeps until there is one. When a call has run for more than a hundredth of
a second it takes over the reading of the link until that call has ended: jobs
that come or have come meanwhile are handed back at once, and a C{C} ends the call.
When the link ends the call goes on, and the next daemon may take the link up again.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from threading import Lock, Thread
from typing import TYPE_CHECKING

from jobd.worker.link import Key

if TYPE_CHECKING:
    from jobd.worker.call import CallWorker

_LONG = 0.01
"""Seconds after which a call must not have others behind it."""

_IDLE_TURNS = 10
"""After so many turns without a job the thread sleeps until there is one."""

_LOOK = 500
"""Milliseconds between two looks at how much a long call has written."""

_GRACE = 5.0
"""Seconds between TERM and KILL when the link has ended."""


class Watchdog:
    """Shares the link with the main thread: whoever holds C{_reading} reads."""

    def __init__(self, worker: CallWorker) -> None:
        self._worker = worker
        self._link = worker.link
        self._reading = Lock()
        self._asleep = Lock()
        self._asleep.acquire()
        self._sleeps = False
        self._took_over = False
        self._rejoined = False
        self._wake_reader, self._wake_writer = os.pipe()
        Thread(target=self._run, name="watchdog", daemon=True).start()

    # The main thread's side.

    def fill(self) -> bool:
        """Read jobs into C{worker.waiting}; waits for one. False at the end of the link."""
        with self._reading:
            lines = self._link.read() if self._link.reader != -1 else []
            self._sort(lines)
            if not lines and self._link.journal is not None and self._link.reader != -1:
                self._link.leave(())
        if self._sleeps:
            self._sleeps = False
            self._asleep.release()
        return bool(lines)

    def see_off(self) -> None:
        """No job will begin any more. The next daemon lets this worker go once it has kept its reports."""
        while self._rejoined and self.fill():
            pass

    def job_ended(self) -> None:
        """The job that was running has ended: the main thread will read the link again."""
        if self._took_over:
            os.write(self._wake_writer, b".")

    def _sort(self, lines: list[bytes]) -> None:
        """Starts into C{worker.waiting}; a cancelled one is handed back from there."""
        waiting = self._worker.waiting
        for line in lines:
            if line.startswith(b"S "):
                waiting.append(line)
            elif line.startswith(b"K "):
                self._link.kept(int(line[2:]))
            elif line.startswith(b"C "):
                self._cancel(line)
            elif line == b"Q":
                self._quit()

    def _quit(self) -> None:
        """End everything: the job that runs with the process, of the others none begins."""
        self._worker.halt = True
        self._worker.waiting.clear()
        self._link.ending()
        if self._worker.current is not None:
            self._end_process(_GRACE)

    def _cancel(self, line: bytes) -> None:
        _, job, attempt, grace = line.split(b" ", 3)
        waiting = self._worker.waiting
        for other in list(waiting):
            if other.split(b" ", 3)[1:3] == [job, attempt]:
                try:
                    waiting.remove(other)
                except ValueError:
                    break
                self._link.send(b"R %b %b\n" % (job, attempt))
                return
        if self._worker.current == (job, attempt):
            self._end_call(job, attempt, float(grace))

    # The watchdog's side.

    def _run(self) -> None:
        worker = self._worker
        seen, idle = worker.begun, 0
        while True:
            time.sleep(_LONG)
            self._link.flush()
            now = worker.begun
            if now != seen:
                idle = 0
            elif worker.current is None:
                idle += 1
                if idle > _IDLE_TURNS:
                    self._sleep()
                    idle = 0
            else:
                idle = 0
                self._look_after(now)
            seen = worker.begun

    def _sleep(self) -> None:
        self._sleeps = True
        self._asleep.acquire()

    def _look_after(self, begun: int) -> None:
        """Read the link until the job that is running has ended."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._took_over = True
            if self._worker.begun != begun:
                return
            self._hand_back()
            self._publish(begun)
            self._wait_for(begun)
        finally:
            self._took_over = False
            self._reading.release()

    def _publish(self, begun: int) -> None:
        running = self._worker.current
        if running is not None:
            job, attempt = running
            self._worker.printed.publish(job, attempt, lambda: self._worker.begun == begun)

    if sys.platform == "win32":

        def _wait_for(self, begun: int) -> None:
            # Pipes cannot be waited for there: what comes later is read when the call has ended.
            return

    else:

        def _wait_for(self, begun: int) -> None:
            while self._worker.begun == begun:
                poll = select.poll()
                poll.register(self._wake_reader, select.POLLIN)
                poll.register(self._source(), select.POLLIN)
                ready = dict(poll.poll(_LOOK))
                if self._wake_reader in ready:
                    os.read(self._wake_reader, 64)
                elif ready and self._worker.begun == begun:
                    self._read(begun)
                self._worker.printed.cut()

        def _source(self) -> int:
            """Where the pool is heard from: the link, or without one the next daemon's first sign."""
            if self._link.reader != -1:
                return self._link.reader
            assert self._link.journal is not None
            return self._link.journal.listener.fileno()

        def _read(self, begun: int) -> None:
            if self._link.reader == -1:
                self._rejoined = True
                self._link.rejoin(self._running())
            elif lines := self._link.read():
                self._sort(lines)
                self._hand_back()
            elif self._link.journal is None:
                self._end_process(_GRACE)
            else:
                # Before it is written what runs: then nothing else can begin.
                self._worker.halt = True
                self._worker.waiting.clear()
                self._link.leave(self._running())

        def _running(self) -> list[Key]:
            running = self._worker.current
            return [] if running is None else [running]

    def _hand_back(self) -> None:
        """Hand back all jobs that wait; the newest first, away from the main thread's end."""
        waiting = self._worker.waiting
        lines = []
        while waiting:
            try:
                lines.append(waiting.pop())
            except IndexError:
                break
        if lines:
            self._link.send(b"".join(b"R %b %b\n" % tuple(line.split(b" ", 3)[1:3]) for line in reversed(lines)))

    def _end_call(self, job: bytes, attempt: bytes, grace: float) -> None:
        """
        End the call by ending the process. The order matters: only when no other
        job can begin any more is it certain that none but this one is hit.
        """
        self._worker.halt = True
        self._hand_back()
        if self._worker.current == (job, attempt):
            used = self._worker.usage_so_far()
            self._link.send(b"U %b %b %f %f %d\n" % (job, attempt, used.user, used.system, used.max_rss))
            self._end_process(grace)

    def _end_process(self, grace: float) -> None:
        self._worker.halt = True
        if sys.platform == "win32":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            os.killpg(0, signal.SIGTERM)
            time.sleep(grace)
            os.killpg(0, signal.SIGKILL)
