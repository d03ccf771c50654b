"""Claims of the wire: bytes to lines to requests, and what the daemon says."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from jobd import errors, wire
from jobd.errors import BadField, BadJson, BadValue, JobdError, SyntaxProblem, TooLong, UnknownVerb
from jobd.wire import HTTP_METHODS, MAX_LINE, VERBS, Lines, Request, parse_request

from .simulation import bounded, ids_of


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


PIECE = st.one_of(
    st.sampled_from(
        [b"", b"\n", b"\r", b"\r\n", b"\n\n", b"ping", b"#t ping", b"show 1", "é€😀".encode(), b"\xff", b"\0"]
    ),
    st.binary(max_size=20),
)


class LinesTests(TestCase):
    """A stream is cut into lines."""

    def test_lines(self) -> None:
        """A line ends with a newline; a carriage return before it is dropped; one without an end is no line yet."""
        lines = Lines()
        self.assertEqual([b"a", b"b", b"", b"c\r", b"\rd"], lines.feed(b"a\nb\r\n\nc\r\r\n\rd\nrest"))
        self.assertEqual([], lines.feed(b"less"))
        self.assertEqual([b"restless"], lines.feed(b"\n"))

    def test_cut_within_end(self) -> None:
        """A cut between carriage return and newline changes nothing."""
        lines = Lines()
        self.assertEqual([[], [b"a"], []], [lines.feed(part) for part in (b"a\r", b"\n", b"\r")])

    @bounded(300)
    @given(st.lists(PIECE), st.lists(st.integers(0, 10_000)), st.integers(1, 30))
    def test_any_cuts(self, pieces: list[bytes], places: list[int], limit: int) -> None:
        """However a stream is cut, its lines are the same; a line over the limit is told by None."""
        data = b"".join(pieces)
        whole = Lines(limit).feed(data)
        lines = Lines(limit)
        self.assertEqual(whole, [line for part in cut(data, places) for line in lines.feed(part)])
        *ended, _ = data.split(b"\n")
        expected = [None if len(line) + 1 > limit else line.removesuffix(b"\r") for line in ended]
        self.assertEqual(expected, whole)

    def test_limit(self) -> None:
        """The limit counts the line with its end; the next line is not touched by one that is too long."""
        for data in ([b"1234567890\n123456789\nok\n"], [b"12345", b"67890\n1234", b"56789\nok\n"]):
            lines = Lines(10)
            self.assertEqual([None, b"123456789", b"ok"], [line for part in data for line in lines.feed(part)])

    def test_new_limit(self) -> None:
        """A limit that is set anew holds from the next bytes on."""
        lines = Lines(10)
        lines.feed(b"12345")
        lines.limit = 20
        self.assertEqual([b"1234512345"], lines.feed(b"12345\n"))

    def test_bounded_memory(self) -> None:
        """A line without an end takes no more memory than the limit, in however small pieces it comes."""
        limit = 1 << 16
        lines = Lines(limit)
        tracemalloc.start()
        try:
            for _ in range(limit // 2 - 1):
                lines.feed(b"xy")
            self.assertLess(tracemalloc.get_traced_memory()[1], 3 * limit)
            lines.feed(b"xy")
            self.assertLess(tracemalloc.get_traced_memory()[0], 10_000)
        finally:
            tracemalloc.stop()
        self.assertEqual([None, b"ping"], lines.feed(b"\nping\n"))


class RequestTests(TestCase):
    """A line becomes a request, or an error."""

    def refused(self, line: bytes, kind: type[JobdError], text: str, tag: bytes = b"") -> None:
        with self.assertRaises(kind) as caught:
            parse_request(line)
        self.assertEqual((text, tag), (str(caught.exception), caught.exception.tag))

    def test_verbs(self) -> None:
        """Every verb is understood, with and without an argument."""
        for verb in VERBS:
            self.assertEqual(Request(b"", verb, b""), parse_request(verb.encode()))
            self.assertEqual(Request(b"", verb, b" x  y "), parse_request(verb.encode() + b"  x  y "))

    def test_argument(self) -> None:
        """The argument is all that stands behind the space, as it came."""
        self.assertEqual("é 😀".encode(), parse_request("sh é 😀".encode()).argument)

    def test_tags(self) -> None:
        """A tag is kept as the reply must begin."""
        for tag in (b"a", b"x" * 32, b"A-Z_09.z"):
            self.assertEqual(Request(b"#" + tag + b" ", "ping", b"x"), parse_request(b"#" + tag + b" ping x"))

    def test_bad_tags(self) -> None:
        """A tag that is too long, empty or of other characters is refused."""
        text = "a tag is '#' and 1 to 32 of A-Z a-z 0-9 _ . -, then a space"
        for tag in (
            b"#",
            b"# ping",
            b"#" + b"x" * 33 + b" ping",
            b"#a/b ping",
            b"##a ping",
            "#é ping".encode(),
            b"#a\tping",
        ):
            self.refused(tag, SyntaxProblem, text)

    def test_unknown_verb(self) -> None:
        """An unknown verb is refused, with a guess, and with the tag it came with."""
        self.refused(b"sumbit {}", UnknownVerb, "there is no verb 'sumbit'; did you mean 'submit'?; 'help' lists them")
        self.refused(b"#7 xyzzy", UnknownVerb, "there is no verb 'xyzzy'; 'help' lists them", b"#7 ")
        self.refused(b"#7", UnknownVerb, "there is no verb ''; 'help' lists them", b"#7 ")
        self.refused(b" ping", UnknownVerb, "there is no verb ''; 'help' lists them")
        self.refused(b"Ping", UnknownVerb, "there is no verb 'Ping'; did you mean 'ping'?; 'help' lists them")

    def test_not_utf8(self) -> None:
        """A line that is not UTF-8 is refused, wherever the fault is, with its tag."""
        for line in (b"ping \xff", b"\xc3", b"sh \xed\xa0\x80"):
            self.refused(line, SyntaxProblem, "the line is not UTF-8")
            self.refused(b"#t " + line, SyntaxProblem, "the line is not UTF-8", b"#t ")

    def test_long_word(self) -> None:
        """A word of a megabyte is shown in short, and nothing is guessed about it."""
        self.refused(b"p" * MAX_LINE, UnknownVerb, f"there is no verb '{'p' * 40}…'; 'help' lists them")

    @bounded(300)
    @given(st.lists(PIECE).map(b"".join))
    def test_one_answer(self, data: bytes) -> None:
        """Every line is one request or one error whose reply is one line of UTF-8."""
        for line in Lines(40).feed(data):
            try:
                if line is None:
                    raise wire.too_long(40)
                self.assertIn(parse_request(line).verb, VERBS)
            except (SyntaxProblem, UnknownVerb, TooLong) as problem:
                said = wire.error(problem.tag, problem)
                self.assertEqual((1, b"\n"), (said.count(b"\n"), said[-1:]))
                self.assertRegex(said.decode(), r"\A(#[A-Za-z0-9_.\-]{1,32} )?error [A-Z_]+ .")

    def test_browsers(self) -> None:
        """No verb is spelled like a method of HTTP, whatever the case."""
        methods = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"}
        self.assertEqual(methods, HTTP_METHODS)
        self.assertEqual(set(), {method.decode().lower() for method in HTTP_METHODS} & set(VERBS))

    def test_help(self) -> None:
        """Every verb with an argument has an example, which uses it."""
        for verb, example in wire.EXAMPLES.items():
            self.assertIn(f" {verb} ", example)
        without = set(VERBS) - set(wire.EXAMPLES)
        self.assertEqual({"stats", "drain", "hello", "auth", "ping", "help", "quit"}, without)


class SayTests(TestCase):
    """Replies and events become bytes."""

    def test_ok(self) -> None:
        """ok, with its tag and its text if there are any."""
        self.assertEqual(b"ok\n", wire.ok(b""))
        self.assertEqual(b"#t ok 17\n", wire.ok(b"#t ", b"17"))

    def test_error(self) -> None:
        """error, with the code, and the text on one line whatever is in it."""
        self.assertEqual(b"error GONE too old\n", wire.error(b"", errors.Gone("too old")))
        self.assertEqual(b"#t error GONE a b c\n", wire.error(b"#t ", errors.Gone("a\nb\r\n\tc ")))
        self.assertEqual("error GONE é\\ud800\n".encode(), wire.error(b"", errors.Gone("é\ud800")))

    def test_nothing_for_a_terminal(self) -> None:
        """What would do something to a terminal is spelled out."""
        problem = errors.Gone("\x9b2J \x1b[31m \0 \u2028 é😀")
        self.assertEqual("error GONE \\x9b2J \\x1b[31m \\x00 é😀\n", wire.error(b"", problem).decode())
        self.refused_in_print(b'["\xc2\x9b2J"]')

    def refused_in_print(self, value: bytes) -> None:
        with self.assertRaises(BadValue) as caught:
            wire.decode(msgspec.json.Decoder(Options), b'{"limit": %s}' % value, (), {"limit": "a number"})
        self.assertTrue(wire.error(b"", caught.exception).decode().strip().isprintable())

    def test_long_error(self) -> None:
        """It is not too long for a terminal, whatever it repeats."""
        said = wire.error(b"", errors.Gone("é" * 10_000)).decode()
        self.assertEqual(f"error GONE {'é' * (wire.LONGEST_ERROR - 1)}…\n", said)

    def test_error_without_text(self) -> None:
        """An error that says nothing says what its code means."""
        for cls in errors.BY_CODE.values():
            self.assertEqual(f"error {cls.code} {cls.__doc__}\n", wire.error(b"", cls()).decode())

    def test_error_and_back(self) -> None:
        """A client makes the same error of it; of a code that it does not know, a plain one."""
        for code, cls in errors.BY_CODE.items():
            found = errors.from_wire(code, "text")
            self.assertEqual((cls, "text"), (type(found), str(found)))
        self.assertEqual(JobdError, type(errors.from_wire("NEW", "text")))

    def test_event(self) -> None:
        """An event has a cursor, a job, a state and JSON, if there is any."""
        self.assertEqual(b'* 3 17 failed {"exit_code":3}\n', wire.event(3, 17, b"failed", b'{"exit_code":3}'))
        self.assertEqual(b"* 3 17 succeeded\n", wire.event(3, 17, b"succeeded"))

    def test_json(self) -> None:
        """JSON is one line of UTF-8, whatever is in it."""
        value = {"a": "x\ny\u2028\0é"}
        said = wire.to_json(value)
        self.assertNotIn(b"\n", said)
        self.assertEqual(value, msgspec.json.decode(said))

    def test_ids(self) -> None:
        """Ids in a row are written as a range, in the order of the jobs."""
        for ids, text in (
            ([17], "17"),
            ([18, 19], "18-19"),
            ([5, 18, 19, 20, 7], "5,18-20,7"),
            ([2, 1], "2,1"),
            ([], ""),
        ):
            self.assertEqual(text, wire.format_ids(ids))

    @bounded(200)
    @given(st.lists(st.integers(0, 30), min_size=1))
    def test_ids_and_back(self, ids: list[int]) -> None:
        """They are read back as they were."""
        self.assertEqual(ids, ids_of(wire.format_ids(ids).encode()))

    def test_guess(self) -> None:
        """A guess is made where a word is close to a known one and not absurdly long."""
        self.assertEqual("; did you mean 'cancel'?", wire.did_you_mean("cancle", VERBS))
        self.assertEqual("", wire.did_you_mean("xyzzy", VERBS))
        self.assertEqual("", wire.did_you_mean("cancel" * 20, ["cancel" * 20]))


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    depth: int = 0


class Options(msgspec.Struct, forbid_unknown_fields=True):
    limit: int | None = None
    inner: Inner = msgspec.field(default_factory=Inner)


class DecodeTests(TestCase):
    """JSON is read, with errors for the person who wrote it."""

    decoder = msgspec.json.Decoder(Options)

    def refused(self, kind: type[JobdError], data: bytes, text: str, **rules: str) -> None:
        with self.assertRaises(kind) as caught:
            wire.decode(self.decoder, data, ("limit", "inner"), rules)
        self.assertEqual(text, str(caught.exception))

    def test_good(self) -> None:
        """What is right is decoded."""
        self.assertEqual(Options(5), wire.decode(self.decoder, b'{"limit": 5}'))

    def test_unknown(self) -> None:
        """An unknown field is named with a guess, and with the place of it, however odd it is."""
        self.refused(BadField, b'{"limt": 1}', "unknown field 'limt'; did you mean 'limit'?")
        self.refused(BadField, b'{"inner": {"x": 1}}', "unknown field 'x' in inner")
        self.refused(BadField, b'{"a\\nb": 1}', "unknown field 'a\\nb'")
        self.refused(BadField, b'{"%s": 1}' % (b"x" * 10_000), f"unknown field '{'x' * 40}…'")
        self.refused(BadField, b'{"": 1}', "unknown field ''")
        self.refused(BadField, b'{"a`b": 1}', "unknown field 'a`b'")

    def test_a_name_like_a_place(self) -> None:
        """A field whose name looks like the place of another one is still an unknown field."""
        for name in (b"x - at `$.limit", b"x` - at `$.limit", b" - at `$", b"unknown field `limit"):
            with self.assertRaises(BadField):
                wire.decode(self.decoder, b'{"%s": 1}' % name, ("limit",), {"limit": "a number"})

    def test_wrong(self) -> None:
        """A wrong value is named by its place, with types as JSON has them."""
        self.refused(BadValue, b'{"limit": "x"}', "limit: expected integer | null, got string")
        self.refused(BadValue, b'{"inner": {"depth": [1]}}', "inner.depth: expected integer, got list")
        self.refused(BadValue, b"[1]", "expected object, got list")

    def test_rules(self) -> None:
        """Where there is a rule in words the error says that, and what was found, in short."""
        limit = "a number of jobs"
        self.refused(BadValue, b'{"limit": "x"}', "limit: a number of jobs, not 'x'", limit=limit)
        self.refused(BadValue, b'{"limit": "%s"}' % (b"x" * 50), f"limit: {limit}, not '{'x' * 40}…'", limit=limit)
        self.refused(BadValue, b'{"limit": {"a": [1, 2]}}', 'limit: a number of jobs, not {"a": [1, 2]}', limit=limit)
        self.refused(BadValue, b'{"limit": [%s1]}' % (b"1," * 40), f"limit: {limit}, not '[{'1,' * 19}1…'", limit=limit)
        inner = "inner.depth: expected integer, got string; inner: how deep"
        self.refused(BadValue, b'{"inner": {"depth": "x"}}', inner, inner="how deep")

    def test_not_json(self) -> None:
        """What is not JSON is said so, with what is the matter, in a word."""
        with self.assertRaises(BadJson) as caught:
            wire.decode(self.decoder, b'{"limit": "x", ]', (), {"limit": "a number"})
        with self.assertRaises(BadJson) as caught:
            wire.decode(self.decoder, b'{"limit": 5} x')
        self.assertRegex(str(caught.exception), r"\Athis is not JSON: trailing characters \(byte [0-9]+\)\Z")
        for data in (b"", b"{", b"{'a': 1}", b'{"limit": 5', b'"\\ud800"', b'{"limit": nul}', b"[" * 100_000):
            with self.assertRaises(BadJson) as caught:
                wire.decode(msgspec.json.Decoder(), data)
            self.assertTrue(str(caught.exception).startswith("this is not JSON: "), data)

    def test_not_utf8(self) -> None:
        """So is what is not UTF-8."""
        with self.assertRaises(BadJson):
            wire.decode(msgspec.json.Decoder(), b'"\xff"')

    @bounded(300)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        )
    )
    def test_whatever(self, value: Any) -> None:
        """Any JSON is decoded or refused, never more than that, in one line of bounded length."""
        try:
            wire.decode(self.decoder, wire.to_json({"limit": value}), ("limit",), {"limit": "a number"})
        except (BadField, BadValue) as problem:
            self.assertLess(len(wire.error(b"", problem)), 1000)
