"""The future of a call through an L{jobd.client.executor.Executor}."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_PENDING, _FINISHED = "PENDING", "FINISHED"
_LAZY = frozenset({"_condition", "_waiters", "_done_callbacks"})
_making = threading.Lock()


class Keeper(Protocol):
    """Who has the calls on their way."""

    def withdraw(self, future: JobFuture[Any]) -> bool:
        """Whether it has not been sent, and now never will be."""

    def cancel(self, future: JobFuture[Any]) -> None:
        """Have the daemon cancel it if it has not been started; returns with the answer."""


class JobFuture(Future[T]):
    """
    The future of a call.

    Of a thousand futures few are waited for: most are asked for their result
    when it is there. So what waiting takes (a condition, which costs more than
    all the rest) is made when somebody asks for it first; the lock sees to it
    that a result which comes at that moment is not missed.

    @ivar job: the id of its job, once the daemon has accepted it.
    """

    _state = _PENDING
    _result: T | None = None
    _exception: BaseException | None = None
    job: int | None = None
    # Guarded by the keeper: it was sent, or never will be.
    handed = False
    withdrawn = False

    def __init__(self, keeper: Keeper, text: str = "") -> None:
        # Not Future's own, which makes everything at once.
        self._keeper = keeper
        self.text = text

    def __getattr__(self, name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with _making:
            made = self.__dict__
            if name not in made:
                made.update(_condition=threading.Condition(), _waiters=[], _done_callbacks=[])
            return made[name]

    def done(self) -> bool:
        """Whether it has ended, or was cancelled."""
        return self._state not in (_PENDING, "RUNNING")

    def result(self, timeout: float | None = None) -> T:
        """As that of every future."""
        if self._state == _FINISHED and self._exception is None:
            return self._result  # type: ignore[return-value]
        return super().result(timeout)

    def set_result(self, result: T) -> None:
        """For the keeper alone."""
        with _making:
            alone = "_condition" not in self.__dict__
            if alone:
                self._result = result
                self._state = _FINISHED
        if not alone:
            super().set_result(result)

    def cancel(self) -> bool:
        """
        Cancel the call unless it has been started. That may take a round trip
        to the daemon; inside a callback of a future, where nothing can be
        waited for, only a call that has not been sent can be cancelled.
        """
        if self.done():
            return self.cancelled()
        if self._keeper.withdraw(self):
            self.give_up()
        elif self.handed:
            self._keeper.cancel(self)
        return self.cancelled()

    def running(self) -> bool:
        """Whether the daemon has it and it has not ended."""
        return self.handed and not self.done()

    def give_up(self) -> None:
        """It is cancelled, and whoever waits is told."""
        if super().cancel():
            with contextlib.suppress(RuntimeError):  # somebody was told already
                self.set_running_or_notify_cancel()
