"""A job as the Twisted client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from jobd.client import pickling
from jobd.client.outcome import Outcome
from jobd.client.txlink import Promise
from jobd.errors import Finished

if TYPE_CHECKING:
    from jobd.client.tx import Client


class Job:
    """
    One job, as L{jobd.client.jobs.Job} but with Deferreds.

    @ivar id: its number.
    """

    def __init__(self, client: Client, job: int) -> None:
        self._client = client
        self.id = job
        self.done: Promise[Outcome] = Promise()

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def wait(self, timeout: float | None = None) -> Deferred[Outcome]:
        """Fires when it has ended, however it ended."""
        return self._client.wait([self], timeout).addCallback(lambda outcomes: outcomes[0])

    def result(self, timeout: float | None = None) -> Deferred[Any]:
        """Fires with what the call returned; fails as L{jobd.client.jobs.Job.result} raises."""
        return self.wait(timeout).addCallback(pickling.value)

    def state(self) -> Deferred[str]:
        """The state it is in now."""
        return self.show().addCallback(lambda shown: str(shown["state"]))

    def show(self) -> Deferred[dict[str, Any]]:
        """All there is to know about it."""
        return self._client.show(self)

    def why(self) -> Deferred[str]:
        """In one line what it waits for, or how it ended."""
        return self._client.why(self)

    def cancel(self) -> Deferred[bool]:
        """End it; False if it had ended already."""

        def finished(failure: Any) -> bool:
            failure.trap(Finished)
            return False

        return self._client.cancel(self).addCallbacks(lambda count: count > 0, finished)

    def output(self, stream: str = "stdout", *, attempt: int | None = None) -> Deferred[bytes]:
        """What it has written so far."""
        return self._client.output(self, stream, attempt=attempt)
