"""
Every client through a L{FaultProxy}: what it is told is compared with what the
daemon knows and with the marks that the jobs have left.

    python -m tests.reliability.faults [--seed N] [--rounds N] [--client NAME] [--fault NAME] [--jobs N]

runs each client with each fault, round after round, each round with the next
seed, and says of each how it went. It ends with 1 and the command that does
the same again if anything went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

import jobd
from jobd.client.ids import format_ids
from jobd.client.outcome import Outcome
from tests.cpp.building import clean_environment, probe
from tests.daemon import Daemon, running_daemon
from tests.reliability.loads import ROOT, Kind, Load
from tests.reliability.marks import marks
from tests.reliability.proxy import FaultProxy, Script, scripts

LIMIT = 600.0
"""Seconds after which a client hangs: far more than the timeouts it has here add up to."""

KINDS: dict[str, tuple[Kind, ...]] = {
    "blocking": ("submit", "watch", "follow"),
    "asyncio": ("submit", "watch", "follow"),
    "twisted": ("submit", "watch", "follow"),
    "executor": ("submit",),
    "jobctl": ("submit", "watch", "follow"),
    "c++": ("submit", "watch", "follow"),
}
"""Each client, and what it can do. For C{jobctl} this is C{map}, C{wait} and C{run}."""

CARELESS = "careless"
"""The control: a client that submits again without keys."""

LINES = 40

_PRINT = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i + 1)); [ $((i % 10)) = 0 ] && sleep 0.05; done; true"

_WRITTEN = "".join(f"line {number}\n" for number in range(LINES))

_JOBCTL = """
import sys
from jobd.cli import context
from jobd.cli.main import main
from jobd.client.session import Session
context.TIMEOUT = float(sys.argv[1])
Session.__init__.__kwdefaults__.update(liveness=float(sys.argv[2]), patience=float(sys.argv[3]))
sys.exit(main(sys.argv[4:]))
"""


@attrs.define
class Case:
    """One client with one fault."""

    client: str
    fault: str
    load: Load
    proxy: FaultProxy

    def __str__(self) -> str:
        where = "TCP" if self.load.token else "a Unix socket"
        seen = f"{self.proxy.connections} connections, ended: {dict(self.proxy.struck)}"
        return f"{self.client}: {self.load.kind} over {where}, {self.fault} ({seen})"

    @property
    def is_stream(self) -> bool:
        """Whether it is told of everybody's jobs, and not only of its own."""
        return self.load.kind == "watch" and self.client != "jobctl"


@attrs.define
class Result:
    """
    How a load went.

    @ivar error: why it ended early; None if it did not.
    """

    finishes: list[tuple[int, int, str]] = attrs.Factory(list)
    outputs: dict[int, str] = attrs.Factory(dict)
    error: str | None = "it did not end: the client hangs"


class Trial:
    """
    Runs clients against a daemon through proxies.

    @param folder: for the witness files.
    @param limit: seconds after which a client hangs.
    @param times: fields of a L{Load}.
    @ivar struck: how often each end of a connection has come.
    @ivar runs: how many loads there were.
    """

    def __init__(self, daemon: Daemon, folder: Path, *, jobs: int = 6, limit: float = LIMIT, **times: float) -> None:
        self.struck: Counter[str] = Counter()
        self.runs = 0
        self._daemon = daemon
        self._folder = folder
        self._jobs = jobs
        self._limit = limit
        self._times = times

    def results(self, client: str, chosen: dict[str, Script], seed: int) -> list[tuple[Case, Result]]:
        """Run the client with each of these faults, side by side."""
        with contextlib.ExitStack() as stack:
            cases = [
                Case(client, fault, load, stack.enter_context(FaultProxy(self._upstream(load), script, seed=seed)))
                for load, (fault, script) in self._loads(client, chosen)
            ]
            for case in cases:
                case.load.url = case.proxy.url
            found = _RUN.get(client, _run_python)(client, [case.load for case in cases], self._limit)
        for case in cases:
            self.struck.update(case.proxy.struck)
        self.runs += len(cases)
        return [(case, found.get(case.load.number, Result())) for case in cases]

    def problems(self, client: str, chosen: dict[str, Script], seed: int) -> list[str]:
        """The same, and say what was wrong."""
        with jobd.connect(self._daemon.url) as direct:
            since = direct.hello()["cursor"]
            found = self.results(client, chosen, seed)
            known = Known(direct, since)
            return [
                f"{client}: {case}: {problem}" for case, result in found for problem in known.problems(case, result)
            ]

    def _loads(self, client: str, chosen: dict[str, Script]) -> Iterator[tuple[Load, tuple[str, Script]]]:
        with jobd.connect(self._daemon.url) as direct:
            since = direct.hello()["cursor"]
            for place, fault in enumerate(chosen.items()):
                for turn, kind in enumerate(KINDS.get(client, ("submit",))):
                    # Ids that are alike for no two runs, seeds or not: they are keys in one daemon.
                    tag = f"{client}-{time.monotonic_ns():x}"
                    load = Load(self.runs + place * 3 + turn, kind, "", "", **self._times)  # type: ignore[arg-type]
                    load.tag, load.witness = tag, str(self._folder / tag)
                    load.token = self._daemon.token if load.number % 2 else ""
                    load.since = since
                    if kind == "submit":
                        load.jobs = self._jobs
                    elif not (client == "jobctl" and kind == "follow"):
                        specs = [{"shell": _PRINT, "cwd": "/", "notify": False}] * 2
                        load.ids = [job.id for job in direct.submit(specs)]
                    yield load, fault

    def _upstream(self, load: Load) -> tuple[str, int] | str:
        return self._daemon.tcp_address if load.token else str(self._daemon.socket_path)


