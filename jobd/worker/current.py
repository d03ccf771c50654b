"""
Which job the running code belongs to, and how it reports progress.

L{jobd.progress} asks here. The worker programs register how; elsewhere nothing
is registered, and progress goes over a connection of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

Report = dict[str, object]
"""C{done}, C{total} and C{text}, those that were given."""

reporter: Callable[[Report], None] | None = None
"""Passes on the progress of the job that the calling thread or task belongs to."""


def register(function: Callable[[Report], None]) -> None:
    """
    Have progress reported by C{function}. A process that a job forks off goes
    back to reporting over a connection.
    """
    global reporter
    reporter = function
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    global reporter
    reporter = None
