"""
Subscriptions that outlive their connection: L{Watch} goes on from its cursor,
L{Follow} from the bytes it has seen. Each has a connection of its own, so
that its events are never mixed with those of other requests.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Sequence
from typing import Any

from jobd.client.core import Event, Reply, Request
from jobd.client.ids import chunks, format_ids
from jobd.client.outcome import FINAL


class Watch:
    """
    Every finish event from a cursor on, none skipped and none repeated.

    @ivar since: the cursor of the last event admitted; None before the daemon has said where it begins.
    """

    def __init__(self, since: int | None = None, *, progress: bool = False) -> None:
        self.since = since
        self._progress = progress

    def requests(self) -> list[Request]:
        options: dict[str, Any] = {}
        if self.since is not None:
            options["since"] = self.since
        if self._progress:
            options["progress"] = True
        return [Request("watch", json.dumps(options))]

    def replied(self, reply: Reply) -> None:
        if self.since is None:
            self.since = int(reply.text)

    def admit(self, event: Event) -> Event | None:
        if event.cursor == 0:
            return event
        if self.since is not None and event.cursor <= self.since:
            return None
        self.since = event.cursor
        return event


class Follow:
    """
    The output of jobs as it is written, and then their finish events.

    @ivar left: the ids whose finish event is still to come.
    @ivar total: how many there were at the start.
    """

    def __init__(self, ids: Iterable[int], *, stream: str = "both", start: int = 0) -> None:
        self.left = dict.fromkeys(ids)
        self.total = len(self.left)
        self._stream = stream
        self._start = start
        self._next: dict[tuple[int, str], int] = {}
        self._overlap: dict[tuple[int, str], int] = {}

    def requests(self) -> list[Request]:
        """In bulk what has shown nothing yet; the others one by one, each from where it was."""
        fresh: list[int] = []
        requests: list[Request] = []
        for job in self.left:
            seen = [place for (owner, _), place in self._next.items() if owner == job]
            if not seen:
                fresh.append(job)
                continue
            # A stream that has shown nothing yet was empty when a negative start was measured from its end.
            both = self._stream != "both" or len(seen) == 2
            requests.append(self._request([job], min(seen) if both else max(self._start, 0)))
        self._overlap = dict(self._next)
        return [*(self._request(part, self._start) for part in chunks(fresh)), *requests]

    def _request(self, ids: Sequence[int], start: int) -> Request:
        return Request("follow", format_ids(ids) + " " + json.dumps({"stream": self._stream, "from": start}))

    def replied(self, reply: Reply) -> None:
        """The count in the reply tells nothing new."""

    def admit(self, event: Event) -> Event | None:
        if event.state in FINAL:
            if event.job not in self.left:
                return None
            del self.left[event.job]
            for name in ("stdout", "stderr"):
                self._next.pop((event.job, name), None)
            return event
        if event.state != "output":
            return event
        return self._admit_output(event)

    def _admit_output(self, event: Event) -> Event | None:
        place = (event.job, str(event.data.get("stream")))
        data = output_bytes(event.data)
        start = int(event.data.get("from", 0))
        end = start + len(data)
        seen = self._overlap.get(place, 0)
        if start < seen:
            if end <= seen:
                return None
            data, start = data[seen - start :], seen
        else:
            self._overlap.pop(place, None)
        self._next[place] = end
        return event._replace(data={"stream": place[1], "from": start, "data": data})


def output_bytes(part: dict[str, Any]) -> bytes:
    """The bytes of an C{output} event or of the reply to C{output}."""
    data = part.get("data", "")
    if isinstance(data, bytes):
        return data
    if part.get("encoding") == "base64":
        return b64decode(data)
    return str(data).encode()
