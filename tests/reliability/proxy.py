"""
A proxy between a client and a daemon that does what networks do: it holds
back, cuts into pieces, resets, swallows, hangs up slowly, and is not there for
a while. What it does to each connection is a L{Fault}; a L{Script} says which.

All proxies of a process share one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import attrs

T = TypeVar("T")

Way = Literal["up", "down"]
"""From the client to the daemon, or back."""

WAYS: tuple[Way, ...] = ("up", "down")

End = Literal["none", "reset", "close", "slow close", "half close", "hole", "refuse"]

LIMIT = 60.0
"""Seconds that a proxy may take to start or stop."""

_READ = 65536


@attrs.frozen
class Fault:
    """
    What happens to one connection.

    @ivar delay: seconds that each piece is held back.
    @ivar jitter: further seconds, up to this, at random.
    @ivar piece: bytes that are passed on at a time.
    @ivar end: what becomes of it in the end. C{reset}: both sides see it
        reset. C{close}: both sides see it closed; C{slow close}: after a
        pause in which nothing passes. C{half close}: whoever is at the end of
        the way sees the end of the bytes, and nothing else changes. C{hole}:
        it stays, and nothing passes the ways any more. C{refuse}: as
        C{reset}, and for a pause nobody listens.
    @ivar ways: the ways it concerns; the first one's bytes are counted.
    @ivar after: bytes that pass before the end, which comes with the next one; 0: it comes at once.
    @ivar pause: seconds.
    """

    delay: float = 0.0
    jitter: float = 0.0
    piece: int = _READ
    end: End = "none"
    ways: tuple[Way, ...] = WAYS
    after: int = 0
    pause: float = 0.0


Script = Callable[[int], Fault]
"""From the number of a connection, 0 for the first, to what happens to it."""

FAIR = Fault()


class _Struck(Exception):
    """The end of a connection has come."""


@functools.cache
def _running() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="fault proxies", daemon=True).start()
    return loop


_guard = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all proxies, in a thread of its own."""
    with _guard:
        return _running()


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result(LIMIT)


class FaultProxy:
    """
    A listener before a daemon's; runs while the C{with} block does.

    @param upstream: the daemon's host and port, or the path of its Unix socket; the proxy listens on the same kind.
    @param seed: of the jitter.
    @ivar struck: how often each end has come over a connection.
    @ivar connections: how many there have been.
    """

    def __init__(self, upstream: tuple[str, int] | str, script: Script, *, seed: int = 0) -> None:
        self.struck: Counter[End] = Counter()
        self.connections = 0
        self._upstream = upstream
        self._script = script
        self._random = random.Random(seed)
        self._folder = tempfile.TemporaryDirectory(prefix="jobd-test-")
        self._address: tuple[str, int] | str = ("127.0.0.1", 0)
        if isinstance(upstream, str):
            self._address = str(Path(self._folder.name) / "s")
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> FaultProxy:
        _run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run(self._stop())
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Where clients are to connect."""
        if isinstance(self._address, str):
            return f"jobd+unix://{self._address}"
        return f"jobd://127.0.0.1:{self._address[1]}"

    async def _start(self) -> None:
        self._listener = self._listen()

    async def _stop(self) -> None:
        self._hang_up()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hang_up(self) -> None:
        if self._listener is not None:
            _loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = _loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _listen(self) -> socket.socket:
        if isinstance(self._address, str):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._address)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self._address)
            listener.listen(128)
        else:
            listener = socket.create_server(self._address, backlog=128)
            self._address = listener.getsockname()
        listener.setblocking(False)
        _loop().add_reader(listener, self._accept, listener)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # whoever it was has gone already
            client, _ = listener.accept()
            self._keep(self._serve(client, self._script(self.connections)))
            self.connections += 1

    async def _refuse(self, pause: float) -> None:
        if self._listener is not None:
            self._hang_up()
            await asyncio.sleep(pause)
            self._listener = self._listen()

    async def _serve(self, client: socket.socket, fault: Fault) -> None:
        server = socket.socket(socket.AF_UNIX if isinstance(self._upstream, str) else socket.AF_INET)
        with client, server:
            for one in (client, server):
                one.setblocking(False)
                if one.family == socket.AF_INET:
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await _loop().sock_connect(server, self._upstream)
            except OSError:
                return
            await _Connection(self, client, server, fault).run()
        if fault.end == "refuse":
            await self._refuse(fault.pause)

    def pause(self, fault: Fault) -> float:
        """Seconds to hold the next piece back."""
        return fault.delay + fault.jitter * self._random.random()


class _Connection:
    """A client's connection and the one to the daemon."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._fault = fault
        self._holes: set[Way] = set()

    async def run(self) -> None:
        """Until both sides have ended, or the end has come."""
        up = asyncio.ensure_future(self._pump("up", self._client, self._server))
        down = asyncio.ensure_future(self._pump("down", self._server, self._client))
        pumps = (up, down)
        try:
            await asyncio.gather(*pumps)
        except _Struck:
            await self._stop(pumps)
            await self._end()
        except OSError:
            pass
        finally:
            await self._stop(pumps)

    async def _stop(self, pumps: tuple[asyncio.Future[None], ...]) -> None:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        fault, passed = self._fault, 0
        counted = fault.end != "none" and way == fault.ways[0]
        if counted and not fault.after:
            counted = self._strike(sink)
        while True:
            left = fault.after - passed if counted else _READ
            data = await _loop().sock_recv(source, min(max(left, 1), fault.piece))
            if not data:
                break
            if left <= 0:
                counted = self._strike(sink)
            if way in self._holes:
                continue
            seconds = self._proxy.pause(fault)
            if seconds:
                await asyncio.sleep(seconds)
            passed += len(data)
            await _loop().sock_sendall(sink, data)
        if way in self._holes:
            # The other side hears nothing of the end either.
            await asyncio.Event().wait()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _strike(self, sink: socket.socket) -> bool:
        """
        The end has come; it comes once.

        @raise _Struck: for the whole connection, and not only for a way.
        """
        self._proxy.struck[self._fault.end] += 1
        if self._fault.end == "half close":
            sink.shutdown(socket.SHUT_WR)
            self._holes.update(self._fault.ways[:1])
        elif self._fault.end == "hole":
            self._holes.update(self._fault.ways)
        else:
            raise _Struck
        return False

    async def _end(self) -> None:
        if self._fault.end == "slow close":
            await asyncio.sleep(self._fault.pause)
        elif self._fault.end in ("reset", "refuse"):
            for one in (self._client, self._server):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def always(fault: Fault) -> Script:
    """The same for every connection."""
    return lambda number: fault


