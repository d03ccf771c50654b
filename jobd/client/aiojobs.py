"""A job as the asyncio client sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jobd.client import pickling
from jobd.client.outcome import Outcome
from jobd.errors import Finished

if TYPE_CHECKING:
    from jobd.client.aio import Client


class Job:
    """
    One job, as L{jobd.client.jobs.Job} but with coroutines.

    @ivar id: its number.
    """

    def __init__(self, client: Client, job: int) -> None:
        self._client = client
        self.id = job
        self.done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        # Whoever wants to know asks; nobody has to.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    async def wait(self, timeout: float | None = None) -> Outcome:
        """Wait until it has ended, however it ended."""
        return (await self._client.wait([self], timeout))[0]

    async def result(self, timeout: float | None = None) -> Any:
        """Wait, and return what the call returned; raises as L{jobd.client.jobs.Job.result}."""
        return pickling.value(await self.wait(timeout))

    async def state(self) -> str:
        """The state it is in now."""
        return str((await self.show())["state"])

    async def show(self) -> dict[str, Any]:
        """All there is to know about it."""
        return await self._client.show(self)

    async def why(self) -> str:
        """In one line what it waits for, or how it ended."""
        return await self._client.why(self)

    async def cancel(self) -> bool:
        """End it; False if it had ended already."""
        try:
            return await self._client.cancel(self) > 0
        except Finished:
            return False

    async def output(self, stream: str = "stdout", *, attempt: int | None = None) -> bytes:
        """What it has written so far."""
        return await self._client.output(self, stream, attempt=attempt)
