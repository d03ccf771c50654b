"""
The client's side of the protocol, without a socket: one core under the
blocking, the asyncio, the Twisted client, the Executor and C{jobctl}.

The rules:

  - The owner feeds it (L{Core.send}, L{Core.receive}, L{Core.connected},
    L{Core.disconnected}) from one thread, and writes what L{Core.outgoing}
    returns whenever that is not empty.
  - Replies come in the order of the requests, so a queue of requests is all
    it takes to tell which request a reply answers.
  - A finish event is handed on once for each time somebody asked: the ids
    still asked for are L{Core.outstanding}, and an event for another id is
    dropped. So on a fresh connection everything outstanding can simply be
    asked for again, and an event that was already on its way does no harm.
  - A request whose reply never came is sent again only if doing it twice is
    the same as doing it once; a submission is such a request if each of its
    jobs has a key. The others are handed back to the owner, who must say that
    nobody knows what became of them.
  - Every connection begins with C{hello}, and nothing is asked for before the
    daemon has said who it is: one that has lost its jobs, as it kept them in
    memory, gives their ids to others, and must not be asked for them.

No Twisted, msgspec or attrs here: C{jobctl} starts with this module.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, NamedTuple, Protocol

from jobd.client.ids import chunks, format_ids, parse_ids
from jobd.client.outcome import FINAL
from jobd.errors import (
    BadValue,
    Busy,
    ConnectionProblem,
    JobdError,
    NoSuchJob,
    NotAuthenticated,
    Slow,
    TooLong,
    from_wire,
)

MAX_LINE = 1_048_576
"""Bytes in a request line with its line break, as docs/protocol.md says."""

HOW_TO_AUTHENTICATE = "give the token with JOBD_TOKEN, or its file with JOBD_TOKEN_FILE"

BEGUN_ANEW = "the daemon has come back without its jobs (it is another instance)"

FAREWELLS = (Busy, Slow)
"""What a daemon says before it hangs up: the reply to no request, whatever is pending."""

MAX_INCOMING = 1 << 30
"""Bytes without a line break after which the other end is not a jobd."""


class Request:
    """
    One request line and what must be known of it until its reply has come.

    @ivar again: doing it twice is the same as doing it once.
    @ivar waits: the ids whose finish events it asks for.
    @ivar notified: for a submission: which of its jobs announce their finish here.
    @ivar context: whatever the owner wants to find again with the reply.
    """

    __slots__ = ("again", "context", "line", "notified", "waits")

    def __init__(
        self,
        verb: str,
        argument: str = "",
        *,
        again: bool = True,
        waits: Iterable[int] = (),
        notified: list[bool] | None = None,
        context: Any = None,
    ) -> None:
        text = f"{verb} {argument}" if argument else verb
        if "\n" in text:
            raise BadValue(f"{verb}: a line break cannot be part of a request")
        try:
            self.line = text.encode() + b"\n"
        except UnicodeEncodeError:
            raise BadValue(f"{verb}: this text is not valid Unicode: {argument[:60]!r}") from None
        if len(self.line) > MAX_LINE:
            raise TooLong(f"{verb}: the request has {len(self.line)} bytes; a line may have {MAX_LINE}")
        self.again = again
        self.waits = tuple(waits)
        self.notified = notified
        self.context = context

    def lost(self) -> None:
        """Its reply will not come, and it is going to be sent again."""


class Reply(NamedTuple):
    """The answer to one request: C{text} after C{ok}, or an error."""

    request: Request
    text: str
    error: JobdError | None = None


class Event(NamedTuple):
    """Something that happened; C{job} is 0 and C{cursor} is 0 where docs/protocol.md says so."""

    cursor: int
    job: int
    state: str
    data: dict[str, Any]


class Forgotten(NamedTuple):
    """A job that was waited for and is no longer kept by the daemon."""

    job: int
    error: JobdError


class Greeting(NamedTuple):
    """
    What the daemon says of itself at the start of each connection.

    C{local}: it is on the same machine. C{anew}: it is another one than
    before, so that its cursors begin anew.
    """

    local: bool
    anew: bool = False


Item = Reply | Event | Forgotten | Greeting


class Stream(Protocol):
    """A subscription that a connection serves, and how it goes on on the next one."""

    def requests(self) -> list[Request]:
        """What to ask for on a fresh connection."""

    def replied(self, reply: Reply) -> None:
        """A reply to one of the requests, not an error."""

    def admit(self, event: Event) -> Event | None:
        """The event as the user is to see it, or None if it was seen before."""


# The contexts of the core's own requests.
_AUTH = object()
_HELLO = object()
_AGAIN = object()
_STREAM = object()
_PING = object()
_OWN = (_AUTH, _HELLO, _AGAIN, _STREAM, _PING)


class Core:
    """
    The state of one client over all of its connections.

    @param decode: reads JSON; msgspec does it in a seventh of the time, where importing that does not matter.
    @ivar cursor: the highest cursor seen.
    @ivar outstanding: the ids whose finish events are still to come.
    @ivar reason: what the daemon said before it closed, if it said anything.
    @ivar of_use: this connection has brought more than a greeting, or no more was wanted of it.
    """

    def __init__(
        self, token: str | None = None, stream: Stream | None = None, decode: Callable[[bytes], Any] = json.loads
    ) -> None:
        self.cursor = 0
        self.outstanding: set[int] = set()
        self.reason: JobdError | None = None
        self.of_use = False
        self._token = token
        self._stream = stream
        self._decode = decode
        self._instance: str | None = None
        self._online = False
        self._pending: deque[Request] = deque()
        self._later: list[Request] = []
        self._out: list[bytes] = []
        self._parts: list[bytes] = []
        self._held = 0

    def send(self, request: Request) -> None:
        """Ask for something: now, or once there is a connection and the daemon has greeted us."""
        self.outstanding.update(request.waits)
        if self._online:
            self._ask(request)
        else:
            self._later.append(request)

    def ping(self) -> None:
        """Have the daemon say something; what it says is nobody's business."""
        self._ask(Request("ping", context=_PING))

    def _ask(self, request: Request) -> None:
        self._pending.append(request)
        self._out.append(request.line)

    def outgoing(self) -> bytes:
        """The bytes to write now; each is returned once."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    @property
    def owed(self) -> bool:
        """Whether the daemon owes a reply on this connection."""
        return bool(self._pending)

    @property
    def waiting(self) -> bool:
        """Whether events are to come by themselves."""
        return self._stream is not None or bool(self.outstanding)

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for has not come yet."""
        return bool(self._pending or self._later or self.waiting)

    def connected(self) -> None:
        """There is a fresh connection: greet."""
        self.reason = None
        self.of_use = False
        if self._token is not None:
            self._ask(Request("auth", self._token, context=_AUTH))
        self._ask(Request("hello", context=_HELLO))

    def _greeted(self, text: str, items: list[Item]) -> None:
        """
        Ask for all that is still open, if it is the daemon that we have asked before.

        @raise NotAuthenticated: it wants a token that we have not given.
        """
        about = json.loads(text)
        if type(about) is not dict:
            raise ValueError("an object")
        if about.get("auth") == "token":
            raise NotAuthenticated(f"the daemon wants a token: {HOW_TO_AUTHENTICATE}")
        before, now = self._instance, about.get("instance")
        self._instance = now or before
        anew = bool(before and now and now != before)
        items.append(Greeting(bool(about.get("local")), anew))
        if anew:
            self._begin_anew(items)
        self._online = True
        self._resume()
        self.of_use = not self.busy

    def _begin_anew(self, items: list[Item]) -> None:
        """
        Another daemon answers, which knows none of our jobs and gives their ids to others.

        @raise ConnectionProblem: there is a stream, which means nothing any more.
        """
        if self._stream is not None:
            raise ConnectionProblem(f"{BEGUN_ANEW}: nobody can tell more of them")
        for job in sorted(self.outstanding):
            why = ConnectionProblem(f"{BEGUN_ANEW}: nobody knows what became of job {job}")
            items.append(Forgotten(job, why))
        self.outstanding.clear()
        self.cursor = 0
        later, self._later = self._later, []
        why = ConnectionProblem(f"{BEGUN_ANEW}: nobody knows what became of this request")
        items.extend(Reply(request, "", why) for request in later)

    def _resume(self) -> None:
        later, self._later = self._later, []
        if self._stream is not None:
            for request in self._stream.requests():
                request.context = _STREAM
                self.send(request)
        asked: set[int] = set()
        for request in later:
            asked.update(request.waits)
        for ids in chunks(sorted(self.outstanding - asked)):
            self.send(Request("wait", format_ids(ids), waits=ids, context=_AGAIN))
        for request in later:
            self.send(request)

    def disconnected(self) -> list[Request]:
        """
        The connection is gone. What may be repeated is kept for the next one;
        what may not is returned.
        """
        self._online = False
        self._parts.clear()
        self._held = 0
        self._out.clear()
        pending, self._pending = self._pending, deque()
        theirs = [request for request in pending if not any(request.context is own for own in _OWN)]
        again = [request for request in theirs if request.again]
        for request in again:
            request.lost()
        self._later[:0] = again
        return [request for request in theirs if not request.again]

    def abandon(self) -> list[Request]:
        """Give up for good: every request that has no reply, and nothing is outstanding any more."""
        given_up = self.disconnected() + self._later
        self._later = []
        self.outstanding.clear()
        return given_up

    def receive(self, data: bytes) -> list[Item]:
        """
        What the bytes that came say, in order.

        @raise ConnectionProblem: the other end does not speak the protocol.
        @raise NotAuthenticated: the token is wrong.
        """
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._parts:
            data = b"".join((*self._parts, data))
            self._parts.clear()
            self._held = 0
        lines = data.split(b"\n")
        self._hold(lines.pop())
        items: list[Item] = []
        for line in lines:
            try:
                if line[:2] == b"* ":
                    event = self._event(line)
                    if event is not None:
                        items.append(event)
                elif line:
                    self._reply(line, items)
            except (ValueError, TypeError, IndexError, OverflowError, RecursionError):  # also bad UTF-8 and bad JSON
                raise _garbage(line) from None
        return items

    def _hold(self, data: bytes) -> None:
        if data:
            if not self._held and data[:1] not in b"*oe#":
                raise _garbage(data)
            self._parts.append(data)
            self._held += len(data)
            if self._held > MAX_INCOMING:
                raise _garbage(self._parts[0])

    def _event(self, line: bytes) -> Event | None:
        parts = line.split(b" ", 4)
        data = self._decode(parts[4]) if len(parts) == 5 else {}
        cursor, job = parts[1], parts[2]
        if not (cursor.isdigit() and job.isdigit() and type(data) is dict):
            raise _garbage(line)
        seen: Event | None
        seen = event = Event(int(cursor), int(job), parts[3].decode(), data)
        if self._stream is not None:
            seen = self._stream.admit(event)
        elif event.state in FINAL:
            if event.job in self.outstanding:
                self.outstanding.remove(event.job)
            else:
                seen = None
        if event.cursor > self.cursor:
            self.cursor = event.cursor
        self.of_use = True
        return seen

    def _reply(self, line: bytes, items: list[Item]) -> None:
        word, _, text = line.decode().partition(" ")
        error = None
        if word == "error":
            code, _, message = text.partition(" ")
            if not code:
                raise _garbage(line)
            error = from_wire(code, message)
            if isinstance(error, NotAuthenticated):
                error = NotAuthenticated(f"{message}; {HOW_TO_AUTHENTICATE}")
            text = ""
        elif word != "ok":
            raise _garbage(line)
        if isinstance(error, FAREWELLS) or (error is not None and not self._pending):
            self.reason = error
            return
        if not self._pending:
            raise _garbage(line)
        request = self._pending.popleft()
        if request.context is _AUTH or request.context is _HELLO:
            if error is not None:
                raise error
            if request.context is _HELLO:
                self._greeted(text, items)
            return
        self.of_use = True
        if request.context is _PING:
            return
        if request.context is _AGAIN:
            if error is not None:
                self._not_again(request, error, items)
            else:
                self._look_for_missing(request, text)
        else:
            if error is None:
                self._look_for_missing(request, text)
            items.append(self._settle(request, text, error))

    def _settle(self, request: Request, text: str, error: JobdError | None) -> Reply:
        """Note what a reply means for the events to come."""
        reply = Reply(request, text, error)
        if error is not None:
            self.outstanding.difference_update(request.waits)
        elif request.notified is not None:
            ids = parse_ids(text)
            if len(ids) != len(request.notified):
                raise ValueError("as many ids as jobs")
            self.outstanding.update(compress(ids, request.notified))
        elif self._stream is not None and request.context is _STREAM:
            self._stream.replied(reply)
        return reply

    def _look_for_missing(self, request: Request, text: str) -> None:
        """Of a range those are left out that are no longer kept: find out which."""
        if request.line.startswith(b"wait ") and len(request.waits) > 1 and text != str(len(request.waits)):
            for job in request.waits:
                self.send(Request("wait", str(job), waits=(job,), context=_AGAIN))

    def _not_again(self, request: Request, error: JobdError, items: list[Item]) -> None:
        """Asked for in bulk, one job that is no longer kept spoils it for all: ask for each by itself."""
        if isinstance(error, NoSuchJob) and len(request.waits) > 1:
            for job in request.waits:
                self.send(Request("wait", str(job), waits=(job,), context=_AGAIN))
            return
        self.outstanding.difference_update(request.waits)
        items.extend(Forgotten(job, error) for job in request.waits)


def _garbage(line: bytes) -> ConnectionProblem:
    shown = line[:60].decode("utf-8", "replace")
    return ConnectionProblem(f"what answers at this address is not jobd: it sent {shown!r}; check the URL")
