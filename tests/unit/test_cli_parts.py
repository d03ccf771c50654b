"""The parts of jobctl that need no daemon."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

import jobd
from jobd.cli import exits, tables
from jobd.cli.main import COMMANDS, main, parser_for
from jobd.cli.mapping import replaced
from jobd.cli.parsing import fields, seconds
from jobd.client.outcome import FINAL, Outcome
from jobd.errors import UsageError

ROOT = str(Path(jobd.__file__).parent.parent)


class Starting(TestCase):
    """What it costs to start."""

    def test_no_heavy_imports(self) -> None:
        """No command imports Twisted, msgspec, attrs or another part of jobd that needs them."""
        program = (
            "import sys; from jobd.cli.main import COMMANDS, load; [load(name) for name in COMMANDS];"
            "import jobd.client.dial, jobd.client.session;"
            "heavy = 'twisted zope msgspec attr attrs asyncio ssl cloudpickle subprocess concurrent'.split();"
            "print(*sorted({name.partition('.')[0] for name in sys.modules}.intersection(heavy)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ROOT, "PATH": os.environ["PATH"]},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual("", done.stdout.strip())


class Complaints(TestCase):
    """What is wrong is said in one line, with the exit code 125."""

    def jobctl(self, *words: str) -> tuple[int, str]:
        """The exit code and the standard error."""
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        return main(words), errors.getvalue()

    def test_usage(self) -> None:
        """Wrong words, options and URLs."""
        for words, said in (
            (["lst"], "did you mean 'list'"),
            (["run"], "a command is missing"),
            (["run", "--"], "a command is missing"),
            (["list", "--stat", "failed"], "--stat"),
            (["--bad", "list"], "--bad"),
            (["run", "--timeout", "soon", "true"], "'soon' is no time"),
            (["run", "--priority", "high", "true"], "--priority"),
            (["run", "--after", "17:maybe", "true"], "17:maybe"),
            (["run", "--env", "NO_SUCH_VARIABLE_HERE", "--url", "jobd+unix:///x", "true"], "no such variable"),
            (["--url", "http://x", "stats"], "does not speak HTTP"),
            (["--url", "jobd+unix:///no/such.sock", "stats"], "twistd jobd"),
            (["--url", "jobd+unix:///no/such.sock", "run", "true"], "twistd jobd"),
            (["queue"], "name"),
            (["completion", "csh"], "csh"),
            (["map", "-j", "0", "echo", ":::", "a"], "-j"),
            (["--url", "jobds://h", "--tls-key", "k", "stats"], "certificate"),
        ):
            code, text = self.jobctl(*words)
            self.assertEqual(125, code)
            self.assertIn(said, text)
            self.assertTrue(text.startswith("jobctl: "))
            self.assertEqual(1, text.count("\n"))

    def test_nothing(self) -> None:
        """Without a command: the help, on standard error."""
        code, text = self.jobctl()
        self.assertEqual(125, code)
        for name in COMMANDS:
            self.assertIn(f"\n  {name} ", text)

    def test_help(self) -> None:
        """Every command has help, which is no error."""
        for words in (["--help"], *([name, "--help"] for name in COMMANDS)):
            self.patch(sys, "stdout", io.StringIO())
            self.assertEqual(0, self.assertRaises(SystemExit, main, words).code)


class Codes(TestCase):
    """Exit codes."""

    def test_success_alone_is_0(self) -> None:
        """No other state is 0, whatever the process said."""
        for state in FINAL:
            code = exits.exit_code(Outcome(1, 1, state, {"exit_code": 0}))
            self.assertEqual(state == "succeeded", code == 0)

    def test_codes(self) -> None:
        """The job's own code where it ended by itself; else the one documented."""
        for state, data, code in (
            ("failed", {"exit_code": 3}, 3),
            ("failed", {"exit_code": 137, "signal": "SIGKILL"}, 137),
            ("failed", {"exit_code": 127, "error": "not found"}, 127),
            ("failed", {}, 1),
            ("timed_out", {"exit_code": 143}, 124),
            ("lost", {}, 125),
            ("skipped", {"because": 3}, 125),
            ("cancelled", {}, 143),
        ):
            self.assertEqual(code, exits.exit_code(Outcome(1, 1, state, data)))


