"""Every file under examples/ runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from tests.daemon import running_daemon

from .markdown import ROOT
from .shell import environment_for, make_programs

EXAMPLES = ROOT / "examples"
PATIENCE = 300

BY_OTHERS = {"clients": "tests/cpp", "cpp": "tests/cpp", "pipeline": "tests/docs", "systemd": "tests/docs"}
"""Folders of examples that need more than a daemon and a folder to work in, and where the tests are that run them."""


def programs() -> list[Path]:
    """The examples that are run here as they are."""
    files = (path for path in sorted(EXAMPLES.rglob("*")) if path.suffix in (".py", ".sh"))
    return [path for path in files if path.relative_to(EXAMPLES).parts[0] not in BY_OTHERS]


class ExampleTests(TestCase):
    """Each runs with nothing but a daemon to speak to, leaves it running, and ends with 0."""

    timeout = 900

    def run_example(self, path: Path) -> None:
        if sys.platform == "win32" and path.suffix == ".sh":
            raise SkipTest("a script for a Unix shell")
        with tempfile.TemporaryDirectory(prefix="jobd-example-") as temporary, running_daemon(tcp=True) as daemon:
            folder = Path(temporary).resolve()
            (folder / "work").mkdir()
            make_programs(folder / "bin")
            command = [sys.executable, str(path)] if path.suffix == ".py" else ["sh", str(path)]
            done = subprocess.run(
                command,
                cwd=folder / "work",
                env=environment_for(folder / "bin", folder, JOBD_URL=daemon.url),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
            )
            self.assertEqual(0, done.returncode, done.stdout)
            self.assertNotEqual("", done.stdout)

    def test_no_example_is_forgotten(self) -> None:
        """Every folder and every file of the examples is run here or by the tests named."""
        known = {*BY_OTHERS, *(path.relative_to(EXAMPLES).parts[0] for path in programs()), "README.md", "__pycache__"}
        self.assertLessEqual({path.name for path in EXAMPLES.iterdir()}, known)
        for folder, tests in BY_OTHERS.items():
            sources = [path.read_text(encoding="utf-8") for path in (ROOT / tests).glob("test_*.py")]
            self.assertTrue(any(f'"{folder}"' in source for source in sources), f"nothing in {tests} runs {folder}")


def _add_tests() -> None:
    for path in programs():

        def test(self: ExampleTests, path: Path = path) -> None:
            self.run_example(path)

        name = path.relative_to(EXAMPLES).as_posix()
        test.__doc__ = f"examples/{name} runs."
        setattr(ExampleTests, "test_" + name.replace("/", "_").replace(".", "_"), test)


_add_tests()


class PipelineTests(TestCase):
    """The demo."""

    timeout = 900

    def test_pipeline(self) -> None:
        """It does what it says, on some modules, and leaves nothing behind in the folder for temporary files."""
        if sys.platform == "win32":
            raise SkipTest("it uses programs of a Unix system")
        with tempfile.TemporaryDirectory(prefix="jobd-demo-test-") as temporary:
            done = subprocess.run(
                [sys.executable, str(EXAMPLES / "pipeline" / "pipeline.py"), "--modules", "25"],
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": temporary, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
            )
            self.assertEqual(0, done.returncode, done.stdout)
            self.assertIn("no process and no file is left", done.stdout)
            self.assertEqual([], list(Path(temporary).iterdir()))
