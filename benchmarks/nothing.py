"""The work of a job whose cost is all overhead; workers of every kind import it from here."""

from __future__ import annotations


def nothing(number: int) -> None:
    """Do nothing with a number."""
