"""What clients read from a daemon, or from whatever answers in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from jobd.client.core import Core, Event, Forgotten, Reply, Request, Stream
from jobd.client.outcome import FINAL, Outcome
from jobd.client.reading import told
from jobd.client.streams import Follow, Watch
from jobd.errors import JobdError
from tests.fuzz import material
from tests.fuzz.target import Target, cuts, same

GREETING = b'ok {"jobd": "0.1.0", "protocol": 1, "auth": "done", "local": true}\n'


def _asking() -> Core:
    """A client that has asked for several things."""
    core = Core()
    _greet(core)
    core.send(Request("ping"))
    core.send(Request("submit", notified=[True, False, True]))
    core.send(Request("wait", waits=[1, 2, 3]))
    core.send(Request("show"))
    return core


def _greet(core: Core) -> None:
    core.connected()
    core.outgoing()
    assert len(core.receive(GREETING)) == 1


def _streaming(stream: Callable[[], Stream]) -> Callable[[], Core]:
    def make() -> Core:
        core = Core(stream=stream())
        _greet(core)
        return core

    return make


CLIENTS: tuple[Callable[[], Core], ...] = (
    _asking,
    _streaming(lambda: Watch(0, progress=True)),
    _streaming(Watch),
    _streaming(lambda: Follow([1, 2, 3])),
)


def check_client(data: bytes) -> None:
    """A client makes the same of it wherever it is cut: replies and events, or the end of the connection, and why."""
    for make in CLIENTS:
        same([_read(make(), way) for way in cuts(data)])


def _read(core: Core, parts: Sequence[bytes]) -> object:
    found: list[str] = []
    try:
        for part in parts:
            for item in core.receive(part):
                found.append(_as_the_user_sees(item))
    except JobdError as problem:
        # What came in one piece with nonsense goes with it.
        return type(problem)
    again = [request.line for request in core.disconnected()]
    return found, core.cursor, sorted(core.outstanding), core.reason is None, again


def _as_the_user_sees(item: Any) -> str:
    if isinstance(item, Event):
        if item.state in FINAL:
            outcome = Outcome(item.job, item.cursor, item.state, item.data)
            outcome.describe(), outcome.failure()
        elif item.state != "output" or isinstance(item.data.get("data"), bytes):
            told(item)
        return repr(item)
    if isinstance(item, Reply):
        return f"{item.request.verb if hasattr(item.request, 'verb') else item.request.line!r} {item.text} {item.error}"
    assert isinstance(item, Forgotten)
    return repr(item)


_EVENTS = st.builds(
    lambda words, state, outcome, end: b" ".join([b"*", *words, state, *([outcome] if outcome else [])]) + end,
    st.one_of(
        st.sampled_from([(b"0", b"1"), (b"1", b"1"), (b"2", b"2"), (b"3", b"3"), (b"4", b"17")]),
        st.lists(st.sampled_from([b"0", b"1", b"-1", b"", b"x", b"9" * 30]), min_size=1, max_size=3),
    ),
    st.sampled_from([b"succeeded", b"failed", b"group", b"output", b"progress", b"lost", b"odd", b"\xff"]),
    st.one_of(
        st.just(b""),
        st.dictionaries(
            st.sampled_from(["stream", "from", "data", "encoding", "error", "exit_code", "because", "traceback"]),
            material.VALUES | st.sampled_from(["stdout", "base64", "AAAA", "x"]),
            max_size=5,
        ).map(material.as_json),
        material.VALUES.map(material.as_json),
        material.among(material.ODD),
    ),
    st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b""]),
)

_REPLIES = st.builds(
    lambda word, text, end: word + text + end,
    st.sampled_from([b"ok", b"ok ", b"ok ", b"error ", b"error NO_SUCH_JOB ", b"error AUTH ", b"#t ok ", b"error"]),
    st.one_of(
        st.sampled_from([b"1-3", b"1,2,9", b"1-99999999999999", b"3-1", b"", b"{}", b"[]", b"1", b"x", b"GONE x"]),
        material.VALUES.map(material.as_json),
        material.among(material.ODD),
    ),
    st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b""]),
)

CLIENT = Target("client", check_client, material.inputs("client", material.pieces(_EVENTS | _REPLIES)))
