"""A job as the blocking client sees it."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from jobd.client import pickling
from jobd.client.outcome import Outcome
from jobd.errors import ConnectionProblem, Finished

if TYPE_CHECKING:
    from jobd.client.blocking import Client


class Job:
    """
    One job; get it from a client, by submitting it or with C{client.job(id)}.

    @ivar id: its number, never used for another one.
    """

    __slots__ = ("_client", "done", "id")

    def __init__(self, client: Client, job: int) -> None:
        self._client = client
        self.id = job
        self.done: Future[Outcome] = Future()
        """Ends with the outcome; it is asked for by the first L{wait}, or from the start for a job submitted here."""

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def wait(self, timeout: float | None = None) -> Outcome:
        """
        Wait until it has ended, however it ended.

        @raise WaitTimeout: it did not within C{timeout} seconds; it goes on.
        @raise NoSuchJob: there is no such job, or it is no longer kept.
        """
        return self._client.wait([self], timeout)[0]

    def result(self, timeout: float | None = None) -> Any:
        """
        Wait, and return what the call returned; None for a command.

        @raise JobFailed: it did not succeed. A call that was sent as a Python
            callable raises what it raised there; the worker's traceback is
            the C{__cause__}.
        @raise WaitTimeout: as L{wait}.
        """
        return pickling.value(self.wait(timeout))

    @property
    def state(self) -> str:
        """The state it is in now, one of those in docs/protocol.md."""
        if self.done.done() and not self.done.cancelled() and self.done.exception() is None:
            return self.done.result().state
        return str(self.show()["state"])

    def show(self) -> dict[str, Any]:
        """All there is to know about it, as C{show} tells it."""
        return self._client.show(self)

    def why(self) -> str:
        """In one line what it waits for, or how it ended."""
        return self._client.why(self)

    def cancel(self) -> bool:
        """
        End it, if it has not ended; wait for it to know that it is gone.

        @return: False if it had ended already.
        """
        try:
            return self._client.cancel(self) > 0
        except Finished:
            return False

    def output(self, stream: str = "stdout", *, attempt: int | None = None) -> bytes:
        """What it has written so far to C{"stdout"} or C{"stderr"}, as bytes."""
        return self._client.output(self, stream, attempt=attempt)


def outcome_of(job: Job) -> Outcome:
    """The outcome of a job whose C{done} has ended; or the reason why nobody will tell."""
    try:
        return job.done.result(0)
    except CancelledError:
        raise ConnectionProblem(f"this client has stopped waiting for job {job.id}") from None
