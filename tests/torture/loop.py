"""
The loop itself: starts the clients, then one daemon after the other, has each die as planned, and at the end lets
everything come to rest. All that it does and sees is written into files of one folder; L{tests.torture.judge} reads
nothing else.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.functional.conversation import Talk
from tests.torture import processes, records
from tests.torture.mix import ROOT
from tests.torture.mortal import PATIENCE, Mortal, Trouble
from tests.torture.plan import Cycle, Death
from tests.torture.records import Fault, Look, now

HALTED = 0.5
"""Seconds a daemon is halted for."""


class Options(NamedTuple):
    """
    @ivar jobs: how many are to be acknowledged before the last daemon dies.
    @ivar clients: how many speak the wire; two more watch.
    @ivar python: one more submits by the Python client.
    @ivar sabotage: see C{victim.py}.
    """

    cycles: int
    jobs: int
    seed: int
    clients: int = 4
    python: bool = True
    sabotage: str = "-"


class Client:
    """One of the loop's client processes."""

    def __init__(self, folder: Path, name: str, *words: str) -> None:
        self.name = name
        self.acked = 0
        self._rest = b""
        self._log = folder / f"{name}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._orders, self.said = self.process.stdin, self.process.stdout

    def read(self) -> bool:
        """It has said how many jobs were acknowledged. False once it has ended."""
        data = os.read(self.said.fileno(), 65536)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole:
            self.acked = int(whole[-1])
        return bool(data)

    def tell(self, order: str) -> None:
        self._orders.write(order.encode() + b"\n")
        self._orders.flush()

    def finish(self) -> None:
        """
        Wait for its end.

        @raise Trouble: it does not come, or is not a good one.
        """
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = -1
        if status != 0:
            raise Trouble(f"client {self.name} ended with {status}: {self._log.read_text()}")

    def close(self) -> None:
        """End it if it still runs."""
        self.process.kill()
        self.process.wait()
        self._orders.close()
        self.said.close()


