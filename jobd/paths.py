"""
Where jobd keeps things when nobody says otherwise: the same answers for the
daemon and for every client, so that the two find each other.
"""

from __future__ import annotations

from pathlib import Path

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7733


def state_dir() -> Path:
    """The platform's folder for the state of this user's daemon; it need not exist yet."""
    import platformdirs

    return platformdirs.user_state_path("jobd", appauthor=False)


def socket_path() -> Path:
    """The Unix socket this user's daemon listens on; it need not exist."""
    import platformdirs

    return platformdirs.user_runtime_path("jobd", appauthor=False) / "jobd.sock"


def token_file(state: Path | None = None) -> Path:
    """The file with the token of the daemon whose state is in C{state}, by default in L{state_dir}."""
    return (state_dir() if state is None else state) / "token"
