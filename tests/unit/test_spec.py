"""Claims of submissions: every field, what it may be, and what is said where it is not."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec import inspect as kinds
from twisted.trial.unittest import TestCase

from jobd import spec, wire
from jobd.errors import BadField, BadJson, BadValue, JobdError
from jobd.job import JobSpec, StdinFile, plan_of
from jobd.spec import (
    DEEPEST,
    FIELDS,
    RULES,
    digest,
    parse_call,
    parse_job,
    parse_kept,
    parse_run,
    parse_sh,
    parse_submission,
)

from .simulation import bounded

CONTROL = [chr(code) for code in (*range(1, 32), 127)]

WRONG: dict[str, list[Any]] = {
    "argv": [None, 5, True, "ls", {}, [], [1], ["ls", None], [["ls"]]],
    "shell": [None, 5, "", ["ls"], {}],
    "call": [
        None,
        5,
        "",
        "m",
        "m:",
        ":f",
        "m:f()",
        "m f",
        "m:f:g",
        "m..n:f",
        "1m:f",
        "m:1f",
        "m:f\n",
        "m:" + "f" * 520,
    ],
    "args": [None, 5, "x", {}, True],
    "kwargs": [None, 5, "x", [], True],
    "pickle": [None, 5, "", []],
    "cwd": [5, "", [], True],
    "env": [None, 5, "A=b", [], {"A": 1}, {"A": ["b"]}],
    "stdin": [None, 5, [], {}, {"file": 5}, {"file": ""}, True],
    "stdout": [5, "", [], {}, True],
    "stderr": [5, "", [], {}, True],
    "queue": [None, 5, "", "a b", "a/b", "é", "x" * 65, "a\n", []],
    "priority": [None, "5", 1.5, -1001, 1001, True, 10**30, []],
    "delay": [None, "5", -1, 315_360_001, True, []],
    "after": [None, 5, "5", ["5"], [1.5], [True], {"1": "maybe"}, {"1": 1}, {"1": None}],
    "timeout": ["5", 0, -1, 315_360_001, True, []],
    "grace": [None, "5", -1, 86_401, True, []],
    "attempts": [None, "5", 0, 1001, 1.5, True, []],
    "backoff": [None, "5", -1, 86_401, True, []],
    "key": [5, "", "x" * 257, [], True, *(f"a{char}" for char in CONTROL)],
    "group": [5, "", "x" * 129, [], True, *(f"a{char}" for char in CONTROL)],
    "label": [5, "", "x" * 129, [], True, *(f"a{char}" for char in CONTROL)],
    "cpus": [None, "5", -1, 1025, 1.5, True, []],
    "lane": [None, 5, "gpu", "", "CPU", []],
    "notify": [None, 0, 1, "true", []],
}
"""For each field what it must not be."""

RIGHT: dict[str, list[Any]] = {
    "argv": [["ls"], ["ls", ""], ["a"] * 1000],
    "shell": ["ls", "é\n\t"],
    "call": ["m:f", "a.b.c:D.e", "_m:_f", "é:ü", "m1:f1"],
    "args": [[], [1, "x", None, {"a": [True]}], ["\0"]],
    "kwargs": [{}, {"a": 1}, {"a": "\0"}],
    "pickle": ["gARLAS4="],
    "cwd": [None, "/", "/data/x", "C:\\data", "C:/data", "\\\\host\\share"],
    "env": [{}, {"A": "b", "B": None, "é": ""}],
    "stdin": ["", "text\0", {"file": "/data/x"}],
    "stdout": [None, "x.txt", "/data/x"],
    "stderr": [None, "x.txt", "&1"],
    "queue": ["default", "A-Z_0.9", "x" * 64],
    "priority": [-1000, 0, 1000],
    "delay": [0, 0.5, 315_360_000],
    "after": [[], [1, 2], [-1], {}, {"1": "ok", "2": "failed", "-3": "any"}],
    "timeout": [None, 0.001, 5, 315_360_000],
    "grace": [0, 86_400],
    "attempts": [1, 1000],
    "backoff": [0, 0.5, 86_400],
    "key": [None, "k", "a b é", "x" * 256],
    "group": [None, "g", "x" * 128],
    "label": [None, "l", "x" * 128],
    "cpus": [1, 1024],
    "lane": ["cpu", "io"],
    "notify": [True, False],
}
"""For each field what it may be."""

CALLS = {"args", "kwargs", "lane"}
OF_CALLS: list[dict[str, Any]] = [{"args": []}, {"kwargs": {}}, {"lane": "io"}]
KINDS = {"argv", "shell", "call", "pickle"}


def around(name: str, value: Any) -> dict[str, Any]:
    """A job with this field, right in all others."""
    if name in KINDS:
        return {name: value}
    return {**({"call": "m:f"} if name in CALLS else {"argv": ["true"]}), name: value}


class Cases(TestCase):
    def refused(self, kind: type[JobdError], text: str, job: dict[str, Any] | bytes) -> None:
        json = job if isinstance(job, bytes) else wire.to_json(job)
        with self.assertRaises(kind) as caught:
            parse_submission(json)
        self.assertEqual(text, str(caught.exception))


class FieldTests(Cases):
    """Every field."""

    def test_all(self) -> None:
        """There is a right and a wrong value, and a rule in words, for each field."""
        self.assertEqual([set(FIELDS)] * 3, [set(WRONG), set(RIGHT), set(RULES)])

    def test_right(self) -> None:
        """What a field may be is accepted, and kept as it came."""
        for name, values in RIGHT.items():
            for value in values:
                json = wire.to_json(around(name, value))
                (found,) = parse_submission(json)
                self.assertEqual(json, found.json)
                decoded = getattr(found.spec, name)
                self.assertEqual(
                    StdinFile(value["file"]) if name == "stdin" and value and value != "text\0" else value, decoded
                )

    def test_wrong(self) -> None:
        """What it must not be is BAD_VALUE, with the field, what it has to be and, on one line, what was there."""
        for name, values in WRONG.items():
            for value in values:
                with self.assertRaises(BadValue, msg=(name, value)) as caught:
                    parse_submission(wire.to_json(around(name, value)))
                said = str(caught.exception)
                self.assertTrue(said.startswith(name), said)
                self.assertIn(RULES[name], said)
                self.assertNotIn("regex", said)
                self.assertLess(len(wire.error(b"", caught.exception)), 300)
                self.assertEqual(1, said.count("\n") + 1, said)

    def test_messages(self) -> None:
        """Some of these messages, as a person sees them."""
        for name, value, text in (
            ("queue", "a b", "queue: 1 to 64 of A-Z a-z 0-9 _ . -, not 'a b'"),
            ("call", "math", "call: write module:name or module:Class.method, not 'math'"),
            ("argv", "ls -l", "argv: a list of strings, at least the program's name, not 'ls -l'"),
            ("priority", 5000, "priority: an integer from -1000 to 1000, not 5000"),
            ("timeout", 0, "timeout: seconds above 0, up to 315360000, not 0"),
            ("lane", "gpu", "lane: 'cpu' or 'io', not 'gpu'"),
            ("notify", 1, "notify: true or false, not 1"),
            ("key", "a\tb", "key: 1 to 256 characters, none of them a control character, not 'a\\tb'"),
            ("stdin", {}, 'stdin: a string, or {"file": PATH}, not {}'),
            ("delay", None, "delay: seconds, 0 to 315360000, not null"),
        ):
            self.refused(BadValue, text, around(name, value))
        nested = "argv[1]: expected string, got integer; argv: a list of strings, at least the program's name"
        self.refused(BadValue, nested, {"argv": ["a", 5]})

    def test_rules_say_the_limits(self) -> None:
        """The limits in the words of the rules are those that are checked."""
        info = kinds.type_info(JobSpec)
        assert isinstance(info, kinds.StructType)
        for field in info.fields:
            whole = field.type
            for part in whole.types if isinstance(whole, kinds.UnionType) else [whole]:
                said = {
                    float(number) for number in re.findall(r"(?<![\w-])-?[0-9]+(?![\w-]| \w\. )", RULES[field.name])
                }
                for limit in ("ge", "gt", "le", "max_length"):
                    bound = getattr(part, limit, None)
                    if bound is not None and field.name != "call":
                        self.assertIn(bound, said, field.name)

    def test_unknown(self) -> None:
        """An unknown field is BAD_FIELD, with a guess; also inside stdin."""
        self.refused(BadField, "unknown field 'prioirty'; did you mean 'priority'?", {"argv": ["a"], "prioirty": 5})
        self.refused(BadField, "unknown field 'xyzzy'", {"argv": ["a"], "xyzzy": 5})
        self.refused(BadField, "unknown field 'path' in stdin", {"argv": ["a"], "stdin": {"path": "x"}})
        for name in FIELDS:
            with self.assertRaises(BadField) as caught:
                parse_submission(wire.to_json({"argv": ["a"], name + "x": 1}))
            self.assertIn("; did you mean '", str(caught.exception))

    def test_nul(self) -> None:
        """No string holds a NUL, wherever it stands, but text for stdin and the arguments of a call."""
        for job in (
            {"argv": ["a\0"]},
            {"shell": "a\0"},
            {"pickle": "a\0"},
            {"argv": ["a"], "cwd": "/a\0"},
            {"argv": ["a"], "env": {"A\0": "b"}},
            {"argv": ["a"], "env": {"A": "b\0"}},
            {"argv": ["a"], "stdin": {"file": "a\0"}},
            {"argv": ["a"], "stdout": "a\0"},
            {"argv": ["a"], "stderr": "a\0"},
            {"argv": ["a"], "priority": 3, "env": {"A": "b", "C": None}, "cwd": "/a\0"},
        ):
            name = list(job)[-1]
            self.refused(BadValue, f"{name}: holds a NUL character", job)
        with self.assertRaises(BadJson):
            parse_submission(b'{"argv": ["a\0"]}')

    def test_deep(self) -> None:
        """The arguments of a call may be nested a hundred levels deep, not more, however wide."""

        def nested(levels: int) -> list[Any]:
            value: list[Any] = []
            for _ in range(levels - 1):
                value = [{}, value]
            return value

        parse_job(wire.to_json({"call": "m:f", "args": nested(DEEPEST)}))
        parse_job(wire.to_json({"call": "m:f", "kwargs": {"a": [[]] * 500}}))
        text = "args and kwargs: lists and objects in them are more than 100 levels deep"
        for fields in ({"args": nested(DEEPEST + 1)}, {"kwargs": {"a": nested(DEEPEST)}}):
            self.refused(BadValue, text, {"call": "m:f", **fields})
        self.refused(BadValue, text, b'{"call": "m:f", "kwargs": %s1%s}' % (b'{"a":' * 101, b"}" * 101))
        with self.assertRaises(BadJson):
            parse_submission(b'{"call": "m:f", "args": %s}' % (b"[" * 100_000))

    def test_numbers_out_of_range(self) -> None:
        """A number in a call's arguments that nothing could read again is refused now."""
        self.refused(BadValue, "args[0]: number out of range; args: a list", b'{"call": "m:f", "args": [1e999]}')


