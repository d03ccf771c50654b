"""What an operator can choose, and what is said when the choice is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from jobd.errors import UsageError
from jobd.service import Options
from jobd.settings import NAMES, Settings, from_options, usable_cores


class SettingsTests(SynchronousTestCase):
    """Options of the command line and of a file."""

    def config(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    def problem(self, given: dict[str, Any], config: Path | None = None) -> str:
        return str(self.assertRaises(UsageError, from_options, given, config))

    def test_no_option(self) -> None:
        """Without any option there is a worker for each usable core, and 'ok' means on disk."""
        settings = from_options({}, None)
        self.assertEqual(
            (usable_cores(), "commit", "local", ()),
            (
                settings.workers,
                settings.durability,
                settings.pickle,
                settings.listen,
            ),
        )
        self.assertEqual(settings.state_dir / "token", settings.token_path)

    def test_every_option(self) -> None:
        """Each option has the meaning that its name says; paths become absolute."""
        given = {
            "listen": ["tcp:1", "unix:/x"],
            "state-dir": "state",
            "workers": "3",
            "token-file": "token",
            "tls-key": "key",
            "tls-cert": "cert",
            "tls-client-ca": "ca",
            "durability": "os",
            "pickle": "none",
            "on-stop": "keep",
            "output-limit": "100M",
            "keep-jobs": "7",
            "keep-days": "0.5",
        }
        self.assertEqual(set(NAMES), set(given))
        here = Path(os.getcwd())
        expected = Settings(
            ("tcp:1", "unix:/x"),
            here / "state",
            3,
            here / "token",
            here / "key",
            here / "cert",
            here / "ca",
            "os",
            "none",
            "keep",
            100 * 1024 * 1024,
            7,
            0.5,
        )
        self.assertEqual(expected, from_options(given, None))

    def test_sizes(self) -> None:
        """A size is a number of bytes, or has a unit; none is no limit, and anything else is refused."""
        sizes = {"1": 1, "7k": 7168, "3G": 3 << 30, "2T": 2 << 40, "none": 0}
        self.assertEqual(sizes, {text: from_options({"output-limit": text}, None).output_limit for text in sizes})
        self.assertEqual(500, from_options({}, self.config("output-limit = 500\n")).output_limit)
        for text in ("0", "-1", "1.5G", "G", "1 G", "1X", "", "1" * 20):
            self.assertIn("output-limit takes a number of bytes", self.problem({"output-limit": text}))

    def test_the_same_in_a_file(self) -> None:
        """A file takes the same names; what stands on the command line wins."""
        config = self.config('listen = "tcp:1"\nworkers = 3\nkeep-days = 1.5\nstate-dir = "/s"\n')
        settings = from_options({"workers": "5"}, config)
        self.assertEqual((("tcp:1",), 5, 1.5), (settings.listen, settings.workers, settings.keep_days))
        self.assertEqual(("tcp:1", "tcp:2"), from_options({}, self.config('listen = ["tcp:1", "tcp:2"]')).listen)

    def test_home(self) -> None:
        """A path may begin with the user's home."""
        self.assertEqual(Path.home() / "s", from_options({"state-dir": "~/s"}, None).state_dir)

    def test_wrong_values(self) -> None:
        """Each wrong value is named, with what it should be."""
        for given, text in (
            ({"workers": "0"}, "workers takes a number from 1 on, not '0'"),
            ({"workers": "two"}, "workers takes a number from 1 on, not 'two'"),
            ({"workers": True}, "workers takes a number"),
            ({"keep-jobs": "-1"}, "keep-jobs takes a number from 1 on"),
            ({"keep-days": "-0.1"}, "keep-days takes a number from 0 on"),
            ({"keep-days": "nan"}, "keep-days takes a number from 0 on"),
            ({"workers": 2.5}, "workers takes a number from 1 on, not 2.5"),
            ({"workers": float("inf")}, "workers takes a number from 1 on, not inf"),
            ({"state-dir": "~nobody.of.this.name/x"}, "whose home '~nobody.of.this.name/x' could begin with"),
            ({"state-dir": "a\0b"}, "state-dir takes a path, not 'a\\x00b'"),
            ({"durability": "maybe"}, "durability is one of commit, os, memory, not 'maybe'"),
            ({"pickle": "some"}, "pickle is one of local, all, none"),
            ({"state-dir": 5}, "state-dir takes a path"),
            ({"listen": [1]}, "listen takes endpoint strings"),
            ({"tls-key": "k"}, "TLS needs both --tls-key and --tls-cert"),
            ({"tls-client-ca": "k"}, "--tls-client-ca needs --tls-key"),
        ):
            self.assertIn(text, self.problem(given))

    def test_wrong_files(self) -> None:
        """A file that cannot be read, is not TOML or names an option that there is not is one clear line."""
        for config, text in (
            (Path("/no/such/file"), "cannot be read: No such file"),
            (self.config("workers = "), "is not TOML"),
            (self.config("workers = " + "9" * 5000), "is not TOML"),
            (self.config("workers = " + "[" * 5000), "is not TOML"),
            (self.config("wokers = 3"), "there is no option 'wokers'; did you mean 'workers'?"),
            (self.config("workers = [3]"), "workers takes a number"),
            (self.config("listen = 3"), "listen takes endpoint strings"),
        ):
            problem = self.problem({}, config)
            self.assertIn(text, problem)
            self.assertNotIn("\n", problem)

    def test_a_file_of_bad_bytes(self) -> None:
        """A file that is not UTF-8 is not TOML."""
        config = self.config("")
        config.write_bytes(b"workers = \xff")
        self.assertIn("is not TOML", self.problem({}, config))


class OptionsTests(SynchronousTestCase):
    """What twistd's command line makes of it."""

    def parse(self, *words: str) -> Settings:
        options = Options()
        options.parseOptions(list(words))
        return options.settings

    def test_every_option_is_there(self) -> None:
        """Each setting is an option of the same name."""
        known = {long.rstrip("=") for long in Options().longOpt}
        self.assertEqual(set(), {*NAMES, "config"} - known)

    def test_listen_again(self) -> None:
        """--listen may be given more than once."""
        self.assertEqual(("tcp:1", "unix:/x"), self.parse("--listen", "tcp:1", "--listen=unix:/x").listen)

    def test_what_is_wrong_ends_the_program(self) -> None:
        """A wrong option ends the program with one line, which begins with its name."""
        for words in (["--workers", "x"], ["--nonsense"], ["--listen"], ["--config", "/no/such"], ["surplus"]):
            problem = self.assertRaises(SystemExit, self.parse, *words)
            self.assertTrue(str(problem.code).startswith("jobd: "), problem.code)
            self.assertNotIn("\n", str(problem.code))