class Known:
    """
    What the daemon knows.

    @param since: the cursor before the first of the jobs.
    """

    def __init__(self, direct: jobd.client.blocking.Client, since: int) -> None:
        self._direct = direct
        newest = direct.hello()["cursor"]
        self._events: list[tuple[int, int, str]] = []
        if newest > since:
            for event in direct.watch(since):
                job = event.id if isinstance(event, Outcome) else event.job
                self._events.append((job, event.cursor, event.state))
                if event.cursor >= newest:
                    break
        self._by_id = {job: (job, cursor, state) for job, cursor, state in self._events}

    def problems(self, case: Case, result: Result) -> Iterator[str]:
        """What is wrong with what the client was told, and with what has run."""
        load = case.load
        if result.error is not None:
            yield result.error
        if load.jobs:
            yield from self._submitted(load, result)
        elif case.is_stream:
            if result.finishes != self._events[: len(result.finishes)]:
                yield f"the stream has gaps or repeats: {result.finishes} is not how {self._events} begins"
        else:
            yield from self._told(load.ids or list(result.outputs), result)
        if load.kind == "follow":
            written = {job: _WRITTEN for job in (load.ids or result.outputs)}
            if not written or result.outputs != written:
                yield f"the output is not what was written: {result.outputs}"

    def _submitted(self, load: Load, result: Result) -> Iterator[str]:
        jobs = list(self._direct.list(group=load.tag))
        states = Counter((job["state"], job["attempt"]) for job in jobs)
        if states != {("succeeded", 1): load.jobs}:
            yield f"{load.jobs} jobs were submitted, the daemon has {dict(states)}"
        ran = marks(Path(load.witness))
        if ran != Counter(range(load.jobs)):
            yield f"each was to run once, these ran: {dict(ran)}"
        yield from self._told([job["id"] for job in jobs], result)

    def _told(self, ids: Sequence[int], result: Result) -> Iterator[str]:
        told = [
            finish if finish[1] else (finish[0], *self._by_id.get(finish[0], finish)[1:]) for finish in result.finishes
        ]
        expected = [self._by_id.get(job, (job, 0, "not ended")) for job in ids]
        if Counter(told) != Counter(expected):
            yield f"these finishes were told: {sorted(told)}, these came: {sorted(expected)}"


def _run_python(client: str, loads: list[Load], limit: float) -> dict[int, Result]:
    text = json.dumps([attrs.asdict(load) for load in loads]) + "\n"
    said = _output([sys.executable, "-m", "tests.reliability.loads", client], {}, limit, text)
    found = {}
    for line in said.splitlines():
        if line.startswith("{"):
            told = json.loads(line)
            finishes = [(job, cursor, state) for job, cursor, state in told["finishes"]]
            outputs = {int(job): text for job, text in told["outputs"].items()}
            found[told["number"]] = Result(finishes, outputs, told["error"])
    return found


def _side_by_side(loads: list[Load], run: Any) -> dict[int, Result]:
    with ThreadPoolExecutor(len(loads)) as pool:
        return dict(zip([load.number for load in loads], pool.map(run, loads), strict=True))


