"""
The Python clients at work, for tests of what stands between them and a daemon.

    python -m tests.reliability.loads blocking|asyncio|twisted|executor|careless

reads lines of JSON, each a list of L{Load}s; does those of a line side by
side, each with a client of its own; and prints a line of JSON for each as it
ends: its number, what the client was told, and the error if there was one.
C{careless} is a control: the blocking client, but what it submits has no keys.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import attrs

import jobd
from jobd.client import engine, specs
from jobd.client.core import Event
from jobd.client.outcome import Outcome
from jobd.client.reading import Output
from jobd.errors import ConnectionProblem
from tests.reliability.marks import line, mark

ROOT = str(Path(__file__).parent.parent.parent)

Kind = Literal["submit", "watch", "follow"]


@attrs.define
class Load:
    """
    Work for one client.

    @ivar kind: C{submit} jobs and wait for them; C{watch} until all of C{ids} have ended; C{follow} what they write.
    @ivar jobs: how many to submit.
    @ivar tag: their group, and the beginning of their keys.
    @ivar witness: the file in which each leaves its mark.
    @ivar since: the cursor to watch from.
    @ivar timeout: as for C{jobd.connect}, as the following two. In C{liveness} a busy machine must be able to
        deliver a greeting byte by byte.
    """

    number: int
    kind: Kind
    url: str
    token: str
    jobs: int = 0
    tag: str = ""
    witness: str = ""
    ids: list[int] = attrs.Factory(list)
    since: int = 0
    timeout: float = 120.0
    liveness: float = 5.0
    patience: float = 120.0

    def specs(self) -> list[dict[str, Any]]:
        """The jobs to submit."""
        return [
            {"shell": line(self.witness, number), "group": self.tag, "key": f"{self.tag}.{number}", "cwd": "/"}
            for number in range(self.jobs)
        ]

    def options(self) -> dict[str, Any]:
        """How to connect."""
        times = {"timeout": self.timeout, "liveness": self.liveness, "reconnect": self.patience}
        return {"url": self.url, "token": self.token or None, **times}


class Told:
    """
    What a client was told.

    @ivar finishes: id, cursor and state of each, of a group's with the id 0; in their order.
    @ivar outputs: what each job wrote, by its id.
    """

    def __init__(self) -> None:
        self.finishes: list[tuple[int, int, str]] = []
        self.outputs: dict[int, str] = {}

    def add(self, item: object) -> None:
        if isinstance(item, Outcome):
            self.finishes.append((item.id, item.cursor, item.state))
        elif isinstance(item, Event):
            self.finishes.append((item.job, item.cursor, item.state))
        elif isinstance(item, Output):
            self.outputs[item.job] = self.outputs.get(item.job, "") + item.data.decode()

    def __contains__(self, ids: list[int]) -> bool:
        return set(ids) <= {job for job, _, _ in self.finishes}


def opened(connect: Callable[[], Any], patience: float) -> Any:
    """A client; the first connection is the caller's to repeat."""
    until = time.monotonic() + patience
    while True:
        try:
            return connect()
        except ConnectionProblem:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def blocking(load: Load, told: Told) -> None:
    with opened(lambda: jobd.connect(**load.options()), load.patience) as client:
        if load.kind == "submit":
            wanted = load.specs()
            half = len(wanted) // 2
            jobs = [*client.submit(wanted[:half]), *map(client.submit, wanted[half:])]
            for job in client.as_completed(jobs):
                told.add(job.wait())
            return
        make = (lambda: client.watch(load.since)) if load.kind == "watch" else (lambda: client.follow(load.ids))
        items = opened(make, load.patience)
        for item in items:
            told.add(item)
            if load.kind == "watch" and load.ids in told:
                break
        items.close()


def executor(load: Load, told: Told) -> None:
    vars(engine)["PATIENCE"] = load.patience
    fields: dict[str, Any] = {"liveness": load.liveness, "group": load.tag, "cwd": ROOT}
    with opened(lambda: jobd.Executor(load.url, token=load.token or None, **fields), load.patience) as pool:
        futures = [pool.submit(mark, load.witness, number) for number in range(load.jobs)]
        for number, future in enumerate(futures):
            assert future.result() == number
            told.finishes.append((future.job or 0, 0, "succeeded"))


