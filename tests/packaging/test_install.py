"""Installing and uninstalling: from a wheel, from an sdist, and editable."""

from __future__ import annotations

import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import TestCase

import jobd

from .environments import ROOT, Environment, build, closure, copy_source, requirements_of


class Distributions(NamedTuple):
    """What this project's source builds to, and what that needs installed beside it."""

    folder: Path
    source: Path
    wheel: Path
    sdist: Path
    needed: list[Distribution]


@cache
def make_distributions() -> Distributions:
    """Build once for all tests, in the folder that trial works in and removes."""
    folder = Path(tempfile.mkdtemp(prefix="install-", dir=Path.cwd()))
    source = copy_source(folder / "source")
    sdist = build(source, "sdist", folder / "dist")
    wheel = build(source, "wheel", folder / "dist")
    needed = closure([*requirements_of(wheel), "setuptools"])
    return Distributions(folder, source, wheel, sdist, needed)


class InstallTests(TestCase):
    """Each way to install gives the same programs, and takes them away again."""

    timeout = 900  # it starts some thirty interpreters

    def setUp(self) -> None:
        self.made = make_distributions()

    def environment(self, name: str) -> Environment:
        return Environment(self.made.folder / name, self.made.needed)

    def assert_works(self, environment: Environment) -> None:
        """All front doors are there, and the version is the package's own."""
        self.assertIn("jobd", plugins_in(environment.twisted("twistd", "--help")))
        self.assertIn("--listen", environment.twisted("twistd", "jobd", "--help"))
        self.assertIn("--listen", environment.twisted("twist", "jobd", "--help"))
        self.assertIn("map", environment.program("jobctl", "--help"))
        self.assertIn(jobd.__version__, environment.pip("show", "txjobd"))

    def assert_leaves_nothing(self, environment: Environment) -> None:
        """Uninstalling takes jobd away, also from Twisted's list, and nothing else."""
        twisted = environment.site / "twisted"
        before = files_below(twisted)
        environment.pip("uninstall", "--yes", "txjobd")
        gone = before - files_below(twisted)
        self.assertLessEqual(gone, {Path("plugins/jobd_plugin.py")})
        self.assertNotIn("jobd", plugins_in(environment.twisted("twistd", "--help")))
        self.assertIn("twistd", environment.twisted("twistd", "--version"))
        self.assertFalse((environment.site / "jobd").exists())

    def test_wheel(self) -> None:
        """A wheel gives a working twistd jobd, twist jobd and jobctl; uninstalling it leaves Twisted as it was."""
        environment = self.environment("wheel")
        self.assertNotIn("jobd", plugins_in(environment.twisted("twistd", "--help")))
        environment.install(str(self.made.wheel))
        self.assert_works(environment)
        self.assert_leaves_nothing(environment)

    def test_sdist(self) -> None:
        """An sdist builds and installs to the same."""
        environment = self.environment("sdist")
        environment.install(str(self.made.sdist))
        self.assert_works(environment)
        self.assert_leaves_nothing(environment)

    def test_editable(self) -> None:
        """An editable install shows the plugin too, and what is edited is what runs."""
        environment = self.environment("editable")
        source = copy_source(environment.folder / "source")
        environment.install("--editable", str(source))
        self.assert_works(environment)
        help_text = environment.twisted("twistd", "--help")
        plugin = source / "twisted" / "plugins" / "jobd_plugin.py"
        plugin.write_text(plugin.read_text().replace("A job daemon", "An edited daemon"))
        self.assertNotIn("An edited daemon", help_text)
        self.assertIn("An edited daemon", environment.twisted("twistd", "--help"))
        self.assert_leaves_nothing(environment)

    def test_wheel_contents(self) -> None:
        """The wheel holds every module, the plugin and the typing marker, and nothing that would hide Twisted."""
        names = set(zipfile.ZipFile(self.made.wheel).namelist())
        modules = {
            str(path.relative_to(self.made.source).as_posix()) for path in (self.made.source / "jobd").rglob("*.py")
        }
        self.assertLessEqual(modules | {"twisted/plugins/jobd_plugin.py", "jobd/py.typed"}, names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)
        self.assertEqual(
            {"jobd", "twisted", f"txjobd-{jobd.__version__}.dist-info"}, {name.partition("/")[0] for name in names}
        )

    def test_wheel_carries_the_cpp_client(self) -> None:
        """The headers and the CMake files lie in the wheel as they lie in the source, beside each other."""
        names = set(zipfile.ZipFile(self.made.wheel).namelist())
        cpp = self.made.source / "cpp"
        files = [path for part in ("include", "cmake") for path in (cpp / part).rglob("*") if path.is_file()]
        self.assertLessEqual({"jobd/cpp/" + path.relative_to(cpp).as_posix() for path in files}, names)
        self.assertIn("jobd/cpp/include/jobd/client.hpp", names)

    def test_sdist_contents(self) -> None:
        """The sdist holds what is needed to test it and to read about it, and nothing that a run leaves behind."""
        with tarfile.open(self.made.sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        wanted = {"Makefile", "README.md", "LICENSE", "CHANGELOG.md", "docs/protocol.md", "tests/daemon.py", ".ci/run"}
        self.assertLessEqual(wanted, names)
        self.assertEqual([], [name for name in names if name.endswith((".pyc", "dropin.cache", "__pycache__"))])

    def test_no_package_init_under_twisted(self) -> None:
        """The folder twisted/ of the source is no package: it would hide the real one."""
        self.assertEqual([], list((ROOT / "twisted").rglob("__init__.py")))

    def test_requirements_hold(self) -> None:
        """The versions here satisfy what the distribution asks for, on this Python."""
        environment = self.environment("check")
        environment.install(str(self.made.wheel))
        self.assertIn("No broken requirements", environment.pip("check"))
        self.assertEqual(sys.version_info < (3, 11), any(one.metadata["Name"] == "tomli" for one in self.made.needed))


def plugins_in(help_text: str) -> list[str]:
    """The commands that C{twistd --help} lists."""
    return [line.split()[0] for line in help_text.partition("Commands:")[2].splitlines() if line.strip()]


def files_below(folder: Path) -> set[Path]:
    """Files, without what Python and Twisted cache."""
    kept = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder) for path in kept if path.suffix != ".pyc" and path.name != "dropin.cache"}
