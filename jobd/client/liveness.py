"""
When a silent daemon counts as lost, and when a lost one is tried again. Every
kind of connection asks these two and does the waiting itself; the time is an
argument.
"""

from __future__ import annotations

from typing import NamedTuple

from jobd.client.core import Core
from jobd.errors import ConnectionProblem

LIVENESS = 20.0
"""Seconds without a word after which a daemon that owes one is asked for it, or counts as lost."""

PATIENCE = 60.0
"""Seconds for which a lost daemon is looked for before the client gives up."""

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


class Manners(NamedTuple):
    """
    How a client deals with a daemon that is slow, silent or gone.

    @ivar timeout: seconds that a connection or a reply may take.
    @ivar patience: seconds for which a lost daemon is looked for; 0: not at all.
    @ivar liveness: seconds of silence after which the daemon is asked for a sign of life, or counts as lost.
    """

    timeout: float
    patience: float
    liveness: float


class Pulse:
    """
    Notices a connection that is still there and brings nothing: a machine
    that has gone, a daemon that hangs, a network that swallows everything.

    While nothing is owed, nothing is sent. While finish events are waited
    for, a C{ping} goes out after so many seconds of silence. A reply that is
    owed and does not come, with nothing else coming either, for as long again
    means that the connection is of no use.

    @param seconds: of silence.
    """

    def __init__(self, core: Core, seconds: float) -> None:
        self._core = core
        self._seconds = seconds
        self._quiet = 0.0
        self._owed = False

    def heard(self, now: float) -> None:
        """Something came, or there is a fresh connection."""
        self._quiet = now

    def left(self, now: float) -> float | None:
        """Seconds until L{check} wants to be called; None while nothing is owed."""
        owed = self._core.owed
        if owed and not self._owed:
            self._quiet = now
        self._owed = owed
        if not (owed or self._core.waiting):
            return None
        return max(0.0, self._quiet + self._seconds - now)

    def check(self, now: float) -> None:
        """
        To be called after a look for what has come: nothing did. It may make the core send something.

        @raise ConnectionProblem: the connection is of no use any more.
        """
        left = self.left(now)
        if left is None or left > 0:
            return
        if self._owed:
            raise ConnectionProblem(f"the daemon has said nothing for {self._seconds:g} s although it owes an answer")
        self._core.ping()
        self._owed = True
        self._quiet = now


class Comeback:
    """
    Attempts to reach a daemon that was lost: one at once, then with growing
    pauses, for a time. A connection ends the search only when it has been
    L{of_use}: one that is taken and closed again at once is no better than
    none.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._pause = 0.0

    def of_use(self) -> None:
        """There is a connection that works."""
        self._since = None
        self._pause = 0.0

    def pause(self, now: float) -> float:
        """Seconds to wait before the next attempt."""
        if self._since is None:
            self._since = now
        pause = self._pause
        self._pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        return pause

    def left(self, now: float, patience: float) -> float:
        """Seconds in which another attempt may begin; none if it is not above 0."""
        since = now if self._since is None else self._since
        return since + patience - now