async def awaiting(
    connect: Callable[..., Awaitable[Any]], pause: Callable[[float], Any], load: Load, told: Told
) -> None:
    """The asyncio and the Twisted client, which have the same methods."""
    until = time.monotonic() + load.patience
    while True:
        try:
            client = await connect(**load.options())
            break
        except ConnectionProblem:
            if time.monotonic() > until:
                raise
            await pause(0.05)
    try:
        if load.kind == "submit":
            wanted = load.specs()
            half = len(wanted) // 2
            jobs = await client.submit(wanted[:half])
            for spec in wanted[half:]:
                jobs.append(await client.submit(spec))
            async for job in client.as_completed(jobs):
                told.add(await job.wait())
            return
        while not told.finishes:
            items = client.watch(load.since) if load.kind == "watch" else client.follow(load.ids)
            try:
                async for item in items:
                    told.add(item)
                    if load.kind == "watch" and load.ids in told:
                        break
            except ConnectionProblem:
                # The first connection of a stream is the caller's to repeat, too.
                if told.finishes or told.outputs or time.monotonic() > until:
                    raise
                await pause(0.05)
            finally:
                await items.aclose()
    finally:
        await client.close()


def report(load: Load, told: Told, error: BaseException | None) -> None:
    """Say how it went."""
    said = None if error is None else f"{type(error).__name__}: {error}"
    out = {"number": load.number, "finishes": told.finishes, "outputs": told.outputs, "error": said}
    sys.stdout.write(json.dumps(out) + "\n")
    sys.stdout.flush()


def in_threads(work: Callable[[Load, Told], None], loads: list[Load]) -> None:
    def one(load: Load) -> None:
        told = Told()
        try:
            work(load, told)
        except BaseException as error:
            report(load, told, error)
        else:
            report(load, told, None)

    threads = [threading.Thread(target=one, args=(load,)) for load in loads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _reported(connect: Callable[..., Awaitable[Any]], pause: Callable[[float], Any], load: Load) -> None:
    told = Told()
    try:
        await awaiting(connect, pause, load, told)
    except Exception as error:
        report(load, told, error)
    else:
        report(load, told, None)


def in_asyncio(loads: list[Load]) -> None:
    async def main() -> None:
        await asyncio.gather(*(_reported(jobd.aio.connect, asyncio.sleep, load) for load in loads))

    asyncio.run(main())


def in_twisted() -> None:
    """All lines that come; a reactor cannot be started twice."""
    from twisted.internet import reactor, threads
    from twisted.internet.defer import Deferred, gatherResults
    from twisted.internet.task import deferLater, react

    async def connect(**options: Any) -> Any:
        return await jobd.tx.connect(reactor, **options)

    async def pause(seconds: float) -> None:
        await deferLater(reactor, seconds, lambda: None)

    async def main(reactor: Any) -> None:
        while loads := await threads.deferToThread(next_loads):
            await gatherResults([Deferred.fromCoroutine(_reported(connect, pause, load)) for load in loads])

    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))


def next_loads() -> list[Load]:
    """The next line's; none at the end."""
    text = sys.stdin.readline()
    return [Load(**one) for one in json.loads(text)] if text else []


def without_key(spec: specs.Spec) -> str:
    """A job as JSON, without what makes it safe to submit it again."""
    return json.dumps({name: value for name, value in spec.items() if name != "key"})


def main(client: str) -> None:
    """Do what is asked for until there is no more."""
    if client == "careless":
        specs.encode = without_key
        client = "blocking"
    if client == "twisted":
        in_twisted()
        return
    while loads := next_loads():
        if client == "asyncio":
            in_asyncio(loads)
        else:
            in_threads({"blocking": blocking, "executor": executor}[client], loads)


if __name__ == "__main__":
    main(sys.argv[1])
