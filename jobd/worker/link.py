"""
The link between the daemon's pool and a worker process: the rules.

A worker is started with two pipes as its standard input and output. Both carry
lines of UTF-8, ended by C{\\n}. C{ID} and C{ATTEMPT} are decimal numbers, the
last word of a line may hold spaces::

    pool -> worker
        S ID ATTEMPT SPEC                start: SPEC is the job's JSON object as it was submitted
        C ID ATTEMPT GRACE               end it; GRACE seconds lie between TERM and KILL
        (end of file)                    end everything that runs, then exit
    worker -> pool
        H PID                            ready; the first line
        D ID ATTEMPT STATE WALL OUTCOME  done: STATE is succeeded, failed or cancelled, WALL seconds,
                                         OUTCOME the JSON object of docs/protocol.md
        R ID ATTEMPT                     handed back: it was not started, and no attempt is used up
        U ID ATTEMPT USER SYS MAX_RSS    what a call that is being ended has used: its D will not come
        P ID ATTEMPT JSON                progress the job reported
        L TEXT                           for the daemon's log

Every C{S} is answered by exactly one C{D} or C{R}, unless the worker dies first:
then nobody knows how far the unanswered ones came. A C{C} for a job that is no
longer there is ignored: its answer is already on the way.

What C{C} does depends on the program:

  - the runner ends the command's whole process tree and then reports C{D};
  - the call worker hands a job that still waits back; for the one that runs it
    hands back all others and then ends I{itself} with TERM (after GRACE seconds
    KILL), its process group included, so the job has no C{D}. Jobs run in the
    order they came, hence the oldest unanswered one is the one that runs. A call
    that keeps the interpreter's lock (a long computation inside C code) delays
    this, and the hand-back of others: the pool kills such a worker itself;
  - the io worker cancels a coroutine (C{D ... cancelled}) and hands back what
    still waits for a thread. A running thread cannot be cancelled: its C{D}
    comes whenever it ends.

Each worker leads a session and a process group of its own, so that
C{killpg(PID)} reaches it and what its calls have started.
"""

from __future__ import annotations

import os
import sys
from threading import Lock

READ_SIZE = 1 << 20


class Link:
    """
    The worker's end. Any thread may L{send}; one at a time may L{read}.

    @ivar reader: the descriptor lines come in by.
    @ivar abandoned: this process is a forked copy, and the link is not its own.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self._writer = writer
        self._sending = Lock()
        self._rest = b""
        self.abandoned = False

    def read(self) -> list[bytes]:
        """
        All complete lines there are, without their ends; waits for the first
        one. An empty list means that the pool has closed the link.
        """
        while True:
            data = os.read(self.reader, READ_SIZE)
            if not data:
                return []
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            if lines:
                return lines

    def send(self, data: bytes) -> None:
        """
        Write whole lines (each with its end), not mixed with those of another
        thread. Raises L{OSError} when the pool has gone.
        """
        with self._sending:
            written = os.write(self._writer, data)
            while written < len(data):
                data = data[written:]
                written = os.write(self._writer, data)

    def log(self, text: str) -> None:
        """Have one line of C{text} written to the daemon's log."""
        self.send(b"L %s\n" % " ".join(text.split()).encode("utf-8", "backslashreplace"))

    def abandon(self) -> None:
        """
        Let go of the link in a forked copy of the worker: the copy must neither
        speak for the worker nor keep the link open after it.
        """
        for descriptor in (self.reader, self._writer):
            try:
                os.close(descriptor)
            except OSError:
                continue
        self.reader = self._writer = -1
        self.abandoned = True


def take_link() -> Link:
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
    link = Link(reader, writer)
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=link.abandon)
    return link
