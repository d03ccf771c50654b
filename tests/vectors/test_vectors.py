"""
The Python side of the conformance vectors: how the daemon reads requests, what
it writes, and how the client reads that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import TestCase

from jobd import errors, spec, wire
from jobd.client.core import Core, Event, Reply
from jobd.client.core import Request as ClientRequest
from jobd.errors import ConnectionProblem, JobdError
from jobd.job import BY_WORD
from jobd.selector import take_selector

HERE = Path(__file__).parent

SUBMISSIONS = {"submit": spec.parse_submission, "run": spec.parse_run, "sh": spec.parse_sh, "call": spec.parse_call}
SELECTORS = ("wait", "show", "cancel", "retry", "why", "output", "follow", "progress")


def load(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((HERE / name).read_text("utf-8"))
    assert vectors
    return vectors


def line_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else vector["line"].encode()


def meaning(request: wire.Request) -> dict[str, Any]:
    """What the daemon understands, as the vectors put it."""
    tag = request.tag.decode().strip().removeprefix("#")
    out: dict[str, Any] = {"tag": tag, "verb": request.verb}
    if request.verb in SUBMISSIONS:
        out["jobs"] = [msgspec.json.decode(job.json) for job in SUBMISSIONS[request.verb](request.argument)]
    elif request.verb in SELECTORS:
        selector, rest = take_selector(request.argument)
        if selector.filter is None:
            out["ranges"] = [list(pair) for pair in selector.ranges]
        else:
            out["filter"] = msgspec.to_builtins(selector.filter)
        if rest:
            out["options"] = json.loads(rest)
    elif request.verb in ("watch", "list"):
        if request.argument:
            out["options"] = json.loads(request.argument)
    else:
        out["argument"] = request.argument.decode()
    return out


def connected(requests: int = 1) -> Core:
    """A client's core that has sent some requests."""
    core = Core()
    core.connected()
    core.receive(b"ok {}\n")
    for _ in range(requests):
        core.send(ClientRequest("ping"))
    core.outgoing()
    return core


class RequestVectorTests(TestCase):
    """C{requests.json}: what the daemon makes of each line."""

    def test_meaning(self) -> None:
        """Every request that is right is understood as the vector says."""
        for vector in load("requests.json"):
            if "error" in vector:
                continue
            expected = {key: value for key, value in vector.items() if key not in ("line", "hex")}
            self.assertEqual(expected, meaning(wire.parse_request(line_of(vector))))

    def test_errors(self) -> None:
        """Every request that is wrong is refused with the vector's code, and its tag where it has a good one."""
        for vector in load("requests.json"):
            if "error" not in vector:
                continue
            line = line_of(vector)
            problem = self.assertRaises(JobdError, lambda line=line: meaning(wire.parse_request(line)))
            self.assertEqual(vector["error"], problem.code, f"{line!r}: {problem}")
            if "verb" not in vector:
                self.assertEqual(vector.get("tag", ""), problem.tag.decode().strip().removeprefix("#"))


class SpokenVectorTests(TestCase):
    """C{replies.json}, C{events.json}, C{malformed.json}, C{streams.json}: what a daemon says."""

    def test_replies_are_written(self) -> None:
        """The daemon writes each reply just so."""
        for vector in load("replies.json"):
            tag = b"#%s " % vector["tag"].encode() if vector["tag"] else b""
            if vector["ok"]:
                written = wire.ok(tag, vector["text"].encode())
            elif vector["code"] in errors.BY_CODE:
                problem = errors.BY_CODE[vector["code"]](vector["text"])
                self.assertEqual(vector["retryable"], problem.retryable)
                written = wire.error(tag, problem)
            else:
                continue
            self.assertEqual(line_of(vector) + b"\n", written)

    def test_replies_are_read(self) -> None:
        """The client reads each reply that has no tag, as it sends none; an error becomes that of its code."""
        for vector in load("replies.json"):
            if vector["tag"]:
                continue
            (reply,) = connected().receive(line_of(vector) + b"\n")
            assert isinstance(reply, Reply)
            if vector["ok"]:
                self.assertEqual((vector["text"], None), (reply.text, reply.error))
            else:
                assert reply.error is not None
                self.assertEqual(type(errors.from_wire(vector["code"], "")), type(reply.error))
                self.assertEqual(vector["retryable"], reply.error.retryable)

    def test_events_are_written(self) -> None:
        """The daemon writes each event just so."""
        for vector in load("events.json"):
            line = line_of(vector)
            outcome = line.split(b" ", 4)[4] if line.count(b" ") > 3 else b""
            self.assertEqual(
                line + b"\n", wire.event(vector["cursor"], vector["job"], vector["state"].encode(), outcome)
            )

    def test_events_are_read(self) -> None:
        """The client reads each event, and knows which of them end a job."""
        for vector in load("events.json"):
            core = connected()
            core.outstanding.add(vector["job"])
            (event,) = core.receive(line_of(vector) + b"\n")
            assert isinstance(event, Event)
            expected = tuple(vector[name] for name in ("cursor", "job", "state", "json"))
            self.assertEqual(expected, (event.cursor, event.job, event.state, event.data))
            state = BY_WORD.get(vector["state"])
            self.assertEqual(vector["final"], state is not None and state.final)
            self.assertEqual(vector["final"], vector["job"] not in core.outstanding)

    def test_malformed(self) -> None:
        """The client ends the connection over each line that no daemon may say."""
        for vector in load("malformed.json"):
            self.assertRaises(ConnectionProblem, connected().receive, line_of(vector) + b"\n")

    def test_streams(self) -> None:
        """Lines are the same wherever the stream was cut."""
        for vector in load("streams.json"):
            lines = wire.Lines()
            found = [line for chunk in vector["chunks"] for line in lines.feed(chunk.encode())]
            self.assertEqual([line.encode() for line in vector["lines"]], found)
