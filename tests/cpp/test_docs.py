"""What docs/cpp.md shows compiles, and its whole programs run."""

from __future__ import annotations

from tests.daemon import running_daemon
from tests.docs.markdown import Block, blocks

from .building import INCLUDE, ROOT, WARNINGS, CppTestCase, must, work

DOCUMENT = ROOT / "docs" / "cpp.md"

HEADS = """
#include <cstdint>
#include <future>
#include <iostream>
#include <vector>
#include <poll.h>
#include <jobd/client.hpp>
#include <jobd/progress.hpp>
#include <jobd/stream.hpp>
using namespace std::chrono_literals;
"""


class DocumentTests(CppTestCase):
    """Blocks marked C{cpp body} stand in a function that has a client C{c}; those marked C{cpp program} are whole."""

    def marked(self, mark: str) -> list[Block]:
        found = [block for block in blocks(DOCUMENT, "cpp") if mark in block.words]
        self.assertNotEqual([], found)
        return found

    def test_every_block_is_marked(self) -> None:
        """No block of C++ is left out."""
        self.assertEqual(len(blocks(DOCUMENT, "cpp")), len(self.marked("body")) + len(self.marked("program")))

    def test_bodies_compile(self) -> None:
        """Each piece compiles as it is shown."""
        functions = [
            f'void body{number}(jobd::client& c) {{\n#line 1 "{block.place}"\n{block.body}\nstatic_cast<void>(c);\n}}\n'
            for number, block in enumerate(self.marked("body"))
        ]
        source = work() / "bodies.cpp"
        source.write_text(HEADS + "".join(functions))
        unused = ("-Wno-unused-variable", "-Wno-unused-but-set-variable", "-Wno-missing-declarations")
        must(["g++", "-std=c++17", "-fsyntax-only", *WARNINGS, *unused, f"-I{INCLUDE}", source])

    def test_programs_run(self) -> None:
        """Each whole program does what it should."""
        for number, block in enumerate(self.marked("program")):
            source, program = work() / f"document{number}.cpp", work() / f"document{number}"
            source.write_text(block.body)
            must(["g++", "-std=c++17", *WARNINGS, f"-I{INCLUDE}", source, "-pthread", "-o", program])
            with running_daemon() as daemon:
                printed = self.run_program([program], environment={"JOBD_URL": daemon.url})
            self.assertRegex(printed, r"succeeded in 0\.\d+ s: hello\n")
