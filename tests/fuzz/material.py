"""What inputs are made of: JSON that is nearly right, words that readers look for, saved inputs a little changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from jobd.job import WORDS, JobSpec
from jobd.wire import VERBS
from tests.fuzz.target import corpus

ODD = [
    b"", b"\0", b"\r", b"\n", b"\r\n", b"\n\n", b" ", b"  ", b"\t", b"\x0b", b"\x1b[2J", b"\x7f", b"\xff", b"\xc3",
    b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xef\xbb\xbf", "é€😀".encode(), b"\\", b'"', b"'", b"`", b"$", b"%s", b"%00",
    b"../", b"#", b"#t ", b"*", b"* ", b"-", b",", b".", b"0", b"-1", b"1e999", b"1.5", b"9" * 30, b"9" * 5000,
    b"18446744073709551616", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN", b"Infinity", b"{}", b"[]", b"{", b"]",
    b"[" * 120, b"[" * 2000, b'{"a":' * 1100, b" - at `$.argv`", b"~nobody/", b"GET ", b"A" * 300, b"inf", b"nan",
    b"1_0", b"+1", b"\xd9\xa1", b"0x1",
]  # fmt: skip
"""Pieces that have been trouble somewhere."""

T = TypeVar("T")


def among(values: Sequence[T]) -> SearchStrategy[T]:
    """One of these, which may be too many or too large for Hypothesis to name them in its own messages."""
    return st.integers(0, len(values) - 1).map(lambda place: values[place])


FIELDS = [*JobSpec.__struct_fields__, "ids", "state", "since", "from", "limit", "newest", "stream", "attempt", "paused"]

SCALARS: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 1025),
    st.sampled_from([10**12, 2**62, 2**63, 2**64, 10**30, -(10**30), 0.5, 1e300, 315360000, 100_001]),
    st.sampled_from(["", "a", "cpu", "io", "ok", "m:f", "/x", "&1", "x" * 300, "a\0b", "\x1b", "1", "1-3", "-1"]),
    st.sampled_from(list(WORDS.values()) if isinstance(WORDS, dict) else [word for word in WORDS if word]),
    st.text(max_size=8),
)

VALUES: SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def objects(names: Sequence[str]) -> SearchStrategy[dict[str, Any]]:
    """Objects with some of these names, and now and then another."""
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=4), VALUES, max_size=4)


def as_json(value: Any) -> bytes:
    """Also what has lone surrogates or numbers out of all range."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


JOBS: SearchStrategy[dict[str, Any]] = st.builds(
    lambda kind, more: {**kind, **more},
    st.sampled_from(
        [
            {"argv": ["true"]},
            {"shell": "exit 1"},
            {"call": "m:f"},
            {"call": "m:f", "lane": "io"},
            {"pickle": "gA=="},
            {},
        ]
    ),
    objects(FIELDS),
)

IDS = st.sampled_from([b"1", b"2", b"1-2", b"1,3", b"2-1", b"[1]", b"[1, 2]", b"0", b"9", b"1-200000", b"-1", b"x"])

ARGUMENTS: SearchStrategy[bytes] = st.one_of(
    JOBS.map(as_json),
    st.lists(JOBS, max_size=3).map(as_json),
    st.builds(lambda ids, options: ids + b" " + as_json(options), IDS, objects(FIELDS)),
    IDS,
    objects(FIELDS).map(as_json),
    st.sampled_from([b"q", b"gpu {}", b"echo 'a b' c\\ d", b"math:sqrt [2]", b"m:f {}", b"true", b"secret", b"wrong"]),
    st.binary(max_size=12),
)

TAGS = st.sampled_from([b"", b"", b"", b"#t ", b"#A-Z_0.9 ", b"# ", b"#" + b"x" * 33 + b" ", b"#t"])

WORDS_OF_REQUESTS = st.sampled_from([verb.encode() for verb in VERBS if verb != "quit"])

REQUESTS: SearchStrategy[bytes] = st.builds(
    lambda tag, verb, argument, end: tag + verb + (b" " + argument if argument else b"") + end,
    TAGS,
    WORDS_OF_REQUESTS | st.sampled_from([b"quit", b"GET", b"sumbit", b"", b"*"]) | st.binary(max_size=4),
    ARGUMENTS,
    st.sampled_from([b"\n", b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b""]),
)


def pieces(parts: SearchStrategy[bytes], most: int = 8) -> SearchStrategy[bytes]:
    """Some of them, one after the other."""
    return st.lists(parts, max_size=most).map(b"".join)


def changed(seeds: Iterable[bytes], words: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """One of the seeds, with a few places cut out, doubled or replaced by other words."""
    change = st.tuples(st.integers(0, 10_000), st.integers(0, 6), among([*ODD, *words]) | st.binary(max_size=3))
    return st.builds(_change, among([*seeds, b""]), st.lists(change, min_size=1, max_size=4))


def _change(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    data = seed
    for place, length, word in changes:
        start = place % (len(data) + 1)
        data = data[:start] + word + data[start + length :]
    return data


def inputs(name: str, *kinds: SearchStrategy[bytes], words: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """For a target: of these kinds, saved ones changed, and anything."""
    return st.one_of(*kinds, changed(corpus(name).values(), words), st.binary(max_size=60))
