"""
Bad input: each has its documented error or outcome, and the connection, other jobs and the daemon do not notice.

Every test here ends by checking that a job that ran all the while is untouched, that the connection is in
step, and that the daemon has logged no bug.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from jobd import wire
from jobd.job import JobSpec
from tests.functional.conversation import Talk
from tests.functional.shared import shared_daemon

WRONG: dict[str, tuple[Any, ...]] = {
    "argv": ("ls", [], [1], None, [""], {}, ["a\0b"]),
    "shell": ("", 5, ["ls"], None, "a\0b"),
    "call": ("", "math", "math:", ":f", "math:f g", "math:f:g", 5, None, "m:f\0", "1m:f", "x" * 600 + ":f"),
    "args": ("x", {}, 5, None),
    "kwargs": ([], "x", None),
    "pickle": ("", 5, None),
    "cwd": ("", "relative", 5, "/a\0b"),
    "env": ([], "A=b", {"A": 5}, {"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0"}, None),
    "stdin": (5, None, [], {}, {"file": ""}, {"file": 5}, {"path": "x"}, {"file": "x", "y": 1}, {"file": "a\0b"}),
    "stdout": ("", 5, {}, "a\0b"),
    "stderr": ("", 5, {}, "a\0b"),
    "queue": ("", "a b", "x" * 65, 5, None, "q\0", "caf\xe9", "a/b"),
    "priority": (-1001, 1001, 1.5, "1", None, 10**30),
    "delay": (-1, "1", None, 315_360_001, 1e300),
    "after": (5, "x", None, [0], [-1], ["x"], {"x": "ok"}, {"1": "maybe"}, [1.5], [10**30]),
    "timeout": (0, -1, "1", 315_360_001, True),
    "grace": (-1, "1", None, 86_401),
    "attempts": (0, 1001, 1.5, "1", None),
    "backoff": (-1, "1", None, 86_401),
    "key": ("", "x" * 257, 5, "a\nb", "a\0b"),
    "group": ("", "x" * 129, 5, "a\tb"),
    "label": ("", "x" * 129, 5, "a\x7fb"),
    "cpus": (-1, 1025, 1.5, "1", None, True),
    "lane": ("gpu", 5, None, ""),
    "notify": (1, "true", None),
}
"""Values that a field does not take."""

FOR_CALLS = ("args", "kwargs", "lane")


class BadInput(SynchronousTestCase):
    """One connection, on which a job runs from the beginning to the end of each test."""

    def setUp(self) -> None:
        self.daemon = shared_daemon()
        self.talk = Talk.unix(self.daemon)
        self.addCleanup(self.talk.close)
        self.marks = len(self.daemon.lines)
        self.running = self.talk.submit(argv=["sleep", "1000"], cpus=0)
        self.addCleanup(self.check)

    def check(self) -> None:
        self.assertEqual("x", self.talk.ok("ping x"))
        self.assertEqual("running", self.talk.state(self.running))
        self.talk.ok(f"cancel {self.running}")
        self.assertEqual("cancelled", self.talk.end_of(self.running).state)
        bugs = [line for line in self.daemon.lines[self.marks :] if "Traceback" in line or "Unhandled" in line]
        self.assertEqual([], bugs)

    def refused(self, line: str | bytes, *codes: str) -> str:
        """The error's text; nothing was accepted."""
        answer = self.talk.ask(line)
        word, _, rest = answer.partition(" ")
        code, _, text = rest.partition(" ")
        self.assertEqual("error", word, (line[:200], answer))
        self.assertIn(code, codes, (line[:200], answer))
        self.assertTrue(text)
        self.assertLess(len(answer), 1000)
        return text

    def job(self, **fields: Any) -> str:
        return "submit " + json.dumps(fields)


