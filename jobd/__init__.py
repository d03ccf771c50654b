"""
jobd: a job daemon you talk to over a socket.

Only names are bound here; what stands behind them is imported when it is
first used, so that C{jobctl} and the workers start fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "connect": "jobd.client.blocking",
    "Client": "jobd.client.blocking",
    "Executor": "jobd.client.executor",
    "progress": "jobd.client.progress",
    "aio": "jobd.client.aio",
    "tx": "jobd.client.tx",
    "errors": "jobd.errors",
}

__all__ = ["Client", "Executor", "__version__", "aio", "connect", "errors", "progress", "tx"]

if TYPE_CHECKING:
    from jobd import errors
    from jobd.client import aio, tx
    from jobd.client.blocking import Client, connect
    from jobd.client.executor import Executor
    from jobd.client.progress import progress


def __getattr__(name: str) -> Any:
    try:
        module = import_module(_HOME[name])
    except KeyError:
        raise AttributeError(f"module 'jobd' has no attribute {name!r}") from None
    value = module if name in ("aio", "errors", "tx") else getattr(module, name)
    globals()[name] = value
    return value
