"""What the tests take from the documents: fenced blocks, tables and pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """
    A fenced block.

    @ivar words: what stands behind the fence: the language, then our marks.
    @ivar place: C{document:line}, for messages.
    """

    words: list[str]
    body: str
    place: str


def documents() -> list[Path]:
    """Everything written for people to read."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    text = document.read_text(encoding="utf-8")
    name = document.relative_to(ROOT).as_posix()
    return [
        Block(match["info"].split(), match["body"], f"{name}:{text.count(chr(10), 0, match.start()) + 1}")
        for match in _FENCE.finditer(text)
    ]


def blocks(document: Path, language: str) -> list[Block]:
    """The fenced blocks of a document in one language."""
    return [block for block in blocks_of(document) if block.words[:1] == [language]]


def section(document: Path, mark: str) -> str:
    """The text between C{<!-- mark -->} and the next C{<!-- end -->}."""
    text = document.read_text(encoding="utf-8")
    return text.partition(f"<!-- {mark} -->\n")[2].partition("<!-- end -->")[0]


def table(text: str) -> list[dict[str, str]]:
    """The rows of a table, by the names of its columns. C{\\|} within a cell is a bar."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
