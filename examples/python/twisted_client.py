"""
The client for Twisted: Deferreds, and no thread. The reactor serves other
things while jobs run; here a clock ticks.

    twistd -n jobd &
    python examples/python/twisted_client.py
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, react

from jobd import tx


async def main(reactor: Any) -> None:
    """A pipeline of three commands and a last one after all of them."""
    ticks = LoopingCall(print, "tick")
    ticks.clock = reactor
    ticks.start(0.1)
    client = await tx.connect(reactor)
    try:
        parts = [await client.run("sleep", f"0.{n}") for n in (3, 1, 2)]
        last = await client.shell("echo all parts are done", after=parts)
        async for job in client.as_completed([*parts, last]):
            print(job, (await job.wait()).state)
        print((await last.output()).decode().strip())
    finally:
        ticks.stop()
        await client.close()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