class Loop:
    """
    @param plan: the lives of all daemons, from L{tests.torture.plan.schedule}.
    @param folder: a new one; all files go there.
    @ivar missed: how many daemons were killed elsewhere, as they did not come to their point.
    """

    def __init__(
        self, options: Options, plan: Sequence[Cycle], folder: Path, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._options = options
        self._plan = plan
        self._folder = folder
        self._say = say
        self._daemon = Mortal(folder, options.sabotage)
        self._witness = folder / "witness"
        self._clients: list[Client] = []
        self._selector = selectors.DefaultSelector()
        self._died = 0
        self._paused = 0.0
        self._recoveries: list[float] = []
        self._zombies = 0
        self.missed = 0

    def run(self) -> None:
        """
        All cycles, then the end.

        @raise Trouble: something hangs, or ended that was not to.
        """
        self._witness.touch()
        try:
            self._run()
        finally:
            for client in self._clients:
                client.close()
            self._daemon.close()
            self._selector.close()

    def _run(self) -> None:
        program = compile_job(self._folder)
        self._died = now()
        for number, cycle in enumerate(self._plan):
            self._say(f"cycle {number + 1} of {len(self._plan)}: {describe(cycle)}")
            self._live(cycle, program)
        self._begin(Death("stop"))
        self._until(self._options.jobs)
        self._come_to_rest()

    def _start_clients(self, program: str) -> None:
        seed, witness = str(self._options.seed), str(self._witness)
        url = f"jobd+unix://{self._daemon.socket}"
        for number in range(self._options.clients):
            name = f"client-{number}"
            record = str(self._folder / f"{name}.record")
            words = (self._daemon.socket, record, witness, program, seed, str(number))
            self._add_client(name, "tests.torture.submitter", *words)
        if self._options.python:
            words = ("submit", url, str(self._folder / "client-py.record"), witness, program, seed)
            self._add_client("client-py", "tests.torture.caller", *words, str(self._options.clients))
        self._add_client(
            "watcher-wire", "tests.torture.watcher", self._daemon.socket, str(self._folder / "watcher-wire.record")
        )
        self._add_client("watcher-py", "tests.torture.caller", "watch", url, str(self._folder / "watcher-py.record"))

    def _add_client(self, name: str, *words: str) -> None:
        client = Client(self._folder, name, *words)
        self._clients.append(client)
        self._selector.register(client.said, selectors.EVENT_READ, client)

    # A life.

    def _live(self, cycle: Cycle, program: str) -> None:
        if cycle.stillborn is not None:
            began = now()
            self._daemon.start(cycle.stillborn, armed=True)
            self._falls()
            self._died, self._paused = now(), 0.0
            self._note("kill", began)
        self._begin(cycle.death)
        if not self._clients:
            self._start_clients(program)
        self._look()
        begun = self._acked
        if cycle.hurt:
            self._until(begun + cycle.hurt_after)
            self._hurt(cycle.hurt)
        self._until(begun + cycle.dies_after)
        self._die(cycle.death)
        if cycle.bereft:
            self._kill_worker(cycle.bereft)
        self._paused = cycle.pause
        time.sleep(cycle.pause)

    def _begin(self, death: Death) -> None:
        """Start a daemon and wait until it answers."""
        self._daemon.start(death.point)
        with self._daemon.connect() as talk:
            talk.ok("ping")
        self._recoveries.append((now() - self._died) / 1e9 - self._paused)

    @property
    def _acked(self) -> int:
        return sum(client.acked for client in self._clients)

    def _until(self, acked: int) -> None:
        """Wait for so many acknowledged jobs in all."""
        deadline, last = time.monotonic() + PATIENCE, 0
        while (total := self._acked) < acked:
            if total != last:
                deadline, last = time.monotonic() + PATIENCE, total
            elif time.monotonic() > deadline:
                raise Trouble(f"only {total} jobs are acknowledged, and there come no more")
            self._daemon.check()
            for key, _ in self._selector.select(0.2):
                client: Client = key.data
                if not client.read():
                    client.finish()
                    raise Trouble(f"client {client.name} has left")

    def _look(self) -> None:
        """Note which processes jobs have, and which have ended with nobody coming for them."""
        at = now()
        for process in processes.marked(self._daemon.mark):
            if process.role == "job" and process.state != "Z":
                records.write(self._folder / "looks", Look(at, process.pid, *process.job))
        self._zombies += processes.lasting_zombies(self._daemon.mark)

    # What is done to it.

    def _note(self, kind: str, began: int) -> None:
        records.write(self._folder / "faults", Fault(kind, began, now()))

    def _hurt(self, what: str) -> None:
        if what != "pause":
            self._kill_worker(what)
            return
        began = now()
        self._daemon.send(signal.SIGSTOP)
        time.sleep(HALTED)
        self._daemon.send(signal.SIGCONT)
        self._note("pause", began)

    def _kill_worker(self, role: str) -> None:
        """The first of that kind; there may be none just now."""
        began = now()
        for process in sorted(processes.marked(self._daemon.mark)):
            if process.role == role and process.state != "Z":
                processes.send(process, signal.SIGKILL)
                self._note(role, began)
                return

    def _die(self, death: Death) -> None:
        daemon, began = self._daemon, now()
        if death.how in ("point", "drain"):
            daemon.arm()
            if death.how == "drain":
                daemon.send(signal.SIGTERM)
            self._falls()
        elif death.how == "machine":
            processes.kill_machine(daemon.mark)
            daemon.wait(-signal.SIGKILL)
        elif death.how == "keep":
            with daemon.connect() as talk:
                talk.ok('drain {"keep_running": true}')
            daemon.wait(0)
        elif death.how == "stop":
            daemon.stop()
        else:
            daemon.kill()
        self._died = now()
        self._note({"drain": "stop", "point": "kill"}.get(death.how, death.how), began)

    def _falls(self) -> None:
        if not self._daemon.falls():
            self._say("  it did not come to its point")
            self.missed += 1

    # The end.

    def _come_to_rest(self) -> None:
        """Let all jobs end and all clients hear of it; then see what is there."""
        self._say("coming to rest")
        for client in self._clients:
            if client.name.startswith("client"):
                client.tell("stop")
        for client in self._clients:
            if client.name.startswith("client"):
                self._drain(client)
        with self._daemon.connect() as talk:
            newest = self._wait_for_all(talk)
        for client in self._clients:
            if client.name.startswith("watcher"):
                client.tell(f"until {newest}")
                client.finish()
        self._look()
        self._die(Death("stop"))
        # What was on disk all the time, and not in a memory.
        self._paused = 0.0
        self._begin(Death("stop"))
        with self._daemon.connect() as talk:
            found = {"jobs": all_jobs(talk), "events": all_events(talk, newest)}
        self._die(Death("stop"))
        left = [process for process in processes.marked(self._daemon.mark) if process.state != "Z"]
        found |= {"left": len(left), "zombies": self._zombies, "recoveries": self._recoveries, "missed": self.missed}
        (self._folder / "found.json").write_text(json.dumps(found))

    def _drain(self, client: Client) -> None:
        """Read what it says until its end."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self._daemon.check()
            for key, _ in self._selector.select(0.2):
                if not key.data.read():
                    self._selector.unregister(key.fileobj)
            if client.process.poll() is not None:
                client.finish()
                return
            if time.monotonic() > deadline:
                raise Trouble(f"client {client.name} still waits: there are jobs that do not end")

    def _wait_for_all(self, talk: Talk) -> int:
        """Wait for jobs that no client knows to be there, too. The newest cursor."""
        open_ = [
            job["id"] for state in ("waiting", "queued", "running") for job in _page(talk, {"state": state})["jobs"]
        ]
        for job_id in open_:
            talk.ok(f"wait {job_id}")
        for job_id in open_:
            talk.end_of(job_id)
        return int(json.loads(talk.ok("hello"))["cursor"])


def all_jobs(talk: Talk) -> list[dict[str, Any]]:
    """Every job that is kept."""
    jobs: list[dict[str, Any]] = []
    more = True
    while more:
        page = _page(talk, {"from": jobs[-1]["id"] + 1 if jobs else 0})
        jobs += page["jobs"]
        more = page["more"]
    return [{name: job.get(name) for name in ("id", "state", "attempt", "label")} for job in jobs]


def _page(talk: Talk, filter_: dict[str, Any]) -> dict[str, Any]:
    page: dict[str, Any] = talk.json("list " + json.dumps({"limit": 1000, **filter_}))
    return page


def all_events(talk: Talk, newest: int) -> list[list[Any]]:
    """Every event that is kept: cursor, job, state, outcome."""
    talk.ok('watch {"since": 0}')
    events: list[list[Any]] = []
    while not events or events[-1][0] < newest:
        event = talk.event()
        events.append([event.cursor, event.job_id, event.state, event.json])
    return events


def compile_job(folder: Path) -> str:
    """
    The program of C{job.c}.

    @raise Trouble: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Trouble("the kill loop needs a C compiler named cc")
    program = str(folder / "job")
    source = str(Path(__file__).with_name("job.c"))
    subprocess.run([compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    return program


def describe(cycle: Cycle) -> str:
    """A life in a few words."""
    words = [f"stillborn at {cycle.stillborn.name!r}"] if cycle.stillborn else []
    if cycle.hurt:
        words.append("halted for a while" if cycle.hurt == "pause" else f"{cycle.hurt} worker killed")
    point = cycle.death.point
    words.append(cycle.death.how if point is None else f"{cycle.death.how} at {point.name!r}, passage {point.passage}")
    if cycle.bereft:
        words.append(f"then its {cycle.bereft} worker")
    if cycle.pause:
        words.append(f"next one after {cycle.pause:.1f} s")
    return ", ".join(words)
