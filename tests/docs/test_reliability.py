"""docs/reliability.md: the tests it names are there."""

from __future__ import annotations

import re
from types import ModuleType
from unittest import TestCase as AnyTestCase

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from tests.docs.markdown import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


class NameTests(SynchronousTestCase):
    """The table of faults."""

    def rows(self) -> list[list[str]]:
        """For each fault its tests, as they are named."""
        table = TEXT.partition("<!-- faults -->")[2].partition("<!-- end -->")[0]
        return [re.findall(r"`([\w.]+)`", line) for line in table.splitlines() if re.match(r"\| \d+ \|", line)]

    def test_names(self) -> None:
        """Each name is a module with tests, a class of tests or a test."""
        for names in self.rows():
            for name in names:
                thing = namedAny(f"tests.{name}")
                if isinstance(thing, ModuleType):
                    found = any(isinstance(one, type) and issubclass(one, AnyTestCase) for one in vars(thing).values())
                elif isinstance(thing, type):
                    found = any(part.startswith("test") for part in dir(thing))
                else:
                    found = name.rpartition(".")[2].startswith("test_") and callable(thing)
                self.assertTrue(found, name)

    def test_no_fault_is_left_out(self) -> None:
        """There is a row for each of the faults that are no matter of access, and a test in each row."""
        numbers = {int(number) for number in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
        self.assertEqual(set(range(1, 32)), numbers)
        self.assertTrue(all(self.rows()))
