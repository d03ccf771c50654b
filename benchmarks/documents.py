"""Puts what was measured where people read it: between two marks of a document, and into plots beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import plot
from benchmarks.figures import Report
from benchmarks.report import markdown

_ROOT = Path(__file__).resolve().parent.parent
_END = "<!-- end -->\n"

ON_THE_FIRST_PAGE = ("speed-calls", "speed-commands")
"""The plots that the README shows."""


def write(report: Report, root: Path = _ROOT) -> None:
    """
    Write the plots, and anew what was measured in C{docs/performance.md} and C{README.md}.

    @raise ValueError: a document has no place for it.
    """
    plots = plot.draw(report, root / "docs")
    first = [path for path in plots if path.stem in ON_THE_FIRST_PAGE]
    body = "\n\n".join([markdown(report).rstrip("\n"), *_images(plots, "")])
    _fill(root / "docs" / "performance.md", "measured", body)
    _fill(root / "README.md", "plots", "\n\n".join(_images(first, "docs/")))


def filled(text: str, mark: str, body: str) -> str:
    """
    The text with this between C{<!-- mark -->} and the next C{<!-- end -->}.

    @raise ValueError: it does not have the two.
    """
    before, begin, rest = text.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the document has no <!-- {mark} --> with an {_END.strip()} after it")
    return f"{before}{begin}\n{body}\n\n{end}{after}"


def _fill(document: Path, mark: str, body: str) -> None:
    document.write_text(filled(document.read_text(encoding="utf-8"), mark, body), encoding="utf-8")


def _images(plots: Sequence[Path], folder: str) -> list[str]:
    titles = {chart.name: chart.title for chart in plot.CHARTS}
    return [f"![{titles[path.stem]}]({folder}{path.name})" for path in plots]