def at_first(count: int, make: Callable[[random.Random], Fault], seed: int) -> Script:
    """The first connections each get a fault of their own; those after them none, so that everything ends."""

    def script(number: int) -> Fault:
        return make(random.Random(f"{seed}.{number}")) if number < count else FAIR

    return script


def offset(source: random.Random) -> int:
    """How many bytes pass before the end: often few, so that greetings and first replies are cut, too."""
    return source.randrange(source.choice((100, 600, 4000)))


def _ended(end: End, pause: float = 0.0, ways: tuple[Way, ...] | None = None) -> Callable[[random.Random], Fault]:
    def make(source: random.Random) -> Fault:
        chosen = ways or source.choice((("up", "down"), ("down", "up")))
        return Fault(end=end, ways=chosen, after=offset(source), pause=pause)

    return make


def _slowed(source: random.Random) -> Fault:
    return source.choice((Fault(delay=0.02), Fault(jitter=0.03), Fault(piece=1), Fault(piece=7, jitter=0.001)))


ENDS: dict[str, Callable[[random.Random], Fault]] = {
    "reset": _ended("reset"),
    "close": _ended("close"),
    "slow close": _ended("slow close", 0.3),
    "half close to the daemon": _ended("half close", ways=("up",)),
    "half close to the client": _ended("half close", ways=("down",)),
    "black hole": _ended("hole"),
    "black hole to the daemon": _ended("hole", ways=("up",)),
    "black hole to the client": _ended("hole", ways=("down",)),
    "refusal": _ended("refuse", 0.5),
}


def _any(source: random.Random) -> Fault:
    slow = _slowed(source) if source.random() < 0.5 else FAIR
    fault = source.choice(list(ENDS.values()))(source)
    return attrs.evolve(fault, delay=slow.delay, jitter=slow.jitter, piece=slow.piece)


def scripts(seed: int) -> dict[str, Script]:
    """Every fault by its name, with what is random in it drawn from the seed."""
    return {
        "delay": always(Fault(delay=0.02)),
        "jitter": always(Fault(jitter=0.03)),
        "one byte at a time": always(Fault(piece=1)),
        **{name: at_first(3, make, seed) for name, make in ENDS.items()},
        "anything": at_first(6, _any, seed),
    }
