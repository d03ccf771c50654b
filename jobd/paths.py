"""
Where jobd keeps things when nobody says otherwise: the same answers for the
daemon and for every client, so that the two find each other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jobd.errors import UsageError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7733


def state_dir() -> Path:
    """The platform's folder for the state of this user's daemon; it need not exist yet."""
    import platformdirs

    return platformdirs.user_state_path("jobd", appauthor=False)


def socket_path() -> Path:
    """The Unix socket this user's daemon listens on; it need not exist."""
    if sys.platform == "win32" or sys.platform == "darwin":
        import platformdirs

        return platformdirs.user_runtime_path("jobd", appauthor=False) / "jobd.sock"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if os.access(runtime, os.W_OK):
        return Path(runtime) / "jobd" / "jobd.sock"
    # Not a folder in /tmp, as is the custom: anybody could make it first and listen there in our name.
    return state_dir() / "jobd.sock"


def token_file(state: Path | None = None) -> Path:
    """The file with the token of the daemon whose state is in C{state}, by default in L{state_dir}."""
    return (state_dir() if state is None else state) / "token"


def cpp_dir(part: str) -> Path:
    """
    The folder C{include} or C{cmake} of the C++ client: in an installed
    package, or beside it in a checkout.

    @raise UsageError: this installation came without it.
    """
    here = Path(__file__).parent
    for cpp in (here / "cpp", here.parent / "cpp"):
        if (cpp / part).is_dir():
            return cpp / part
    raise UsageError("this installation of jobd came without its C++ headers")
