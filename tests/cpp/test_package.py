"""The CMake package: installed, in a wheel's layout, and as a part of another project."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import jobd

from .building import CPP, ROOT, CppTestCase, configure, installed, must, run, work

PROGRAM = """
#include <jobd/client.hpp>
#include <iostream>
int main() { std::cout << JOBD_VERSION << ' ' << jobd::parse_url("jobd://h").port << '\\n'; }
"""


class PackageTests(CppTestCase):
    """C{find_package(jobd CONFIG)}, pkg-config, C{add_subdirectory}"""

    def project(self, name: str, cmake: str) -> Path:
        """A project of somebody else's."""
        folder = work() / name
        folder.mkdir()
        (folder / "main.cpp").write_text(PROGRAM)
        lines = ["cmake_minimum_required(VERSION 3.14)", "project(other LANGUAGES CXX)", cmake]
        (folder / "CMakeLists.txt").write_text("\n".join(lines) + "\n")
        return folder

    def build_and_run(self, name: str, cmake: str, *options: str) -> str:
        folder = self.project(
            name, f"{cmake}\nadd_executable(program main.cpp)\ntarget_link_libraries(program jobd::jobd)"
        )
        configure(folder, folder / "build", *options)
        must(["cmake", "--build", folder / "build"])
        return self.run_program([folder / "build" / "program"])

    def test_versions_agree(self) -> None:
        """The headers' version is that of the Python package, in all its forms."""
        text = (CPP / "include" / "jobd" / "version.hpp").read_text()
        numbers = re.findall(r"JOBD_VERSION_\w+ (\d+)", text)
        self.assertEqual(jobd.__version__, ".".join(numbers))
        self.assertIn(f'JOBD_VERSION "{jobd.__version__}"', text)

    def test_installed(self) -> None:
        """An installed package is found, and its version with it."""
        cmake = 'find_package(jobd 0.1 CONFIG REQUIRED)\nmessage(STATUS "found ${jobd_VERSION}")'
        self.assertEqual(
            f"{jobd.__version__} 7733\n", self.build_and_run("found", cmake, f"-DCMAKE_PREFIX_PATH={installed()}")
        )

    def test_moved(self) -> None:
        """An installed package may be moved to another place."""
        moved = work() / "moved"
        shutil.copytree(installed(), moved)
        cmake = "find_package(jobd CONFIG REQUIRED)"
        self.build_and_run("found-moved", cmake, f"-DCMAKE_PREFIX_PATH={moved}")
        flags = must(["pkg-config", "--cflags", "jobd"], environment={"PKG_CONFIG_PATH": f"{moved}/share/pkgconfig"})
        self.assertIn(str(moved), str(Path(flags.split()[0].removeprefix("-I")).resolve()))

    def test_wheel(self) -> None:
        """jobctl says where a wheel carries the headers and the CMake files, which find each other there."""
        packages = work() / "site-packages"
        shutil.copytree(ROOT / "jobd", packages / "jobd", ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("include", "cmake"):
            shutil.copytree(CPP / part, packages / "jobd" / "cpp" / part)
        self.assertEqual(str(packages / "jobd" / "cpp" / "include"), self.jobctl("--include-dir", packages))
        where = self.jobctl("--cmake-dir", packages)
        self.assertEqual(str(packages / "jobd" / "cpp" / "cmake"), where)
        self.build_and_run("found-wheel", "find_package(jobd CONFIG REQUIRED)", f"-Djobd_DIR={where}")

    def test_checkout(self) -> None:
        """In a checkout jobctl names its own folders, and they work uninstalled."""
        self.assertEqual(str(CPP / "cmake"), self.jobctl("--cmake-dir", ROOT))
        include = self.jobctl("--include-dir", ROOT)
        source, program = work() / "checkout.cpp", work() / "checkout"
        source.write_text(PROGRAM)
        must(["g++", "-std=c++17", f"-I{include}", source, "-pthread", "-o", program])
        self.assertEqual(f"{jobd.__version__} 7733\n", self.run_program([program]))

    def jobctl(self, option: str, packages: Path) -> str:
        """What the jobctl of the jobd in that folder prints."""
        command = [sys.executable, "-m", "jobd.cli", option]
        return self.run_program(command, environment={"PYTHONPATH": str(packages)}, cwd=work()).strip()

    def test_tls(self) -> None:
        """The component tls gives jobd::tls; a component that does not exist is not found."""
        cmake = "find_package(jobd CONFIG REQUIRED COMPONENTS tls)\nget_target_property(X jobd::tls TYPE)"
        self.build_and_run("found-tls", cmake, f"-DCMAKE_PREFIX_PATH={installed()}")
        folder = self.project("missing-part", "find_package(jobd CONFIG REQUIRED COMPONENTS magic)")
        done = run(["cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={installed()}"])
        self.assertNotEqual(0, done.returncode)
        self.assertIn("no component 'magic'", done.stdout)

    def test_version_is_checked(self) -> None:
        """A version that does not fit is not found: newer, older with other promises, and one of another age."""
        for number, wanted in enumerate(("0.1.99", "0.0.9", "0.2", "1.0")):
            folder = self.project(f"version-{number}", f"find_package(jobd {wanted} CONFIG REQUIRED)")
            done = run(["cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={installed()}"])
            self.assertNotEqual(0, done.returncode, wanted)
            self.assertIn(jobd.__version__, done.stdout)

    def test_subdirectory(self) -> None:
        """As a part of another project it gives its targets and nothing else: no tests, nothing to install."""
        prefix = work() / "other-prefix"
        options = (f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DJOBD_SOURCE={CPP}")
        self.build_and_run("subdirectory", "enable_testing()\nadd_subdirectory(${JOBD_SOURCE} jobd)", *options)
        folder = work() / "subdirectory" / "build"
        self.assertIn("Total Tests: 0", must(["ctest", "--test-dir", folder, "-N"]))
        must(["cmake", "--install", folder])
        self.assertEqual([], [path for path in prefix.rglob("*") if path.is_file()])

    def test_fetch_content(self) -> None:
        """FetchContent takes the whole repository and uses its folder cpp."""
        declare = "FetchContent_Declare(jobd SOURCE_DIR ${JOBD_REPOSITORY} SOURCE_SUBDIR cpp)"
        cmake = f"include(FetchContent)\n{declare}\nFetchContent_MakeAvailable(jobd)"
        self.build_and_run("fetched", cmake, f"-DJOBD_REPOSITORY={ROOT}")

    def test_pkg_config(self) -> None:
        """pkg-config knows the version and the flags to compile with."""
        environment = {"PKG_CONFIG_PATH": f"{installed()}/share/pkgconfig"}
        self.assertEqual(
            jobd.__version__, must(["pkg-config", "--modversion", "jobd"], environment=environment).strip()
        )
        flags = must(["pkg-config", "--cflags", "--libs", "jobd"], environment=environment).split()
        source, program = work() / "pc.cpp", work() / "pc"
        source.write_text(PROGRAM)
        must(["g++", "-std=c++17", source, *flags, "-o", program])
        self.assertEqual(f"{jobd.__version__} 7733\n", self.run_program([program]))
