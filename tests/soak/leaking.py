"""
A daemon that leaks, for the control: C{python -m tests.soak.leaking PYTHON -c CODE ...} starts what it is told to, in
which then every connection leaves memory behind, and some of them a descriptor.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any

LOST = 64 * 1024
"""Bytes for each connection."""

EVERY = 10
"""Connections for each descriptor."""


def leak() -> None:
    """Put the leaks into this process."""
    from jobd.server import SessionFactory

    build, left, numbers = SessionFactory.buildProtocol, list[bytes](), itertools.count()

    def forgetful(self: SessionFactory, addr: Any) -> Any:
        left.append(bytes(os.urandom(16) * (LOST // 16)))
        if next(numbers) % EVERY == 0:
            os.dup(2)
        return build(self, addr)

    SessionFactory.buildProtocol = forgetful  # type: ignore[method-assign]


def main() -> None:
    """Become the daemon."""
    python, option, code, *rest = sys.argv[1:]
    os.execv(python, [python, option, f"from tests.soak import leaking; leaking.leak()\n{code}", *rest])


if __name__ == "__main__":
    main()
