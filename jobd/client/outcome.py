"""How a job ended, as a finish event tells it."""

from __future__ import annotations

from typing import Any

from jobd.errors import JobFailed, RemoteTraceback, WorkerDied

FINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out", "lost", "skipped"})
"""The states that are never left."""


class Outcome:
    """
    How one job ended.

    C{state} is one of the final states. What does not apply is C{None}:
    C{exit_code}, C{signal} (as C{"SIGKILL"}), C{wall}, C{user} and C{sys} in
    seconds, C{max_rss} in bytes, C{attempt}, C{error} (a sentence),
    C{traceback} (text, of a failed call), C{result} (what a call returned, as
    JSON), C{pickle} (base64), C{because} (the id of the job because of which
    this one was skipped), C{left} (processes it had left behind), C{cut} (true if more was written than
    is kept).
    """

    __slots__ = ("cursor", "data", "id", "state")

    def __init__(self, job: int, cursor: int, state: str, data: dict[str, Any]) -> None:
        self.id = job
        self.cursor = cursor
        self.state = state
        self.data = data

    def __repr__(self) -> str:
        return f"<Outcome of job {self.id}: {self.state} {self.data}>"

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.state == "succeeded"

    @property
    def exit_code(self) -> int | None:
        value: int | None = self.data.get("exit_code")
        return value

    @property
    def signal(self) -> str | None:
        value: str | None = self.data.get("signal")
        return value

    @property
    def wall(self) -> float | None:
        value: float | None = self.data.get("wall")
        return value

    @property
    def user(self) -> float | None:
        value: float | None = self.data.get("user")
        return value

    @property
    def sys(self) -> float | None:
        value: float | None = self.data.get("sys")
        return value

    @property
    def max_rss(self) -> int | None:
        value: int | None = self.data.get("max_rss")
        return value

    @property
    def attempt(self) -> int | None:
        value: int | None = self.data.get("attempt")
        return value

    @property
    def error(self) -> str | None:
        value: str | None = self.data.get("error")
        return value

    @property
    def traceback(self) -> str | None:
        value: str | None = self.data.get("traceback")
        return value

    @property
    def result(self) -> Any:
        return self.data.get("result")

    @property
    def pickle(self) -> str | None:
        value: str | None = self.data.get("pickle")
        return value

    @property
    def because(self) -> int | None:
        value: int | None = self.data.get("because")
        return value

    @property
    def left(self) -> int | None:
        value: int | None = self.data.get("left")
        return value

    @property
    def cut(self) -> bool | None:
        value: bool | None = self.data.get("cut")
        return value

    def describe(self) -> str:
        """One sentence for people, as C{job 17 failed: exit code 3}."""
        words = self.state.replace("_", " ")
        if self.error:
            detail = self.error
        elif self.because is not None:
            detail = f"job {self.because}, which it was to come after, ended otherwise"
        elif self.signal:
            detail = f"ended by {self.signal}"
        elif self.exit_code and not self.ok:
            detail = f"exit code {self.exit_code}"
        else:
            return f"job {self.id} {words}"
        return f"job {self.id} {words}: {detail}"

    def failure(self) -> JobFailed:
        """The error that stands for an outcome other than success."""
        kind = WorkerDied if self.state == "lost" else JobFailed
        problem = kind(self.describe(), self)
        if self.traceback:
            problem.__cause__ = RemoteTraceback(self.traceback)
        return problem
