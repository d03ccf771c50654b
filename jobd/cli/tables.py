"""How things look on a terminal; for programs there is C{--json}."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

_COLOURS = {
    "succeeded": "32",
    "running": "36",
    "queued": "34",
    "waiting": "34",
    "failed": "31",
    "lost": "31",
    "timed_out": "31",
    "cancelled": "33",
    "skipped": "33",
}


def coloured() -> bool:
    """Whether colours are welcome on our standard output."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(state: str, text: str, *, colour: bool) -> str:
    """A text in the colour of a state."""
    return f"\x1b[{_COLOURS[state]}m{text}\x1b[0m" if colour and state in _COLOURS else text


def duration(seconds: float) -> str:
    """A length of time in four or five characters, as C{30ms}, C{1.3s}, C{12s}, C{5m}, C{3.2h}, C{9d}."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    for size, unit, most in ((1, "s", 100), (60, "m", 6000), (3600, "h", 172_800)):
        if seconds < most:
            value = seconds / size
            return f"{value:.1f}{unit}" if value < 10 and unit != "s" else f"{value:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def jobs_table(jobs: Sequence[Mapping[str, Any]], now: float | None = None) -> list[str]:
    """Jobs as C{list} tells of them, as aligned lines with a heading; columns that would be empty are left out."""
    when = time.time() if now is None else now
    rows = [
        {
            "ID": str(job["id"]),
            "STATE": job["state"],
            "TRY": str(job["attempt"]) if job.get("attempt", 0) > 1 else "",
            "AGE": duration(max(0.0, when - job["submitted"])) if job.get("submitted") else "",
            "TOOK": _took(job, when),
            "QUEUE": job.get("queue", "") if job.get("queue") != "default" else "",
            "GROUP": job.get("group", ""),
            "LABEL": job.get("label", ""),
            "WHAT": job.get("what", ""),
        }
        for job in jobs
    ]
    return table(rows, "STATE")


def _took(job: Mapping[str, Any], now: float) -> str:
    if not job.get("started"):
        return ""
    return duration(max(0.0, (job.get("ended") or now) - job["started"]))


def table(rows: Sequence[Mapping[str, str]], state: str) -> list[str]:
    """
    Aligned lines with a heading.

    @param state: the column that is coloured by the state in it.
    """
    if not rows:
        return []
    names = [name for name in rows[0] if name in ("ID", state) or any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    colour = coloured()
    # A terminal may not know its size; before Python 3.11 that is told as 0.
    width = (shutil.get_terminal_size().columns or 80) if sys.stdout.isatty() else None
    lines = ["  ".join(name.ljust(widths[name]) for name in names).rstrip()]
    for row in rows:
        cells = [row[name].rjust(widths[name]) if name == "ID" else row[name].ljust(widths[name]) for name in names]
        line = "  ".join(cells).rstrip()[:width]
        lines.append(line.replace(row[state], paint(row[state], row[state], colour=colour), 1))
    return lines


def properties(values: Mapping[str, Any], indent: str = "") -> list[str]:
    """An object as aligned lines; what is inside it is indented."""
    lines: list[str] = []
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}:", *properties(value, indent + "  ")]
        else:
            lines.append(f"{indent}{(name + ':').ljust(width + 1)} {_plain(name, value)}")
    return lines


def _plain(name: str, value: Any) -> str:
    if name in ("submitted", "started", "ended") and isinstance(value, int | float):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and "\n" in value:
        return "".join("\n    " + line for line in value.rstrip().split("\n"))
    if isinstance(value, list | Mapping):
        import json

        return json.dumps(value, ensure_ascii=False)
    return "-" if value is None else str(value)


class Bar:
    """A progress bar on standard error, if that is a terminal; else nothing."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = sys.stderr.isatty()

    def show(self, done: int, failed: int) -> None:
        """Draw it anew."""
        if not self._shown:
            return
        width = 30
        filled = width * done // max(self._total, 1)
        text = f"[{'#' * filled}{' ' * (width - filled)}] {done}/{self._total}"
        sys.stderr.write(f"\r{text}{f', {failed} failed' if failed else ''}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Make room for other output."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