class Fields(TestCase):
    """Options to job fields."""

    def parse(self, *words: str) -> dict[str, object]:
        return fields(parser_for("run").parse_args([*words, "true"]), lambda: 99)

    def test_all(self) -> None:
        """Each option sets its field."""
        found = self.parse(
            *shlex.split("-q gpu -p -5 --delay 1.5m --timeout 90 --grace 0.5 --attempts 3 --backoff 2s"),
            *shlex.split("--key k -g g -l l --cpus 0 -C /x --stdin in --stdout out --stderr '&1'"),
        )
        expected = {
            "queue": "gpu",
            "priority": -5,
            "delay": 90,
            "timeout": 90,
            "grace": 0.5,
            "attempts": 3,
            "backoff": 2,
            "key": "k",
            "group": "g",
            "label": "l",
            "cpus": 0,
            "cwd": "/x",
            "stdin": {"file": "in"},
            "stdout": "out",
            "stderr": "&1",
        }
        self.assertEqual(expected, found)
        self.assertEqual({}, self.parse())

    def test_after(self) -> None:
        """Ids with policies, several at once, and the newest job."""
        self.assertEqual(
            {"17": "ok", "18": "failed", "20": "any", "99": "ok"},
            self.parse("--after", "17,18:failed", "--after", "20:any,last")["after"],
        )

    def test_env(self) -> None:
        """Variables with a value, or as they are here."""
        self.patch(os, "environ", {**os.environ, "COLOUR": "red"})
        self.assertEqual(
            {"A": "b=c", "COLOUR": "red", "E": ""}, self.parse("-e", "A=b=c", "-e", "COLOUR", "-e", "E=")["env"]
        )
        self.assertRaises(UsageError, self.parse, "-e", "NO_SUCH_VARIABLE_HERE")
        self.assertRaises(UsageError, self.parse, "-e", "=x")

    def test_times(self) -> None:
        """Seconds, or another unit."""
        for text, value in (("90", 90), ("0.5", 0.5), ("2m", 120), ("1.5h", 5400), ("1d", 86400), ("3s", 3)):
            self.assertEqual(value, seconds(text))

    def test_the_command_keeps_its_options(self) -> None:
        """What follows the command's name is the command's, whatever it looks like."""
        args = parser_for("run").parse_args(["-q", "gpu", "ls", "-q", "--json", "--", "x"])
        self.assertEqual(("gpu", ["ls", "-q", "--json", "--", "x"], False), (args.queue, args.words, "json" in args))


class Replacing(TestCase):
    """Inputs into commands."""

    def test_marks(self) -> None:
        """The whole input, its parts, and its number."""
        for word, result in (
            ("{}", "a/b.tar.gz"),
            ("{.}", "a/b.tar"),
            ("{/}", "b.tar.gz"),
            ("{//}", "a"),
            ("{/.}", "b.tar"),
            ("{#}", "7"),
            ("x{}y{#}{", "xa/b.tar.gzy7{"),
            ("{x}", "{x}"),
            ("{{}}", "{a/b.tar.gz}"),
        ):
            self.assertEqual(result, replaced(word, "a/b.tar.gz", 7))
        self.assertEqual(".", replaced("{//}", "b", 1))


class Tables(TestCase):
    """What people see."""

    def test_columns(self) -> None:
        """Columns are aligned; those with nothing in them are left out."""
        jobs = [
            {"id": 9, "state": "succeeded", "attempt": 1, "queue": "default", "submitted": 100.0, "what": "true"},
            {
                "id": 10,
                "state": "running",
                "attempt": 2,
                "queue": "gpu",
                "submitted": 100.0,
                "started": 190.0,
                "what": "sleep 60",
            },
        ]
        self.assertEqual(
            [
                "ID  STATE      TRY  AGE   TOOK  QUEUE  WHAT",
                " 9  succeeded       1.7m               true",
                "10  running    2    1.7m  10s   gpu    sleep 60",
            ],
            tables.jobs_table(jobs, now=200.0),
        )
        self.assertEqual([], tables.jobs_table([]))

    def test_durations(self) -> None:
        """From milliseconds to days."""
        for value, text in (
            (0.03, "30ms"),
            (1.26, "1.3s"),
            (12.4, "12s"),
            (300, "5.0m"),
            (6100, "1.7h"),
            (900_000, "10d"),
        ):
            self.assertEqual(text, tables.duration(value))

    def test_properties(self) -> None:
        """An object, one line for each of its values, what is inside it indented."""
        values = {"id": 1, "outcome": {"ok": True, "text": "a\nb"}, "none": None, "list": [1], "empty": {}}
        self.assertEqual(
            [
                "id:      1",
                "outcome:",
                "  ok:   yes",
                "  text: \n    a\n    b",
                "none:    -",
                "list:    [1]",
                "empty:   {}",
            ],
            tables.properties(values),
        )


class Completion(TestCase):
    """Completion scripts."""

    def test_scripts(self) -> None:
        """Each knows every command and its options; bash and fish at least accept theirs."""
        for shell in ("bash", "zsh", "fish"):
            done = subprocess.run(
                [sys.executable, "-m", "jobd.cli", "completion", shell],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            for name in COMMANDS:
                self.assertIn(name, done.stdout)
            self.assertIn("keep-order", done.stdout)
            if shell == "bash":
                subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
                script = done.stdout + '\nCOMP_WORDS=(jobctl ru); COMP_CWORD=1; _jobctl; echo "${COMPREPLY[@]}"'
                script += '\nCOMP_WORDS=(jobctl --url x map --ke); COMP_CWORD=4; _jobctl; echo "${COMPREPLY[@]}"'
                tried = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
                self.assertEqual("run\n--keep-order --key\n", tried.stdout)
