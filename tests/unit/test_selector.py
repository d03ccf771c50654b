"""Claims of the selectors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from jobd.errors import BadField, BadJson, BadValue, JobdError, TooMany
from jobd.job import State
from jobd.selector import HIGHEST, MOST, MOST_RANGES, Filter, Selector, parse_ids, take_json, take_selector
from jobd.wire import format_ids

from .simulation import bounded


class Cases(TestCase):
    def refused(self, kind: type[JobdError], argument: bytes, text: str) -> None:
        with self.assertRaises(kind) as caught:
            take_selector(argument)
        self.assertEqual(text, str(caught.exception))


class IdTests(Cases):
    """Ids and ranges."""

    def test_forms(self) -> None:
        """An id, a range, several of both, and a JSON list."""
        for argument, ranges in (
            (b"17", [(17, 17)]),
            (b"17-20", [(17, 20)]),
            (b"17,19,30-40", [(17, 17), (19, 19), (30, 40)]),
            (b"[17, 19]", [(17, 17), (19, 19)]),
            (b" 17 ", [(17, 17)]),
        ):
            self.assertEqual((Selector(ranges), b""), take_selector(argument))

    def test_rest(self) -> None:
        """What follows is left, be it words or JSON."""
        for argument in (b'17 {"from": 3}', b'[17]{"from": 3}', b'17   {"from": 3} '):
            self.assertEqual((Selector([(17, 17)]), b'{"from": 3}'), take_selector(argument))

    def test_single(self) -> None:
        """Only one id, named by itself, is a single job."""
        singles = [
            take_selector(argument)[0].single for argument in (b"17", b"[17]", b"17-17", b"17,18", b"17-18", b"{}")
        ]
        self.assertEqual([17, 17, 17, 0, 0, 0], singles)

    def test_each(self) -> None:
        """Each id comes with whether it was named by itself."""
        selector, _ = take_selector(b"5,7-8")
        self.assertEqual([(5, True), (7, False), (8, False)], list(selector.each()))

    def test_no_id(self) -> None:
        """What is no id is refused with what to write."""
        hint = "is not a job id: write 17, 17-20, 17,19 or a JSON filter"
        for word in ("x", "17,", "-1", "1-", "1-2-3", "1.5", "+1", "1_0", "9" * 19):
            self.refused(BadValue, word.encode(), f"{word.split(',')[-1]!r} {hint}")
        self.refused(BadValue, "٣".encode(), f"'٣' {hint}")
        self.refused(BadValue, b"y" * 90, f"{'y' * 40!r} {hint}")

    def test_nothing(self) -> None:
        """No argument at all is refused with what to give."""
        for argument in (b"", b"  "):
            self.refused(BadValue, argument, "which job? Give an id, as 17, a range, as 17-20, or a JSON filter")

    def test_empty_range(self) -> None:
        """A range that goes down is refused."""
        self.refused(BadValue, b"20-17", "the range 20-17 is empty")

    def test_lists(self) -> None:
        """A JSON list holds ids, and at least one."""
        text = f"a list of job ids holds at least one, each from 0 to {HIGHEST}"
        for argument in (b"[]", b"[-1]", b"[1, %d]" % (HIGHEST + 1), b"[1%s]" % (b"0" * 100)):
            self.refused(BadValue, argument, text)
        self.refused(BadValue, b'["17"]', "[0]: expected integer, got string")
        self.refused(BadValue, b"[1.5]", "[0]: expected integer, got number")
        self.refused(BadValue, b"[true]", "[0]: expected integer, got boolean")

    def test_too_many(self) -> None:
        """One selector stands for 100,000 jobs at most, which are not counted out first."""
        for argument in (b"1-100001", b"1-99999,5,6", b"1-999999999999999999"):
            self.refused(TooMany, argument, "that is more than 100000 jobs; ask for fewer at a time")
        self.assertEqual(MOST, sum(1 for _ in take_selector(b"1-100000")[0].each()))
        self.refused(TooMany, b"[%s1]" % (b"1," * MOST), "that is more than 100000 jobs; ask for fewer at a time")

    @bounded(200)
    @given(st.lists(st.integers(0, HIGHEST), min_size=1))
    def test_round_trip(self, ids: list[int]) -> None:
        """IDS as a reply gives them are a selector of the same jobs, in the same order."""
        ranges = parse_ids(format_ids(ids))
        self.assertEqual(ids, [number for first, last in ranges for number in range(first, last + 1)])


class FilterTests(Cases):
    """JSON filters."""

    def test_forms(self) -> None:
        """All that a filter may say."""
        argument = b'{"ids":"1-5,9","state":["queued","lost"],"queue":"q","group":"g","label":"l","key":"k"} x'
        selector, rest = take_selector(argument)
        chosen = selector.filter
        assert chosen is not None
        self.assertEqual(b"x", rest)
        self.assertEqual([(1, 5), (9, 9)], chosen.ranges())
        self.assertEqual([State.QUEUED, State.LOST], chosen.states())
        self.assertEqual(("q", "g", "l", "k"), (chosen.queue, chosen.group, chosen.label, chosen.key))

    def test_empty(self) -> None:
        """An empty filter is for all jobs."""
        selector, _ = take_selector(b"{}")
        assert selector.filter is not None
        self.assertEqual(([], []), (selector.filter.states(), selector.filter.ranges()))

    def test_one_state(self) -> None:
        """A state may be given without a list."""
        self.assertEqual([State.TIMED_OUT], Filter(state="timed_out").states())

    def test_only_group(self) -> None:
        """A filter of just a group is told from one that says more."""
        filters = (Filter(group="g"), Filter(group="g", queue="q"), Filter(), Filter(group="g", ids="1"))
        self.assertEqual([True, False, False, False], [chosen.only_group for chosen in filters])

    def test_errors(self) -> None:
        """Each mistake is named, with a guess where there is one."""
        self.refused(BadField, b'{"sate": "queued"}', "unknown field 'sate'; did you mean 'state'?")
        self.refused(BadValue, b'{"state": "queud"}', "state: there is no state 'queud'; did you mean 'queued'?")
        self.refused(BadValue, b'{"state": ["lost", "xyz"]}', "state: there is no state 'xyz'")
        self.refused(BadValue, b'{"state": 4}', "state: expected string | list | null, got integer")
        self.refused(BadValue, b'{"ids": "a"}', "'a' is not a job id: write 17, 17-20, 17,19 or a JSON filter")
        self.refused(BadValue, b'{"ids": 17}', "ids: expected string | null, got integer")
        self.refused(BadValue, b'{"group": 1}', "group: expected string | null, got integer")

    def test_ranges_bounded(self) -> None:
        """A filter has 1,000 ids and ranges at most: a store looks at each for each job."""
        many = ",".join(str(2 * number) for number in range(MOST_RANGES))
        selector, _ = take_selector(b'{"ids": "%s"}' % many.encode())
        assert selector.filter is not None
        self.assertEqual(MOST_RANGES, len(selector.filter.ranges()))
        text = "ids: more than 1000 ids and ranges in a filter; name them without one"
        self.refused(TooMany, b'{"ids": "%s,9999"}' % many.encode(), text)
        self.assertEqual(MOST_RANGES + 1, len(take_selector(many.encode() + b",9999")[0].ranges))


class JsonTests(TestCase):
    """JSON with something behind it."""

    def test_taken(self) -> None:
        """The first value is taken, the rest is left, whatever characters there are."""
        self.assertEqual((b'{"a": "}"}', b"x y"), take_json(b'{"a": "}"} x y '))
        self.assertEqual(('["é"]'.encode(), "ü".encode()), take_json('["é"] ü'.encode()))

    def test_not_json(self) -> None:
        """What is not JSON is refused with the place, and however deep it is nested."""
        with self.assertRaises(BadJson) as caught:
            take_json(b'{"a": }')
        self.assertEqual("this is not JSON: Expecting value: line 1 column 7 (char 6)", str(caught.exception))
        with self.assertRaises(BadJson):
            take_json(b"[" * 100_000)
