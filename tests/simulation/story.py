"""What happened, line by line: told where something went wrong, and compared when a walk is replayed."""

from __future__ import annotations

from collections import Counter, deque
from hashlib import blake2b

REMEMBERED = 20_000
"""Lines that are kept to be shown."""

SHOWN = 40
"""Lines that are shown of what happened last, and of one job."""


class Violation(AssertionError):
    """Something was promised and does not hold."""


class Story:
    """
    @ivar visits: how often each kind of thing has happened.
    @ivar lines: how many lines have been told.
    """

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()
        self.lines = 0
        self._hash = blake2b(digest_size=16)
        self._last: deque[str] = deque(maxlen=REMEMBERED)

    def tell(self, line: str) -> None:
        self.lines += 1
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self._last.append(line)

    def visit(self, what: str) -> None:
        """Count it, and tell it."""
        self.visits[what] += 1
        self.tell(what)

    @property
    def digest(self) -> str:
        """The same for two walks in which the same has happened, byte for byte."""
        return self._hash.hexdigest()

    def about(self, job_id: int | None = None) -> str:
        """The end of the story, and before it the end of one job's."""
        last = list(self._last)[-SHOWN:]
        if job_id is None:
            return "\n".join(last)
        word = f"job {job_id}"
        own = [line for line in self._last if word in line.replace(",", " ").replace(":", " ").split("  ")[0] + " "]
        own = [line for line in own if f"{word} " in line + " "][-SHOWN:]
        return "\n".join([f"--- {word}:", *own, "--- last:", *last])