class Fields(BadInput):
    """The fields of a job."""

    def test_every_field_has_its_wrong_values(self) -> None:
        """There are wrong values here for each field."""
        self.assertEqual(set(JobSpec.__struct_fields__), set(WRONG))

    def test_wrong_values(self) -> None:
        """A value of the wrong type or out of range is an error that names the field; nothing is accepted."""
        before = self.talk.json("stats")["jobs"]
        for field, values in WRONG.items():
            for value in values:
                plain: dict[str, Any] = {"call": "math:sqrt"} if field in FOR_CALLS else {"argv": ["true"]}
                if field in ("argv", "shell", "call", "pickle"):
                    plain = {}
                text = self.refused(self.job(**plain, **{field: value}), "BAD_VALUE", "BAD_FIELD")
                self.assertIn(field, text, value)
        self.assertEqual(before, self.talk.json("stats")["jobs"])

    def test_unknown(self) -> None:
        """An unknown field is named, with the one that was probably meant."""
        for name, meant in (
            ("prioirty", "priority"),
            ("Argv", "argv"),
            ("comand", ""),
            ("timeouts", "timeout"),
            ("id", ""),
        ):
            text = self.refused(self.job(argv=["true"], **{name: 1}), "BAD_FIELD")
            self.assertIn(f"unknown field '{name}'", text)
            if meant:
                self.assertIn(f"did you mean '{meant}'?", text)

    def test_which_do_not_go_together(self) -> None:
        """Fields that do not go together are refused."""
        for fields in (
            {},
            {"argv": ["a"], "shell": "a"},
            {"call": "m:f", "pickle": "x"},
            {"argv": ["a"], "args": []},
            {"shell": "a", "lane": "io"},
            {"pickle": "x", "kwargs": {}},
            {"call": "m:f", "stdin": "x"},
            {"call": "m:f", "stdout": "x"},
            {"call": "m:f", "lane": "io", "env": {"A": "b"}},
            {"call": "m:f", "cpus": 0},
        ):
            self.refused(self.job(**fields), "BAD_VALUE")

    def test_all_or_none(self) -> None:
        """Of a list with one bad job none is accepted, and the error says which one it is."""
        before = self.talk.json('list {"newest": true, "limit": 1}')
        text = self.refused('submit [{"argv": ["true"]}, {"argv": []}, {"argv": ["true"]}]', "BAD_VALUE")
        self.assertIn("job 2 of 3", text)
        self.refused('submit [{"argv": ["true"]}, {"argv": ["true"], "after": [-2]}]', "BAD_VALUE")
        self.refused('submit [{"argv": ["true"], "key": "two"}, {"argv": ["false"], "key": "two"}]', "CONFLICT")
        self.refused("submit []", "BAD_VALUE")
        self.assertEqual(before, self.talk.json('list {"newest": true, "limit": 1}'))

    def test_cycles(self) -> None:
        """A cycle cannot be written down: only jobs that exist, or stand before in the list, can be named."""
        newest = self.talk.submit(argv=["true"])
        self.talk.end_of(newest)
        self.refused(self.job(argv=["true"], after=[newest + 1]), "NO_SUCH_JOB")
        self.refused('submit [{"argv": ["true"], "after": [-1]}, {"argv": ["true"]}]', "BAD_VALUE")
        self.refused(
            f'submit [{{"argv": ["a"], "after": [{newest + 2}]}}, {{"argv": ["b"], "after": [-1]}}]', "NO_SUCH_JOB"
        )
        self.refused(self.job(argv=["true"], after=[0]), "BAD_VALUE")

    def test_after_a_job_that_has_failed(self) -> None:
        """A job after one that has failed already is skipped at once, and says because of which."""
        failed = self.talk.run(shell="exit 1").job_id
        event = self.talk.run(argv=["true"], after=[failed])
        self.assertEqual(("skipped", {"because": failed}), (event.state, event.json))
        self.assertIn(f"because of job {failed}", self.talk.ok(f"why {event.job_id}"))

    def test_bad_json(self) -> None:
        """What is no JSON, or the wrong kind of it, is an error."""
        for text in (
            "{",
            "[",
            '{"argv": ["a"]',
            "nonsense",
            "5",
            '"x"',
            "null",
            '{"argv": ["a"]} x',
            "{'argv': []}",
            "[" * 100_000,
        ):
            self.refused(f"submit {text}", "BAD_JSON", "BAD_VALUE")
        self.refused("submit", "BAD_JSON", "BAD_VALUE")
        self.refused('submit {"argv": ["\\ud800"]}', "BAD_JSON", "BAD_VALUE")
        self.refused('submit {"shell": "\\u0000"}', "BAD_VALUE")

    def test_deep_arguments(self) -> None:
        """Arguments nested deeper than anybody needs end in an error or an outcome, not in a crash."""
        for depth in (100, 900, 5_000, 100_000):
            text = "[" * depth + "]" * depth
            answer = self.talk.ask('submit {"call": "builtins:len", "args": [' + text + "]}")
            if answer.startswith("ok"):
                self.assertIn(self.talk.end_of(int(answer.split()[1])).state, ("succeeded", "failed"))
            else:
                self.assertIn(answer.split()[1], ("BAD_JSON", "BAD_VALUE"))

    def test_short_forms(self) -> None:
        """run, sh and call say what they take."""
        for line, code in (
            ("run", "BAD_VALUE"),
            ('run "open', "BAD_VALUE"),
            ('run ""', "BAD_VALUE"),
            ("sh", "BAD_VALUE"),
            ("sh   ", "BAD_VALUE"),
            ("call", "BAD_VALUE"),
            ("call nonsense", "BAD_VALUE"),
            ("call math:sqrt 5", "BAD_JSON"),
            ("call math:sqrt [", "BAD_JSON"),
            ('call math:sqrt [2], "cwd": "/"', "BAD_JSON"),
            ("call math:sqrt [2]} x", "BAD_JSON"),
            ("call math:sqrt {", "BAD_JSON"),
        ):
            self.refused(line, code)


