"""What a worker runs for a chunk of C{Executor.map}; it must be quick to import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def run_chunk(fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The results of C{fn} for each tuple of arguments."""
    return [fn(*args) for args in calls]
