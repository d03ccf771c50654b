"""Pickled calls in one line, under one key."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import Any

from jobd.client.core import Request

_FIELD = b'"pickle": "'


class Together(Request):
    """
    Calls that go into one line, and may be sent again if no reply comes.

    A key costs the daemon as much time as half of the call, so only the first
    has one. The same line must then never come twice: when the one that was
    thought lost arrives after all, the calls without a key would run again.
    Therefore the first call is another one each time: its pickle has one byte
    more behind its end, where nobody reads. A key cannot stand for two jobs,
    and a line is accepted as a whole or not at all. So whatever arrives, and
    in whatever order, one line is accepted and all others are refused with
    L{jobd.errors.Conflict}. Who gets that asks for the job with the key: the
    jobs of a line have ids in a row.

    @param pickles: the calls, in base64.
    @param common: the other fields of each job, as JSON without braces.
    """

    __slots__ = ()

    def __init__(self, pickles: Sequence[str], key: str, common: str, context: Any) -> None:
        rest = f'", {common}}}' if common else '"}'
        texts = f'{rest}, {{"pickle": "'.join(pickles)
        jobs = f'{{"key": "{key}", "pickle": "{texts}{rest}'
        super().__init__(
            "submit", jobs if len(pickles) == 1 else f"[{jobs}]", notified=[True] * len(pickles), context=context
        )

    def lost(self) -> None:
        """Make it another one."""
        before, field, after = self.line.partition(_FIELD)
        pickle, quote, rest = after.partition(b'"')
        longer = b2a_base64(a2b_base64(pickle) + b"\0", newline=False)
        self.line = b"".join((before, field, longer, quote, rest))
