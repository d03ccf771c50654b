"""The unit for systemd: it starts a daemon that there is, and ends it as the daemon expects."""

from __future__ import annotations

import configparser
import shlex

from twisted.trial.unittest import SynchronousTestCase

from jobd.service import Options
from tests.docs.markdown import ROOT


class UnitTests(SynchronousTestCase):
    """examples/systemd"""

    def setUp(self) -> None:
        self.unit = configparser.ConfigParser(interpolation=None)
        self.unit.optionxform = str  # type: ignore[assignment, method-assign]
        self.unit.read(ROOT / "examples" / "systemd" / "jobd.service", encoding="utf-8")

    def test_options(self) -> None:
        """Its options are the daemon's, and what systemd ends agrees with what the daemon leaves running."""
        words = shlex.split(self.unit["Service"]["ExecStart"])
        self.assertTrue(words[0].endswith("/twistd"))
        options = Options()
        options.parseOptions(words[words.index("jobd") + 1 :])
        self.assertEqual("keep", options.settings.on_stop)
        self.assertEqual("process", self.unit["Service"]["KillMode"])
        self.assertEqual("yes", self.unit["Service"]["Delegate"])

    def test_sections(self) -> None:
        """It has the sections of a unit that can be enabled."""
        self.assertEqual(["Unit", "Service", "Install"], self.unit.sections())
