"""
The work of one cycle: what good clients do, and what bad ones do, each by a function that leaves nothing running.
All take the daemon and the number of the cycle and return how many jobs they have had.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jobd
from jobd import Executor
from jobd.client.reading import Output
from tests.daemon import Daemon
from tests.functional.conversation import Talk

Work = Callable[[Daemon, int], int]

MIB = 1 << 20

FILLING = 100
"""Calls at once: more than there are threads for."""


class Trouble(AssertionError):
    """The daemon did not do what it should."""


def expect(expected: object, found: object) -> None:
    """What every piece of work sees to."""
    if expected != found:
        raise Trouble(f"expected {expected!r}, found {found!r}")


def commands(daemon: Daemon, cycle: int) -> int:
    """Commands through the blocking client: with output, with an exit code, with the same key twice."""
    with jobd.connect(daemon.url) as client:
        jobs = [client.shell(f"echo {number}; exit {number % 3}") for number in range(20)]
        expect([number % 3 for number in range(20)], [one.exit_code for one in client.wait(jobs)])
        expect(b"7\n", client.output(jobs[7]))
        key = f"soak-{cycle}"
        first = client.run("true", key=key)
        expect(first.id, client.run("true", key=key).id)
        expect([True], [one.ok for one in client.wait([first])])
        return len(jobs) + 1


def calls(daemon: Daemon, cycle: int) -> int:
    """Many short calls in warm workers, calls that wait in lane C{io}, and one with an exception."""
    with jobd.connect(daemon.url) as client:
        expect(list(range(200)), list(client.map("builtins:int", range(200))))
        waiting = [client.options(lane="io").call("time:sleep", 0.01) for _ in range(20)]
        wrong = client.call("math:sqrt", -1)
        expect([True] * 20 + [False], [one.ok for one in client.wait([*waiting, wrong])])
    with Executor(daemon.url) as executor:
        expect([1, 1, 2, 6], list(executor.map(_factorial, range(4))))
    return 225


def _factorial(number: int) -> int:
    return 1 if number < 2 else number * _factorial(number - 1)


def endings(daemon: Daemon, cycle: int) -> int:
    """Jobs that are cancelled while they run and while they wait, that take too long, and that are tried again."""
    with Talk.tcp(daemon, daemon.token) as talk:
        running = talk.submit(argv=["sleep", "1000"], cpus=0)
        waiting = talk.submit(argv=["true"], delay=1000)
        late = talk.submit(argv=["sleep", "1000"], cpus=0, timeout=0.1, grace=0)
        again = talk.submit(shell="exit 4", attempts=3, backoff=0)
        for job in (running, waiting):
            expect("1", talk.ok(f"cancel {job}"))
        states = [talk.end_of(job).state for job in (running, waiting, late, again)]
        expect(["cancelled", "cancelled", "timed_out", "failed"], states)
        new = int(talk.ok(f"retry {again}"))
        expect("failed", talk.end_of(new).state)
        return 5


def together(daemon: Daemon, cycle: int) -> int:
    """A group with an order in it, waited for as one; and a queue that is paused and resumed."""
    with Talk.unix(daemon) as talk:
        group = f"group-{cycle}"
        job = {"argv": ["true"], "group": group, "notify": False, "queue": "narrow"}
        talk.ok('queue narrow {"limit": 1}')
        talk.ok("pause narrow")
        talk.ok("submit " + json.dumps([job, *({**job, "after": [-1]} for _ in range(8)), job]))
        expect("1", talk.ok("wait " + json.dumps({"group": group})))
        talk.ok("resume narrow")
        expect({"group": group, "succeeded": 10}, talk.event().json)
        return 10


def follower(daemon: Daemon, cycle: int) -> int:
    """A job of a megabyte of output, followed; it comes whole."""
    with jobd.connect(daemon.url) as client:
        job = client.shell("for i in 1 2 3 4; do head -c 262144 /dev/zero | tr '\\0' x; done")
        size = sum(len(part.data) for part in client.follow(job) if isinstance(part, Output))
        expect(MIB, size)
        return 1


def watcher(daemon: Daemon, cycle: int) -> int:
    """One that watches over four connections, each lost without a word: nothing is missed and nothing comes twice."""
    with Talk.unix(daemon) as talk:
        cursor = int(talk.ok("watch {}"))
        first, last = map(int, talk.ok("submit " + json.dumps([{"call": "math:sqrt", "args": [4]}] * 40)).split("-"))
    told: list[int] = []
    while len(told) < 40:
        with Talk.unix(daemon) as talk:
            talk.ok(f'watch {{"since": {cursor}}}')
            for _ in range(min(10, 40 - len(told))):
                event = talk.until(lambda event: first <= event.job_id <= last)
                told.append(event.job_id)
                cursor = event.cursor
            reset(talk.sock)
    expect(list(range(first, last + 1)), sorted(told))
    return 40


def vanishing(daemon: Daemon, cycle: int) -> int:
    """Clients that submit and are gone at once, in the middle of a line, or without reading: their jobs run on."""
    ids = []
    for _ in range(5):
        gone = Talk.unix(daemon)
        ids.append(gone.submit(argv=["true"]))
        gone.sock.sendall(b"ping " * 1000 + b'\nsubmit {"argv": ["fal')
        reset(gone.sock)
        gone.close()
    with Talk.unix(daemon) as talk:
        expect("5", talk.ok("wait " + ",".join(map(str, ids))))
        expect({"succeeded"}, {talk.end_of(job).state for job in ids})
    return 5


def slow_reader(daemon: Daemon, cycle: int) -> int:
    """One that waits for jobs and reads nothing: it is cut off, and nobody waits for it."""
    job = {"call": "operator:mul", "args": ["x", 500_000]}
    with Talk.unix(daemon) as slow, Talk.unix(daemon) as talk:
        # The first events fill the system's buffers, whatever their size; the others are more than may wait.
        waves = {"slow-first": 3, "slow-others": 20}
        ids = {}
        for queue, count in waves.items():
            talk.ok(f"pause {queue}")
            ids[queue] = talk.ok("submit " + json.dumps([{**job, "queue": queue}] * count))
            # It is told as they end, and not afterwards, when it could take its time.
            expect(str(count), slow.ok(f"wait {ids[queue]}"))
        for queue in waves:
            talk.ok(f"resume {queue}")
            first, last = map(int, ids[queue].split("-"))
            for number in range(first, last + 1):
                expect("succeeded", talk.end_of(number).state)
        # What the daemon says last may be lost, but not its end.
        while slow.line():
            pass
    return 23


def nonsense(daemon: Daemon, cycle: int) -> int:
    """What is no request, a browser, strangers, and many connections that come and go."""
    with Talk.unix(daemon) as talk:
        expect("error", talk.ask(b"\xff\x00" * 500)[:5])
        expect("error TOO_LONG", talk.ask(b"x" * (MIB + 1))[:14])
        expect("pong", talk.ok("ping pong"))
    for _ in range(20):
        with Talk.tcp(daemon) as stranger:
            expect("error AUTH", stranger.ask("list")[:10])
        with Talk.tcp(daemon) as browser:
            browser.send("GET / HTTP/1.1", "")
            expect("", browser.line())
    return 0


def reset(sock: socket.socket) -> None:
    """Have the connection end without a goodbye, where that can be had."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


WORKS: tuple[Work, ...] = (
    commands, calls, endings, together, follower, watcher, vanishing, slow_reader, nonsense,
)  # fmt: skip


def fill(daemon: Daemon) -> None:
    """Have the pool of threads for lane C{io} grow to its size: cycles would do it by and by."""
    with jobd.connect(daemon.url) as client:
        client.wait([client.options(lane="io").call("time:sleep", 0.5) for _ in range(FILLING)])


def one_cycle(daemon: Daemon, cycle: int) -> int:
    """All works at once; returns how many jobs have ended."""
    with ThreadPoolExecutor(len(WORKS)) as pool:
        return sum(done.result() for done in [pool.submit(work, daemon, cycle) for work in WORKS])
