"""
The environment of a worker's own process, while a call runs.

C{os.putenv} gives a value to C{setenv}, and the GNU C library never lets go of one: a worker that names each of its
jobs that way grows by 64 bytes with each. So where the system keeps what it is given, as C{putenv} does, a value
stands in memory of ours, which is used again for the next.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any

if sys.platform == "win32":

    def name_job(job: bytes, attempt: bytes) -> None:
        """Let the call, and what it starts, know whose it is."""
        os.environ["JOBD_JOB_ID"] = job.decode()
        os.environ["JOBD_ATTEMPT"] = attempt.decode()

    def set_variable(name: str, value: str | None) -> None:
        """None removes it."""
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

else:
    # What stands behind os.environ: through it each variable takes three times as long.
    _VARIABLES: dict[bytes, bytes] = vars(os.environ)["_data"]

    _SPARE = 32
    """Bytes by which a value may become longer where it stands."""

    def name_job(job: bytes, attempt: bytes) -> None:
        """Let the call, and what it starts, know whose it is."""
        _put(b"JOBD_JOB_ID", job)
        if _VARIABLES.get(b"JOBD_ATTEMPT") != attempt:
            _put(b"JOBD_ATTEMPT", attempt)

    def set_variable(name: str, value: str | None) -> None:
        """
        None removes it.

        @raise ValueError: there can be no such variable.
        @raise OSError: the system refuses it.
        """
        key = os.fsencode(name)
        if value is None:
            os.environ.pop(name, None)
            _ours.pop(key, None)
            return
        encoded = os.fsencode(value)
        if not key or b"=" in key or b"\0" in key or b"\0" in encoded:
            raise ValueError(f"{name!r} cannot be set to {value!r}")
        _put(key, encoded)

    def _find_putenv() -> Callable[[Any], int] | None:
        """The system's own, if what it is given is the environment from then on, and no copy of it."""
        try:
            import ctypes

            library = ctypes.CDLL(None)
            putenv, getenv = library.putenv, library.getenv
        except (ImportError, OSError, AttributeError):
            return None
        getenv.restype = ctypes.c_void_p
        text = ctypes.create_string_buffer(b"JOBD_TRIED=1")
        putenv(text)
        begin = ctypes.addressof(text)
        found = getenv(b"JOBD_TRIED") or 0
        os.unsetenv("JOBD_TRIED")
        return putenv if begin <= found < begin + len(text) else None

    _putenv = _find_putenv()

    _ours: dict[bytes, tuple[Any, bytes]] = {}
    """For each variable that was set here, the memory in which it stands, and the value."""

    def _put(name: bytes, value: bytes) -> None:
        if _putenv is None:
            os.environb[name] = value
            return
        line = b"%b=%b" % (name, value)
        memory, last = _ours.get(name, (b"", b""))
        # A call that has set the variable itself has put another value there.
        if len(line) >= len(memory) or _VARIABLES.get(name) is not last:
            memory = _memory(len(line) + _SPARE)
            memory.value = line
            if _putenv(memory):
                raise OSError(f"there is no room for {name!r} in the environment")
        else:
            memory.value = line
        # What it was in before is let go only now that the environment is no longer there.
        _ours[name] = memory, value
        _VARIABLES[name] = value

    def _memory(size: int) -> Any:
        import ctypes

        return ctypes.create_string_buffer(size)

    @atexit.register
    def _let_go() -> None:
        """Whatever still reads the environment while the process ends must not find memory that is gone."""
        for name, (_, value) in _ours.items():
            # What a call has removed, or set itself, is not there any more.
            if _VARIABLES.get(name) is value:
                os.putenv(name, value)
