"""Puts what was measured where people read it: between two marks of a document, and into plots beside it."""

from __future__ import annotations

from pathlib import Path

from benchmarks import plot
from benchmarks.figures import Report
from benchmarks.report import markdown

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_NAME = "performance.md"
_BEGIN, _END = "<!-- measured -->\n", "<!-- end -->\n"


def write(report: Report, folder: Path = _DOCS) -> None:
    """
    Write C{performance.md} and the plots anew.

    @raise ValueError: the document has no place for it.
    """
    document = folder / _NAME
    plots = plot.draw(report, folder)
    document.write_text(filled(document.read_text(encoding="utf-8"), _body(report, plots)), encoding="utf-8")


def filled(text: str, body: str) -> str:
    """
    The text with this between the marks.

    @raise ValueError: it does not have the two marks.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the document has no {_BEGIN.strip()} with an {_END.strip()} after it")
    return f"{before}{begin}\n{body}\n{end}{after}"


def _body(report: Report, plots: list[Path]) -> str:
    titles = {chart.name: chart.title for chart in plot.CHARTS}
    images = [f"![{titles[path.stem]}]({path.name})" for path in plots]
    return "\n\n".join([markdown(report).rstrip("\n"), *images]) + "\n"