class Verbs(BadInput):
    """The arguments of the verbs."""

    def test_selectors(self) -> None:
        """Every verb with a selector refuses what is none, and ids that do not exist."""
        for verb in ("wait", "show", "cancel", "retry", "follow"):
            self.refused(verb, "BAD_VALUE")
            for text in (
                "x",
                "1-",
                "-1",
                "5-3",
                "1,,2",
                "[]",
                "[-1]",
                '["x"]',
                "1 2 x",
                "0x1",
                "9" * 30,
                '{"state": "gone"}',
            ):
                self.refused(f"{verb} {text}", "BAD_VALUE", "BAD_JSON", "BAD_FIELD")
            for text in ("{", "[1", '{"stat": "x"}', '{"ids": 5}'):
                self.refused(f"{verb} {text}", "BAD_JSON", "BAD_FIELD", "BAD_VALUE")
            for text in ("0", "999999999", f"{self.running},999999999", "999999998-999999999", "[999999999]"):
                self.refused(f"{verb} {text}", "NO_SUCH_JOB")
            for text in ("1-200000", "1-999999999999", json.dumps({"ids": "1-100001"})):
                self.refused(f"{verb} {text}", "TOO_MANY")

    def test_one_job(self) -> None:
        """Verbs that take one job refuse several, and what is none."""
        for verb in ("why", "output", "progress"):
            for text in ("", "x", "1-2", "1,2", "{}", '{"state": "running"}'):
                self.refused(f"{verb} {text}", "BAD_VALUE")
            self.refused(f"{verb} 999999999", "NO_SUCH_JOB")

    def test_options(self) -> None:
        """Options of the wrong type, out of range or unknown are refused."""
        one = self.running
        for line in (
            'watch {"since": -1}',
            'watch {"since": "x"}',
            'watch {"sicne": 1}',
            "watch x",
            'list {"limit": 0}',
            'list {"limit": 1001}',
            'list {"from": -1}',
            'list {"newest": 1}',
            'list {"state": "x"}',
            'list {"ids": "x"}',
            "list x",
            f'output {one} {{"stream": "stdin"}}',
            f'output {one} {{"limit": 0}}',
            f'output {one} {{"limit": 524289}}',
            f'output {one} {{"from": "x"}}',
            f'output {one} {{"from": 1e30}}',
            f'output {one} {{"attempt": 0}}',
            f"output {one} x",
            f'follow {one} {{"from": -1}}',
            f'follow {one} {{"stream": "x"}}',
            f"follow {one} x",
            f'progress {one} {{"done": "x"}}',
            f'progress {one} {{"what": 1}}',
            f'progress {one} {{"text": "{"x" * 1025}"}}',
            f"progress {one} x",
            'queue q {"limit": -1}',
            'queue q {"limit": "x"}',
            'queue q {"paused": 1}',
            'queue q {"size": 1}',
            "queue q x",
            "queue",
            "queue a/b",
            "pause a/b",
            "resume a b",
            "help nonsense",
        ):
            self.refused(line, "BAD_VALUE", "BAD_FIELD", "BAD_JSON")

    def test_large_numbers(self) -> None:
        """Numbers larger than anything there is are answered like any other."""
        one = self.running
        self.assertEqual("", self.talk.json(f'output {one} {{"from": {2**62}}}')["data"])
        self.assertEqual("", self.talk.json(f'output {one} {{"attempt": {2**62}}}')["data"])
        self.assertEqual([], self.talk.json(f'list {{"from": {2**62}}}')["jobs"])
        for line in (
            f'output {one} {{"from": {2**70}}}',
            f'output {one} {{"attempt": {2**70}}}',
            f'list {{"from": {2**70}}}',
            f'watch {{"since": {2**70}}}',
        ):
            answer = self.talk.ask(line)
            self.assertNotIn("INTERNAL", answer, line)

    def test_lines(self) -> None:
        """Lines that are no request are errors, and the next one is read."""
        for line, code in (
            (b"\xff\xfe", "SYNTAX"),
            (b"ping \xc3", "SYNTAX"),
            (b"# ping", "SYNTAX"),
            (b"#" + b"x" * 33 + b" ping", "SYNTAX"),
            (b"#a/b ping", "SYNTAX"),
            (b"PING", "UNKNOWN_VERB"),
            (b" ping", "UNKNOWN_VERB"),
            (b"\0", "UNKNOWN_VERB"),
            (b"#t", "UNKNOWN_VERB"),
            (b"x" * 100_000, "UNKNOWN_VERB"),
            (b"ping " + b"x" * wire.MAX_LINE, "TOO_LONG"),
            (b"\x1b[2J", "UNKNOWN_VERB"),
        ):
            if line.startswith(b"#t"):
                answer = self.talk.ask(line)
                self.assertTrue(answer.startswith("#t error UNKNOWN_VERB"), answer)
            else:
                self.refused(line, code)

    def test_descriptors(self) -> None:
        """A descriptor that comes with a request over a Unix socket goes nowhere, and the request is answered."""
        reader, writer = os.pipe()
        try:
            socket.send_fds(self.talk.sock, [b"ping y\n"], [writer])
        finally:
            os.close(writer)
        self.assertEqual("ok y", self.talk.line())
        with open(reader, "rb") as pipe:
            self.assertEqual(b"", pipe.read())

    def test_nothing_executable_in_an_error(self) -> None:
        """What an error repeats of the input has no control characters in it."""
        for line in (
            b"\x1b[31mred",
            b"show \x1b[31m",
            b'submit {"\\u001b[31m": 1}',
            b'submit {"argv": ["a"], "cwd": "\\u001b[31m"}',
        ):
            answer = self.talk.ask(line)
            self.assertTrue(answer.startswith("error"), answer)
            self.assertTrue(answer.isprintable(), repr(answer))

    def test_keys(self) -> None:
        """The same key with another job is an error, whichever field differs."""
        fields: dict[str, Any] = {"argv": ["true"], "key": f"{self.id()}-{self.running}"}
        first = self.talk.run(**fields).job_id
        self.assertEqual(first, self.talk.submit(**fields, notify=False))
        for other in ({"argv": ["false"]}, {"cwd": "/"}, {"priority": 1}, {"label": "x"}, {"timeout": 5}):
            text = self.refused(self.job(**{**fields, **other}), "CONFLICT")
            self.assertIn(f"belongs to job {first}", text)

    def test_what_is_gone(self) -> None:
        """A file that was given as output and is gone, or is a folder, is an outcome, not an error of the daemon."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        event = self.talk.run(argv=["true"], cwd=str(folder), stdout=".")
        self.assertEqual(("failed", 126), (event.state, event.json["exit_code"]))
