"""
Python callables on their way to a worker and values on their way back.

A callable that the worker can import goes by reference. One that it cannot
(a lambda, a function inside a function or in C{__main__}) goes by value, with
cloudpickle from the extra C{pickle}; then both ends need the same version of
Python.
"""

from __future__ import annotations

import pickle
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobd.client.outcome import Outcome
from jobd.errors import BadValue, JobFailed, RemoteTraceback

_PROTOCOL = 5


def dump(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """
    The field C{pickle} of a job.

    @raise BadValue: something in it cannot be pickled.
    """
    content = (func, tuple(args), dict(kwargs))
    try:
        data = pickle.dumps(content, _PROTOCOL)
    except Exception as error:
        data = _by_value(content, error)
    else:
        # In the worker __main__ is another program.
        if b"__main__" in data:
            data = _by_value(content, None)
    return b2a_base64(data, newline=False).decode("ascii")


def _by_value(content: tuple[Any, ...], why: Exception | None) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        reason = why or "it belongs to __main__, which a worker cannot import"
        raise BadValue(
            f"cannot send {content[0]!r} by reference ({reason}): move it into a module, "
            "or install the extra 'pickle' (cloudpickle) to send it by value"
        ) from why
    try:
        data: bytes = cloudpickle.dumps(content, _PROTOCOL)
    except Exception as error:
        raise BadValue(f"cannot pickle {content[0]!r} and its arguments: {error}") from error
    return data


def value(outcome: Outcome) -> Any:
    """
    What a call returned; None for a command that succeeded.

    @raise Exception: what the call raised, where it came as a pickle; else
        L{JobFailed}. The traceback of the worker is its C{__cause__}.
    """
    if outcome.state != "succeeded":
        raise _failure(outcome)
    text = outcome.pickle
    if text is None:
        return outcome.result
    try:
        return _load(text)
    except Exception as failure:
        raise _unreadable("result", outcome, failure) from failure


def _failure(outcome: Outcome) -> BaseException:
    """What L{value} raises for an outcome other than success."""
    if outcome.pickle is None:
        return outcome.failure()
    try:
        raised = _load(outcome.pickle)
    except Exception as failure:
        problem = _unreadable("exception", outcome, failure)
        problem.__cause__ = RemoteTraceback(outcome.traceback or outcome.describe())
        return problem
    if not isinstance(raised, BaseException):
        return outcome.failure()
    raised.__cause__ = RemoteTraceback(outcome.traceback or outcome.describe())
    return raised


def _load(text: str) -> Any:
    return pickle.loads(a2b_base64(text))


def _unreadable(what: str, outcome: Outcome, failure: Exception) -> JobFailed:
    detail = f" ({outcome.error})" if outcome.error else ""
    return JobFailed(f"the {what} of job {outcome.id} cannot be read here: {failure!r}{detail}", outcome)
