"""What is measured. A further peer is a module in C{benchmarks/peers/} and a word here."""

from __future__ import annotations

from benchmarks import compiled, ours
from benchmarks.contender import RATE, TIMES, Work
from benchmarks.peers.executor import EXECUTOR_SUBMIT
from benchmarks.peers.pool import POOL_MAP
from benchmarks.peers.xargs import XARGS

_CALLS = "warm calls that do nothing"
_LATENCY = "such a call from submission to finish, one at a time"

WORKS = (
    Work("calls-durable", _CALLS, RATE, 60_000, 400, ours.calls("commit"), (POOL_MAP,)),
    Work("calls-memory", _CALLS, RATE, 60_000, 400, ours.calls("memory"), (POOL_MAP,)),
    Work("commands", "commands that do nothing", RATE, 3_000, 100, ours.COMMANDS, (XARGS,)),
    Work("latency-durable", _LATENCY, TIMES, 500, 100, ours.latency("commit"), (EXECUTOR_SUBMIT,)),
    Work("latency-memory", _LATENCY, TIMES, 6_000, 100, ours.latency("memory"), (EXECUTOR_SUBMIT,)),
    Work(
        "cpp-pipelined",
        f"{_CALLS}, each sent before the last is answered",
        compiled.RATE_AND_SHARE,
        60_000,
        400,
        compiled.POSTED,
        (compiled.FLOODED, compiled.FLOODED_KEYED),
        compiled.lacking,
    ),
    Work("cpp-latency", _LATENCY, TIMES, 6_000, 100, compiled.LIBRARY, (compiled.BARE,), compiled.lacking),
)


def named(names: list[str]) -> list[Work]:
    """
    The works whose names begin with one of these; all of them for none.

    @raise LookupError: a name that none begins with.
    """
    for name in names:
        if not any(work.name.startswith(name) for work in WORKS):
            raise LookupError(f"there is no work {name!r}; there is {', '.join(work.name for work in WORKS)}")
    return [work for work in WORKS if not names or work.name.startswith(tuple(names))]
