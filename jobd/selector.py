"""
Selectors: which jobs a request is about. No I/O.

    17    17-20    17,19,30-40    [17, 19]    {"state": "queued", "group": "g"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

from jobd import wire
from jobd.errors import BadJson, BadValue, TooMany
from jobd.job import BY_WORD, State

MOST = 100_000
"""Jobs that one selector may stand for."""

MOST_RANGES = 1000
"""Ids and ranges that a filter may have: a store looks at each of them for each job."""

HIGHEST = 10**18 - 1
"""No id is ever higher: what every store and client can hold in 64 bits."""

_ITEM = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?\Z")
_scan = json.JSONDecoder()


class Filter(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """All that are given must hold."""

    ids: str | None = None
    state: str | list[str] | None = None
    queue: str | None = None
    group: str | None = None
    label: str | None = None
    key: str | None = None

    def states(self) -> list[State]:
        """
        The states wanted; empty means any.

        @raise BadValue: one of them is no state.
        """
        words = [self.state] if isinstance(self.state, str) else self.state or []
        for word in words:
            if word not in BY_WORD:
                raise BadValue(
                    f"state: there is no state {wire.excerpt(word.encode())}{wire.did_you_mean(word, BY_WORD)}"
                )
        return [BY_WORD[word] for word in words]

    def ranges(self) -> list[tuple[int, int]]:
        """
        The ids wanted, as ranges with both ends; empty means any.

        @raise BadValue, TooMany: as L{parse_ids}, and for more than L{MOST_RANGES} of them.
        """
        ranges = parse_ids(self.ids) if self.ids is not None else []
        if len(ranges) > MOST_RANGES:
            raise TooMany(f"ids: more than {MOST_RANGES} ids and ranges in a filter; name them without one")
        return ranges

    @property
    def only_group(self) -> bool:
        return self.group is not None and self == Filter(group=self.group)


class Selector(msgspec.Struct, frozen=True):
    """Either ranges of ids, with both ends, or a filter."""

    ranges: list[tuple[int, int]] = []
    filter: Filter | None = None

    @property
    def single(self) -> int:
        """The id, if it names just one job by that; else 0."""
        if len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]:
            return self.ranges[0][0]
        return 0

    def each(self) -> Iterator[tuple[int, bool]]:
        """Every id named, and whether it was named by itself, not as a part of a range."""
        for first, last in self.ranges:
            for number in range(first, last + 1):
                yield number, first == last


FILTER_FIELDS = tuple(Filter.__struct_fields__)
_filter = msgspec.json.Decoder(Filter)
_list = msgspec.json.Decoder(list[int])


def parse_ids(text: str) -> list[tuple[int, int]]:
    """
    C{17}, C{17-20}, C{17,19,30-40}

    @raise BadValue: it is nothing of the kind.
    @raise TooMany: it stands for more than L{MOST} jobs.
    """
    ranges = []
    for item in text.split(","):
        match = _ITEM.match(item.strip())
        if match is None:
            raise BadValue(f"{item.strip()[:40]!r} is not a job id: write 17, 17-20, 17,19 or a JSON filter")
        first = int(match.group(1))
        last = int(match.group(2) or first)
        if last < first:
            raise BadValue(f"the range {first}-{last} is empty")
        ranges.append((first, last))
    return _bounded(ranges)


def take_selector(argument: bytes) -> tuple[Selector, bytes]:
    """
    The selector an argument begins with, and what follows it.

    @raise BadJson, BadField, BadValue, TooMany: with what is wrong.
    """
    text = argument.strip()
    if not text:
        raise BadValue("which job? Give an id, as 17, a range, as 17-20, or a JSON filter")
    if text[:1] not in (b"{", b"["):
        word, _, rest = text.partition(b" ")
        return Selector(parse_ids(word.decode())), rest.strip()
    first, rest = take_json(text)
    if first[:1] == b"{":
        chosen: Filter = wire.decode(_filter, first, FILTER_FIELDS)
        chosen.states(), chosen.ranges()
        return Selector(filter=chosen), rest
    numbers: list[int] = wire.decode(_list, first)
    if not numbers or min(numbers) < 0 or max(numbers) > HIGHEST:
        raise BadValue(f"a list of job ids holds at least one, each from 0 to {HIGHEST}")
    return Selector(_bounded([(number, number) for number in numbers])), rest


def take_json(text: bytes) -> tuple[bytes, bytes]:
    """The JSON value a text begins with, and what follows it."""
    whole = text.decode()
    try:
        _, end = _scan.raw_decode(whole)
    except (ValueError, RecursionError) as problem:
        raise BadJson(f"this is not JSON: {problem}") from None
    return whole[:end].encode(), whole[end:].strip().encode()


def _bounded(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if sum(last - first + 1 for first, last in ranges) > MOST:
        raise TooMany(f"that is more than {MOST} jobs; ask for fewer at a time")
    return ranges
