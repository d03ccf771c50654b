"""What the documents tell a person to type works, in the order they tell it."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from tests.daemon import running_daemon

from .markdown import Block, blocks_of, documents
from .shell import environment_for, make_programs, matches, run_block

MARKS = ("run", "file=", "elsewhere")


class BlockTests(TestCase):
    """One daemon, one folder and one home for each document."""

    timeout = 900

    def follow(self, document: Path) -> None:
        """Do all that a document says, from its top to its end."""
        if sys.platform == "win32":
            raise SkipTest("the documents speak to a Unix shell")
        with tempfile.TemporaryDirectory(prefix="jobd-docs-") as temporary, running_daemon(tcp=True) as daemon:
            folder = Path(temporary).resolve()
            for name in ("work", "home"):
                (folder / name).mkdir()
            make_programs(folder / "bin")
            environment = environment_for(folder / "bin", folder / "home", JOBD_URL=daemon.url)
            for block in blocks_of(document):
                run_block(block, folder / "work", environment)

    def test_every_block_says_whether_it_is_run(self) -> None:
        """A block of commands or of Python is marked: run, a file, or run elsewhere (where it needs more than this)."""
        unmarked = [
            block.place
            for document in documents()
            for block in blocks_of(document)
            if block.words[:1] in (["sh"], ["console"], ["python"])
            and not any(word.startswith(MARKS) for word in block.words[1:])
        ]
        self.assertEqual([], unmarked)


def _add_tests() -> None:
    """A test for each document in which something is to be run."""
    for document in documents():
        if any("run" in block.words for block in blocks_of(document)):

            def test(self: BlockTests, document: Path = document) -> None:
                self.follow(document)

            test.__doc__ = f"What {document.name} says works."
            setattr(BlockTests, f"test_{document.stem}", test)


_add_tests()


class ShellTests(TestCase):
    """What runs the blocks notices what is wrong with them."""

    folder: Path

    def setUp(self) -> None:
        if sys.platform == "win32":
            raise SkipTest("this is about a Unix shell")
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        make_programs(self.folder / "bin")

    def run_text(self, text: str, *words: str) -> None:
        run_block(Block([*words, "run"], text, "here"), self.folder, environment_for(self.folder / "bin", self.folder))

    def test_console(self) -> None:
        """What each command prints is compared; an exit status can be shown by the next command."""
        self.run_text("$ echo a; echo b\na\n...\n$ false\n$ echo $?\n1\n$ cat\n", "console")
        self.assertRaises(AssertionError, self.run_text, "$ echo a\nb\n", "console")
        self.assertRaises(AssertionError, self.run_text, "$ echo a\n", "console")

    def test_scripts(self) -> None:
        """A script or a program that fails is an error."""
        self.run_text("true\n", "sh")
        self.run_text("import jobd\n", "python")
        self.assertRaises(AssertionError, self.run_text, "false\ntrue\n", "sh")
        self.assertRaises(AssertionError, self.run_text, "1 / 0\n", "python")

    def test_dots(self) -> None:
        """Three dots stand for anything, the rest for itself."""
        self.assertTrue(matches("a ... (b)", "a 1\n2 (b)"))
        self.assertFalse(matches("a ... (b)", "a 1 b"))


class LinkTests(TestCase):
    """What the documents point at is there."""

    def test_relative_links(self) -> None:
        """Every link to a file of the project leads to one."""
        broken = [
            f"{document.name}: {target}"
            for document in documents()
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
            if not (document.parent / target).exists()
        ]
        self.assertEqual([], broken)