def _run_cpp(client: str, loads: list[Load], limit: float) -> dict[int, Result]:
    program = str(probe())

    def one(load: Load) -> Result:
        wanted: dict[str, object] = {"KIND": load.kind, "IDS": format_ids(load.ids), "SINCE": load.since}
        wanted |= {"JOBS": load.jobs, "TAG": load.tag, "WITNESS": load.witness}
        wanted |= {"TIMEOUT": load.timeout, "LIVENESS": load.liveness, "PATIENCE": load.patience}
        environment = {f"LOAD_{name}": str(value) for name, value in wanted.items()}
        said = _output([program, "load"], {"JOBD_URL": load.url, "JOBD_TOKEN": load.token, **environment}, limit)
        result = Result()
        *lines, last = said.splitlines() or [""]
        for line in [*lines, last]:
            word, _, rest = line.partition(" ")
            if word == "finish":
                job, cursor, state = rest.split()
                result.finishes.append((int(job), int(cursor), state))
            elif word == "output":
                job, _, text = rest.partition(" ")
                result.outputs[int(job)] = result.outputs.get(int(job), "") + json.loads(text)
        result.error = {"exit 0": None, _HANGS: Result().error}.get(last, " ".join([*lines[-1:], last]))
        return result

    return _side_by_side(loads, one)


def _run_jobctl(client: str, loads: list[Load], limit: float) -> dict[int, Result]:
    def one(load: Load) -> Result:
        if load.kind == "submit":
            inputs = [str(number) for number in range(load.jobs)]
            line = f"echo {{}} >> {load.witness}"
            words = ["--json", "map", "-j", "3", "--group", load.tag, "--shell", line, ":::", *inputs]
        elif load.kind == "watch":
            words = ["--json", "wait", *map(str, load.ids)]
        else:
            words = ["--json", "run", "sh", "-c", _PRINT]
        command = [sys.executable, "-c", _JOBCTL, *map(str, (load.timeout, load.liveness, load.patience)), *words]
        said = _output(command, {"JOBD_URL": load.url, "JOBD_TOKEN": load.token}, limit)
        result = Result()
        *lines, last = said.splitlines()
        for line in lines:
            told = json.loads(line) if line.startswith("{") else {}
            if "state" in told:
                result.finishes.append((told["id"], told["cursor"], told["state"]))
            elif "stream" in told:
                result.outputs[told["id"]] = result.outputs.get(told["id"], "") + told["data"]
        result.error = {"exit 0": None, _HANGS: Result().error}.get(last, " ".join([*lines[-1:], last]))
        return result

    return _side_by_side(loads, one)


_RUN: Any = {"c++": _run_cpp, "jobctl": _run_jobctl}

_HANGS = "hangs"


def _output(command: Sequence[str], environment: dict[str, str], limit: float, text: str = "") -> str:
    """What a program printed; the last line tells how it ended, if it is not one that hangs."""
    own = {"PYTHONPATH": ROOT, **environment}
    with subprocess.Popen(
        command,
        env=clean_environment(own),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(text, limit)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            return f"{said}\n{_HANGS}"
    return f"{said.rstrip()}\nexit {process.returncode}".lstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the first round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--client", action="append", choices=list(KINDS))
    parser.add_argument("--fault", action="append", choices=list(scripts(0)))
    parser.add_argument("--jobs", type=int, default=20, help="that a client submits in one run")
    options = parser.parse_args(arguments)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="jobd-test-") as folder, running_daemon(tcp=True) as daemon:
        trial = Trial(daemon, Path(folder).resolve(), jobs=options.jobs)
        for seed in range(options.seed, options.seed + options.rounds):
            chosen = {name: script for name, script in scripts(seed).items() if name in (options.fault or scripts(0))}
            for client in options.client or KINDS:
                start, before = time.monotonic(), trial.runs
                problems = trial.problems(client, chosen, seed)
                took = time.monotonic() - start
                print(
                    f"seed {seed}: {client}: {trial.runs - before} runs, {took:.1f} s, {len(problems)} problems",
                    flush=True,
                )
                bad += len(problems)
                for problem in problems:
                    print(f"  {problem}")
                    again = f"--seed {seed} --client {client} --jobs {options.jobs}"
                    print(f"  again: python -m tests.reliability.faults {again}")
        ends = ", ".join(f"{name}: {count}" for name, count in sorted(trial.struck.items()))
        print(f"{trial.runs} runs, {bad} problems; ends of connections: {ends or 'nothing'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
