"""
The exit codes of C{jobctl}:

  - 0: it succeeded
  - the job's own code, which is 128+N for a signal, 126 for a program that
    cannot be executed and 127 for one that cannot be found
  - 124: it took longer than its timeout
  - 125: trouble with jobd itself or with how it was called; also a job that
    is lost or was skipped
  - 130: interrupted by Ctrl-C; the job was cancelled
  - 141: whoever read the output has closed it
  - 143: the job was cancelled
"""

from __future__ import annotations

from jobd.client.outcome import Outcome

TIMED_OUT = 124
TROUBLE = 125
INTERRUPTED = 130
BROKEN_PIPE = 141
CANCELLED = 143

_BY_STATE = {"succeeded": 0, "timed_out": TIMED_OUT, "lost": TROUBLE, "skipped": TROUBLE, "cancelled": CANCELLED}


def exit_code(outcome: Outcome) -> int:
    """The exit code that stands for how a job ended: 0 for success alone."""
    if outcome.state in _BY_STATE:
        return _BY_STATE[outcome.state]
    return outcome.exit_code or 1
