"""
The link between the daemon's pool and a worker process: the rules.

A worker is started with two pipes as its standard input and output. Both carry
lines of UTF-8, ended by C{\\n}. C{ID} and C{ATTEMPT} are decimal numbers, the
last word of a line may hold spaces::

    pool -> worker
        S ID ATTEMPT SPEC                start: SPEC is the job's JSON object as it was submitted
        C ID ATTEMPT GRACE               end it; GRACE seconds lie between TERM and KILL
        N PLACES TAKEN                   places for commands there are; TAKEN of them have those of other runners
        K COUNT                          the outcomes in the first COUNT D on this link are kept on disk
        Q                                end everything that runs, then exit
        (end of file)                    the daemon is gone, or wants nothing more: see below
    worker -> pool
        H PID                            ready; the first line
        A ID ATTEMPT                     adopt: this one runs already (only after the end of an earlier link)
        E                                these were all (the same)
        D ID ATTEMPT STATE WALL OUTCOME  done: STATE is succeeded, failed or cancelled, WALL seconds,
                                         OUTCOME the JSON object of docs/protocol.md
        R ID ATTEMPT                     handed back: it was not started, and no attempt is used up
        F ID ATTEMPT TEXT                the same, because the system has no room for it now: TEXT says of what
        U ID ATTEMPT USER SYS MAX_RSS    what a call that is being ended has used: its D will not come
        P ID ATTEMPT JSON                progress the job reported
        T ID ATTEMPT                     stuck: it was killed and does not go away; its D comes if it does
        L TEXT                           for the daemon's log

Every C{S} is answered by exactly one C{D}, C{R} or C{F}, unless the worker dies first:
then nobody knows how far the unanswered ones came, but for what L{jobd.worker.unsent} holds. A C{C} for a job
that is no longer there is ignored: its answer is already on the way.

The runner may be given more commands than there are places (L{jobd.worker.gate}): the next one begins when a place is
free, after the C{D} of the one that had it. When the first waits too long, all that wait come back (C{R}, the last
one first); when there is no room for one, all that wait come back with it (C{F}).

Where the link ends without a C{Q} the worker drops what it has not begun, goes on with what it has, and
exits when that has ended. In its journal (L{jobd.worker.journal}) it writes down what runs and every outcome
that was not known to be kept. The next daemon may connect meanwhile: it is told C{H}, an C{A} for each that runs,
those C{D} once more, C{E}, and C{T} for what is stuck; from there all is as before, only that no C{S} comes. What is
neither was never begun, so no C{R} need be remembered; it must not be either, as the same attempt may
have been begun anew since.
A worker without a journal takes the end of the link for a C{Q}.

After a C{Q} the daemon takes everything that does not succeed as handed back. The journal says so as well, in case the
daemon dies before it has heard of it.

What C{C} does depends on the program:

  - the runner ends the command's whole process tree and then reports C{D};
  - the call worker hands a job that still waits back; for the one that runs it
    hands back all others and then ends I{itself} with TERM (after GRACE seconds
    KILL), its process group included, so the job has no C{D}. Jobs run in the
    order they came, hence the oldest unanswered one is the one that runs. A call
    that keeps the interpreter's lock (a long computation inside C code) delays
    this, the hand-back of others, and reports that wait to be sent: the pool kills such a worker itself;
  - the io worker cancels a coroutine (C{D ... cancelled}) and hands back what
    still waits for a thread. A running thread cannot be cancelled: its C{D}
    comes whenever it ends.

Each worker leads a session and a process group of its own, so that
C{killpg(PID)} reaches it and what its calls have started.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from threading import Lock

from jobd.worker.journal import Journal
from jobd.worker.unsent import Unsent

READ_SIZE = 1 << 16
"""Bytes: what a pipe holds. The memory for many more is had from the system, and given back, with each reading."""

Key = tuple[bytes, bytes]
"""ID and ATTEMPT."""


class Link:
    """
    The worker's end. Any thread may L{send}, L{report}, L{hold} and L{flush}; one at a time may L{read}.

    @param journal: keeps what the daemon may not have kept, once the link has ended; without one nothing is kept.
    @param unsent: keeps reports that wait to be sent; without one none waits.
    @ivar reader: the descriptor lines come in by; -1 while there is no daemon.
    @ivar abandoned: this process is a forked copy, and the link is not its own.
    """

    def __init__(self, reader: int, writer: int, journal: Journal | None = None, unsent: Unsent | None = None) -> None:
        self.reader = reader
        self.journal = journal
        self.abandoned = False
        self._writer = writer
        self._unsent = unsent
        self._sending = Lock()
        self._rest = b""
        self._unkept: deque[bytes] = deque()
        self._kept = 0

    def read(self) -> list[bytes]:
        """
        All complete lines there are, without their ends; waits for the first
        one. An empty list means that the link has ended.
        """
        while True:
            try:
                data = os.read(self.reader, READ_SIZE)
            except OSError:
                data = b""
            if not data:
                return []
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            if lines:
                return lines

    def send(self, data: bytes) -> None:
        """
        Write whole lines (each with its end), not mixed with those of another
        thread. Where nobody listens any more they are dropped: the end of the link will be read.
        """
        with self._sending:
            self._write(data)

    def report(self, *lines: bytes) -> None:
        """Write C{D} lines with their ends. They are remembered until they are kept."""
        with self._sending:
            if self.journal is not None:
                self._unkept += lines
                if self._writer == -1:
                    self.journal.write([line[:-1] for line in lines])
            self._write(b"".join(lines))

    def hold(self, line: bytes) -> None:
        """Like L{report}, but it may wait until something else is written, or for L{flush}."""
        with self._sending:
            if self._unsent is not None and self._writer != -1 and self._unsent.add(line):
                if self.journal is not None:
                    self._unkept.append(line)
                return
        self.report(line)

    def flush(self) -> None:
        """Write the reports that wait."""
        if self._unsent:
            with self._sending:
                self._write(b"")

    def kept(self, count: int) -> None:
        """So many reports on this link need not be remembered any more."""
        with self._sending:
            while self._kept < count and self._unkept:
                self._unkept.popleft()
                self._kept += 1

    def _write(self, data: bytes) -> None:
        """What waits goes first: reports leave in the order they were made, and before what was said after them."""
        if self._writer == -1:
            return
        unsent = self._unsent
        if unsent:
            data = unsent.lines() + data
        try:
            written = os.write(self._writer, data)
            while written < len(data):
                data = data[written:]
                written = os.write(self._writer, data)
        except OSError:
            pass
        if unsent:
            # Only now: if this process had ended before, the daemon would have found them here.
            unsent.clear()

    def leave(self, running: Iterable[Key]) -> None:
        """
        The link has ended. From now on reports go into the journal.

        @param running: the attempts that were begun and not reported. No other must begin after this.
        """
        assert self.journal is not None
        with self._sending:
            self._hang_up()
            self._rest = b""
            self._unsent = None
            self.journal.write([*(b"B %b %b" % key for key in running), *self._remembered(), b"E"])

    def ending(self) -> None:
        """The daemon wants everything ended. To be called before anything is."""
        self.flush()
        if self.journal is not None:
            with self._sending:
                self.journal.write([*self._remembered(), b"Q"])

    def rejoin(self, running: Iterable[Key]) -> None:
        """The next daemon has connected: tell it everything."""
        assert self.journal is not None
        with self._sending:
            self.reader = self.journal.accept()
            self._writer = os.dup(self.reader)
            self._kept = 0
            lines = [b"H %d" % os.getpid(), *(b"A %b %b" % key for key in running), *self._remembered(), b"E", b""]
            self._write(b"\n".join(lines))

    def _remembered(self) -> list[bytes]:
        """Without their ends."""
        return [line[:-1] for line in self._unkept]

    def _hang_up(self) -> None:
        for descriptor in (self.reader, self._writer):
            with suppress(OSError):
                os.close(descriptor)
        self.reader = self._writer = -1

    def log(self, text: str) -> None:
        """Have one line of C{text} written to the daemon's log."""
        self.send(b"L %s\n" % _one_line(text))

    def abandon(self) -> None:
        """
        Let go of the link in a forked copy of the worker: the copy must neither
        speak for the worker nor keep the link open after it.
        """
        self._hang_up()
        self._unsent = None
        if self.journal is not None:
            self.journal.abandon()
        self.abandoned = True


def no_room(job: bytes, attempt: bytes, problem: object) -> bytes:
    """The line that hands a job back for which the system has no room."""
    return b"F %b %b %b\n" % (job, attempt, _one_line(str(problem)))


def _one_line(text: str) -> bytes:
    return " ".join(text.split()).encode("utf-8", "backslashreplace")


def take_link(journal: Journal | None = None, unsent: Unsent | None = None) -> Link:
    """
    Move the link away from the descriptors 0 and 1, to ones that no program a
    job starts can inherit; 0 then reads nothing and 1 writes where 2 does.
    """
    reader, writer = os.dup(0), os.dup(1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(reader, os.O_BINARY)
        msvcrt.setmode(writer, os.O_BINARY)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    link = Link(reader, writer, journal, unsent)
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=link.abandon)
    return link