class JobTests(Cases):
    """What concerns more than one field."""

    def test_kinds(self) -> None:
        """A job is exactly one of four kinds."""
        text = "a job has exactly one of argv, shell, call, pickle; this one has "
        self.refused(BadValue, text + "none", {})
        self.refused(BadValue, text + "several", {"argv": ["a"], "shell": "a"})
        self.refused(BadValue, text + "several", {"call": "m:f", "pickle": "gA=="})

    def test_commands(self) -> None:
        """What belongs to calls is refused for commands."""
        for job in ({"argv": ["a"]}, {"shell": "a"}):
            for more in OF_CALLS:
                self.refused(BadValue, "args, kwargs and lane belong to call, not to a command", {**job, **more})

    def test_calls(self) -> None:
        """What belongs to commands is refused for calls."""
        for job in ({"call": "m:f"}, {"pickle": "gA=="}):
            for more in ({"stdin": "x"}, {"stdout": None}, {"stderr": "x"}):
                self.refused(BadValue, "stdin, stdout and stderr belong to commands, not to a call", {**job, **more})

    def test_pickles(self) -> None:
        """A pickle carries its own arguments."""
        for more in OF_CALLS[:2]:
            self.refused(
                BadValue, "args and kwargs belong to call: a pickle carries its own", {"pickle": "gA==", **more}
            )

    def test_lanes(self) -> None:
        """A job of lane io has no environment of its own; only it may be a call that takes no place."""
        text = "env: jobs of lane io share one process and cannot have an environment each"
        self.refused(BadValue, text, {"call": "m:f", "lane": "io", "env": {"A": "b"}})
        text = "cpus: a call takes a place of its own; 0 is for commands and for lane io"
        self.refused(BadValue, text, {"call": "m:f", "cpus": 0})
        for job in (
            {"call": "m:f", "lane": "io", "cpus": 0},
            {"argv": ["a"], "cpus": 0},
            {"call": "m:f", "env": {"A": "b"}},
        ):
            parse_submission(wire.to_json(job))

    def test_cwd(self) -> None:
        """A cwd is absolute, in the way of either system."""
        for path in ("data", "./data", "~", "C:data", "\\data"):
            self.refused(BadValue, f"cwd: must be an absolute path, not {path!r}", {"argv": ["a"], "cwd": path})

    def test_program(self) -> None:
        """A program has a name."""
        self.refused(BadValue, "argv: the program's name is empty", {"argv": ["", "x"]})

    def test_variables(self) -> None:
        """A variable's name is not empty and has no equals sign."""
        for name in ("", "A=B", "="):
            self.refused(BadValue, f"env: {name!r} is not the name of a variable", {"argv": ["a"], "env": {name: "x"}})

    def test_one_line(self) -> None:
        """A job that came in several lines is kept in one."""
        self.assertEqual(b'{"argv":["a"]}', parse_job(b'{\n"argv":\n ["a"]}').json)


