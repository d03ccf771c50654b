"""Lists of job ids as the protocol writes them: C{17}, C{18-19}, C{5,18-19}."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

CHUNK = 50_000
"""Ids in one selector: fewer than the daemon allows, and never more than a line can hold."""


MOST = 1_000_000
"""Ids in one reply: more than any request can ask for."""


def parse_ids(text: str) -> list[int]:
    """
    The ids in their order.

    @raise ValueError: it is not such a list, or one of more than L{MOST} ids.
    """
    ids: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = int(first)
        end = int(last) if dash else start
        if not 0 <= end - start < MOST - len(ids):
            raise ValueError(f"{part} is no range, or too large a one")
        ids.extend(range(start, end + 1))
    return ids


def format_ids(ids: Iterable[int]) -> str:
    """The same ids as text, neighbours in ascending order drawn together."""
    runs: list[list[int]] = []
    for job in ids:
        if runs and runs[-1][1] + 1 == job:
            runs[-1][1] = job
        else:
            runs.append([job, job])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """The ids in parts of which each fits into one request."""
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
