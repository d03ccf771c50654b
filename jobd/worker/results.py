"""What becomes of a call: its arguments, its value, its exception."""

from __future__ import annotations

import binascii
import json
import pickle
import re
import traceback
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from types import CoroutineType, TracebackType
from typing import Any

import msgspec

from jobd.worker.modules import CannotFind, Modules
from jobd.worker.outcome import Ended, failed, members

RESULT_LIMIT = 524_288
"""Bytes of a result, as JSON or base64; the limit of docs/protocol.md."""

DEEPEST = 100
"""Levels of lists and objects in a result: what every JSON reader can follow."""

_TEXT_LIMIT = 65_536
"""Characters of a traceback or an error, at most."""

SUCCEEDED = b"succeeded"
FAILED = b"failed"
_JSON_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NOTHING = Ended(SUCCEEDED, 0, b', "result": null')


class CallSpec(msgspec.Struct):
    """The fields of a job that matter to a worker of calls."""

    call: str = ""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    pickle: str | None = None
    cwd: str | None = None
    env: dict[str, str | None] | None = None


decode_spec: Callable[[bytes], CallSpec] = msgspec.json.Decoder(CallSpec).decode
encode = msgspec.json.Encoder().encode


def invoke(spec: CallSpec, modules: Modules) -> Any:
    """The call's value, or its coroutine. Raises whatever it raises."""
    if spec.pickle is None:
        return modules.find(spec.call)(*spec.args, **spec.kwargs)
    return unpickle(spec)()


def unpickle(spec: CallSpec) -> Callable[[], Any]:
    """The call in C{spec.pickle}, with its arguments. Raises whatever unpickling raises."""
    function, args, kwargs = pickle.loads(binascii.a2b_base64(spec.pickle or ""))
    return partial(function, *args, **kwargs)


def run_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Run it to its end in an event loop of its own."""
    import asyncio

    return asyncio.run(coroutine)


def returned(value: Any, pickled: bool) -> Ended:
    """How the attempt of a call that returned C{value} ended."""
    if pickled:
        return _returned_pickle(value)
    if value is None:
        return _NOTHING
    try:
        text = encode(value)
        if b"null" in text:
            # A number that JSON does not have has become null; null itself may stand there.
            text = json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False).encode()
    except OverflowError:
        return _returned_large_integer(value)
    except Exception as problem:
        return failed(f"the result is not JSON: a value of type {_type_name(value)} ({problem})")
    return _within_limit(text, b', "result": %b', "JSON")


def _returned_large_integer(value: Any) -> Ended:
    try:
        text = json.dumps(value, allow_nan=False).encode()
    except Exception as problem:
        return failed(f"the result is not JSON: a value of type {_type_name(value)} ({problem})")
    return _within_limit(text, b', "result": %b', "JSON")


def _returned_pickle(value: Any) -> Ended:
    try:
        text = binascii.b2a_base64(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), newline=False)
    except Exception as problem:
        return failed(f"the result cannot be pickled: a value of type {_type_name(value)} ({problem})")
    return _within_limit(text, b', "pickle": "%b"', "base64")


def _within_limit(text: bytes, form: bytes, what: str) -> Ended:
    if len(text) > RESULT_LIMIT:
        size = f"{len(text)} bytes of {what}, {RESULT_LIMIT} is the limit"
        return failed(f"the result is too long: {size}; write it to a file")
    if text.count(b"[") + text.count(b"{") > DEEPEST and _levels(text) > DEEPEST:
        return failed(f"the result is too deep: lists and objects in it are more than {DEEPEST} levels deep")
    return Ended(SUCCEEDED, 0, form % text)


def _levels(json: bytes) -> int:
    """Of lists and objects in each other."""
    marks = _JSON_STRING.sub(b"", json)
    return max(accumulate((mark in b"[{") - (mark in b"]}") for mark in marks if mark in b"[]{}"), default=0)


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def raised(problem: BaseException, pickled: bool) -> Ended:
    """How the attempt of a call that raised C{problem} ended."""
    if isinstance(problem, CannotFind):
        return failed(str(problem))
    exit_code = 1
    if isinstance(problem, SystemExit):
        exit_code = _exit_code(problem)
        if exit_code == 0:
            return _returned_pickle(None) if pickled else _NOTHING
    try:
        error = "".join(traceback.format_exception_only(type(problem), problem)).strip()
        story = "".join(traceback.format_exception(type(problem), problem, user_part(problem.__traceback__)))
    except Exception:
        # An exception whose own text cannot be made.
        error = story = type(problem).__name__
    extra = members(
        error=_shorten(error),
        traceback=_shorten(story),
        pickle=_pickle_exception(problem) if pickled else None,
    )
    return Ended(FAILED, exit_code, extra)


def _exit_code(problem: SystemExit) -> int:
    if problem.code is None:
        return 0
    return problem.code & 0xFF if isinstance(problem.code, int) else 1


def user_part(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without the worker's own frames at its beginning."""
    part = frames
    while part is not None and str(part.tb_frame.f_globals.get("__name__", "")).startswith(_OWN):
        part = part.tb_next
    return part


_OWN = ("jobd.worker.", "__main__")


def _shorten(text: str) -> str:
    if len(text) > _TEXT_LIMIT:
        half = _TEXT_LIMIT // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _pickle_exception(problem: BaseException) -> str | None:
    """In base64; C{None} if it could not be had back from there."""
    try:
        data = pickle.dumps(problem, pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)
    except Exception:
        return None
    text = binascii.b2a_base64(data, newline=False).decode()
    return text if len(text) <= RESULT_LIMIT else None