class SubmissionTests(Cases):
    """One job, or a list of them."""

    def test_forms(self) -> None:
        """An object is one job; a list holds one or more, in their order."""
        self.assertEqual(1, len(parse_submission(b' {"argv": ["a"]} ')))
        many = parse_submission(b'[{"argv": ["a"]}, {"shell": "b"}]')
        self.assertEqual([b'{"argv": ["a"]}', b'{"shell": "b"}'], [one.json for one in many])
        self.assertEqual((["a"], "b"), (many[0].spec.argv, many[1].spec.shell))

    def test_others(self) -> None:
        """Anything else is no submission."""
        text = 'submit takes a JSON object, as {"argv": ["echo", "hello"]}, or a list of them'
        for argument in (b"", b"5", b"null", b"echo hello", b'"x"'):
            self.refused(BadJson, text, argument)
        self.refused(BadValue, "the list of jobs is empty", b"[]")

    def test_place(self) -> None:
        """In a list the mistake's place is told, from 1, and its code is that of the mistake."""
        good = b'{"argv": ["a"]}'
        self.refused(BadField, "job 2 of 3: unknown field 'x'", b'[%s, {"x": 1}, %s]' % (good, good))
        self.refused(BadValue, "job 1 of 1: expected object, got integer", b"[5]")
        text = "job 2 of 2: a job has exactly one of argv, shell, call, pickle; this one has none"
        self.refused(BadValue, text, b"[%s, {}]" % good)

    def test_not_json(self) -> None:
        """JSON that cannot be read is BAD_JSON."""
        for argument in (
            b'{"argv": ["a"]',
            b'[{"argv": ["a"]}',
            b'{"argv": ["a"]} x',
            b"{argv: a}",
            b'{"argv": ["\xff"]}',
        ):
            with self.assertRaises(BadJson):
                parse_submission(argument)

    @bounded(300)
    @given(
        st.dictionaries(
            st.sampled_from(FIELDS),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                max_leaves=5,
            ),
        )
    )
    def test_whatever(self, job: dict[str, Any]) -> None:
        """Any object is a job or an error, and what is accepted is read again as the same."""
        json = wire.to_json(job)
        try:
            found = parse_job(json)
        except (BadJson, BadField, BadValue) as problem:
            self.assertLess(len(wire.error(b"", problem)), 1000)
        else:
            self.assertEqual(found, parse_job(found.json))
            again = parse_kept(found.json)
            self.assertEqual(msgspec.structs.asdict(found.spec), msgspec.structs.asdict(again))
            self.assertEqual(plan_of(found.spec), plan_of(again))

    def test_kept(self) -> None:
        """What the disk has made something else of is refused when it is read again."""
        for json in (
            b"",
            b"{",
            b"[1]",
            b"{}",
            b'{"argv": 5}',
            b'{"brgv": ["a"]}',
            b'{"argv": ["a"], "shell": "b"}',
            b'{"argv": ["\xff"]}',
            b'{"argv": ["a"], "cpus": -1}',
            b'{"argv": ["a"],\n"cwd": "/"}',
            b'{"call": "m:f", "args": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        ):
            with self.assertRaises((ValueError, RecursionError)):
                parse_kept(json)


class ShortTests(TestCase):
    """The short forms."""

    def refused(self, parse: Any, argument: bytes, kind: type[JobdError], text: str) -> None:
        with self.assertRaises(kind) as caught:
            parse(argument)
        self.assertEqual(text, str(caught.exception))

    def test_run(self) -> None:
        """run splits words as a shell does, and runs none."""
        for argument, argv in (
            ('sort -u "my file.txt"', ["sort", "-u", "my file.txt"]),
            ("echo 'a b' c\\ d $HOME # > x", ["echo", "a b", "c d", "$HOME", "#", ">", "x"]),
            ("echo ''", ["echo", ""]),
            ("é", ["é"]),
        ):
            (one,) = parse_run(argument.encode())
            self.assertEqual(argv, one.spec.argv)

    @bounded(500)
    @given(st.text("ab \t\n\r\\'\"é#\x0b\u2028"))
    def test_words(self, text: str) -> None:
        """The words are those that shlex finds; where it finds none there is an error."""
        try:
            expected: list[str] | None = shlex.split(text)
        except ValueError:
            expected = None
        try:
            found: list[str] | None = spec.split_words(text)
        except BadValue:
            found = None
        self.assertEqual(expected, found)

    def test_a_long_word(self) -> None:
        """A word of a megabyte is split as fast as many short ones: shlex took a quarter of a minute for it."""
        for text in ("a" * 1_000_000, '"' + "a" * 999_998 + '"', "'" + "a" * 999_998 + "'"):
            self.assertEqual([text.strip("\"'")], spec.split_words(text))
        self.assertRaises(BadValue, spec.split_words, '"' + "a" * 1_000_000)

    def test_run_wrong(self) -> None:
        """Without words, or with a quote that is not closed, it says so."""
        hint = "run takes a program and its arguments, as: run echo hello"
        self.refused(parse_run, b"  ", BadValue, hint)
        self.refused(parse_run, b"echo 'a", BadValue, "the words cannot be split: no closing quotation")
        self.refused(parse_run, b"echo \\", BadValue, "the words cannot be split: no escaped character")
        self.refused(parse_run, b"''", BadValue, "argv: the program's name is empty")
        self.refused(parse_run, b"echo \0", BadValue, "argv: holds a NUL character")

    def test_sh(self) -> None:
        """sh takes the line as it is."""
        (one,) = parse_sh('make "é" > x; exit 3 '.encode())
        self.assertEqual('make "é" > x; exit 3 ', one.spec.shell)
        self.refused(parse_sh, b" ", BadValue, "sh takes a line for the shell, as: sh make all > build.log")
        self.refused(parse_sh, b"a\0", BadValue, "shell: holds a NUL character")

    def test_call(self) -> None:
        """call takes a callable and nothing, a list or an object."""
        for argument, args, kwargs in (
            (b"math:factorial [20]", [20], UNSET),
            (b'm:f {"a": [1]}', UNSET, {"a": [1]}),
            (b" m:f ", UNSET, UNSET),
            (b"m:f   []", [], UNSET),
        ):
            (one,) = parse_call(argument)
            whole = parse_job(one.json)
            self.assertEqual((args, kwargs), (whole.spec.args, whole.spec.kwargs))
            self.assertEqual((whole.plan, whole.plain, whole.spec.call), (one.plan, one.plain, one.spec.call))

    def test_call_wrong(self) -> None:
        """Else it says what it takes; the arguments are one JSON value and nothing behind it."""
        self.refused(parse_call, b"", BadValue, "call takes a callable and its arguments, as: call math:factorial [20]")
        hint = "the arguments of a call are a JSON list or object, as: call math:factorial [20]"
        self.refused(parse_call, b"m:f 5", BadJson, hint)
        self.refused(parse_call, b"m:f x", BadJson, hint)
        self.refused(parse_call, b"m [5]", BadValue, "call: write module:name or module:Class.method, not 'm'")
        self.refused(parse_call, b"m:f [1e999]", BadValue, "args[0]: number out of range; args: a list")
        deep = "args and kwargs: lists and objects in them are more than 100 levels deep"
        self.refused(parse_call, b"m:f " + b"[" * 101 + b"]" * 101, BadValue, deep)
        for rest in (b"[1", b"[1]]", b'[1], "priority": 5', b"[1]}", b"{1}"):
            with self.assertRaises(BadJson):
                parse_call(b"m:f " + rest)


class RememberedTests(TestCase):
    """Names that have been looked at are not looked at again."""

    def test_many(self) -> None:
        """However many there are, as many are remembered as may be, and each is judged as before."""
        self.patch(spec, "_NAMES", 2)
        for number in (1, 2, 3, 1):
            (one,) = parse_call(b"m%d:f [1]" % number)
            self.assertEqual((f"m{number}:f", [1]), (one.spec.call, parse_job(one.json).spec.args))
            self.assertEqual(b'{"call": "m%d:f", "args": [1]}' % number, one.json)
            with self.assertRaises(BadValue):
                parse_call(b"m%d [1]" % number)
        self.assertLessEqual(max(len(spec._called), len(spec._well_named)), 2)


class DigestTests(TestCase):
    """The fingerprint of a job with a key."""

    def test_same(self) -> None:
        """It is the same for the same job, however that is written."""
        first = digest(b'{"argv":["a"],"env":{"A":"b","C":"d"},"timeout":5,"key":"k"}')
        for other in (
            b'{ "key": "k", "timeout": 5.0, "env": {"C": "d", "A": "b"}, "argv": ["\\u0061"] }',
            b'{"argv":["a"],"env":{"A":"b","C":"d"},"timeout":5,"key":"k","notify":false}',
            b'{"argv":["a"],"env":{"A":"b","C":"d"},"timeout":5,"key":"k","priority":0,"queue":"default","label":null}',
            b'{"argv":["a"],"env":{"A":"b","C":"d"},"timeout":5,"key":"k","after":[],"grace":5,"attempts":1}',
        ):
            self.assertEqual(first, digest(other))

    def test_others(self) -> None:
        """It is another one if any field but notify is."""
        base = {"argv": ["true"], "key": "k"}
        first = digest(wire.to_json(base))
        same = {"argv", "shell", "call", "pickle", "args", "kwargs", "lane", "notify"}
        seen = {first, digest(b'{"argv":["false"],"key":"k"}'), digest(b'{"shell":"true","key":"k"}')}
        for count, name in enumerate(sorted(set(FIELDS) - same), 4):
            seen.add(digest(wire.to_json({**base, name: RIGHT[name][-1]})))
            self.assertEqual(count, len(seen), name)

    def test_kept(self) -> None:
        """Fingerprints are in stores, as integers of 64 bits: this one never changes."""
        found = digest(b'{"argv":["a","b"],"timeout":5,"key":"k"}')
        self.assertEqual(-3670895605539672824, found)


class ShownTests(TestCase):
    """What is made of a job that was submitted."""

    def test_show(self) -> None:
        """Of the environment only the names are shown."""
        self.assertEqual(
            {"argv": ["a"], "env": ["A", "B"]}, spec.for_show(b'{"argv": ["a"], "env": {"B": "x", "A": null}}')
        )
        self.assertEqual({"argv": ["a"]}, spec.for_show(b'{"argv": ["a"]}'))

    def test_retry(self) -> None:
        """A retry is the same job without what belonged to its first submission."""
        json = b'{"argv":["a"],"key":"k","after":[1],"delay":5,"notify":false,"priority":3,"group":"g"}'
        self.assertEqual({"argv": ["a"], "priority": 3, "group": "g"}, msgspec.json.decode(spec.for_retry(json)))

    def test_with_after(self) -> None:
        """The ids in after are replaced, in the form they had."""
        self.assertEqual(
            b'{"argv":["a"],"after":[7,3]}', spec.with_after(b'{"argv":["a"],"after":[-1,3]}', {7: "ok", 3: "ok"})
        )
        found = spec.with_after(b'{"argv":["a"],"after":{"-1":"any"}}', {7: "any"})
        self.assertEqual(b'{"argv":["a"],"after":{"7":"any"}}', found)

    def test_what(self) -> None:
        """What a job does is told in one short line."""
        for json, text in (
            (b'{"argv": ["sort", "-u", "my file"]}', "sort -u 'my file'"),
            (b'{"shell": "make\\n  all"}', "make all"),
            (b'{"call": "m:f", "args": [1]}', "m:f"),
            (b'{"pickle": "gA=="}', "a pickled call"),
            (b'{"shell": "%s"}' % (b"x" * 80), "x" * 80),
            (b'{"shell": "%s"}' % (b"x" * 81), "x" * 79 + "…"),
        ):
            self.assertEqual(text, spec.what(json))

    def test_queue_names(self) -> None:
        """A queue's name is the same in a job and as an argument."""
        for name in ("a", "A-Z_0.9", "x" * 64):
            self.assertTrue(spec.QUEUE_NAME.match(name))
        for name in ("", "a b", "x" * 65, "a\n", "*", "é"):
            self.assertIsNone(spec.QUEUE_NAME.match(name))
