"""
A pipeline on real files, through a real daemon: every module of this Python's
standard library is hashed and compressed by a command each, its tokens are
counted by a Python call, and when all of these have finished, and only then, a
last job merges what they have written.

    make demo

It starts a daemon of its own on a private folder, prints the notifications as
they come, checks the result against a computation without jobd, and leaves no
process and no file behind.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import steps

import jobd
from jobd.client.outcome import Outcome

NOT_MODULES = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
TOTALS = ("compressed", "tokens")
BATCH = 500
"""Jobs submitted at once, all or none."""

TOLD = 5
"""How many of the first notifications are printed whole."""


def standard_library() -> dict[str, Path]:
    """The files of all modules of this Python's standard library, by the names of the modules."""
    root = Path(sysconfig.get_path("stdlib"))
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] in sys.stdlib_module_names and not NOT_MODULES.intersection(parts):
            found[".".join(parts)] = path
    return found


@contextlib.contextmanager
def private_daemon(state: Path) -> Iterator[tuple[str, str]]:
    """
    A daemon with a state folder of its own and a free TCP port while the block runs.

    @return: its URL and its token.
    """
    endpoints = [f"unix:{state}/jobd.sock", "tcp:0:interface=127.0.0.1"]
    listen = [word for endpoint in endpoints for word in ("--listen", endpoint)]
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    command = [*twistd, "-n", "--pidfile=", "jobd", "--state-dir", str(state), *listen]
    process = subprocess.Popen(
        command, cwd=state, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        urls: list[str] = []
        said: list[str] = []
        while len(urls) < len(endpoints) and (line := process.stdout.readline()):
            said.append(line)
            if "listening on " in line:
                urls.append(line.partition("listening on ")[2].split()[0])
        if len(urls) < len(endpoints):
            raise SystemExit("the daemon did not start:\n" + "".join(said))
        # Its log goes nowhere from here on, but must not fill the pipe.
        threading.Thread(target=deque, args=(process.stdout, 0), daemon=True).start()
        tcp = next(url for url in urls if url.startswith("jobd://"))
        yield tcp, (state / "token").read_text().strip()
    finally:
        process.terminate()
        status = process.wait(60)
    if status not in (0, -signal.SIGTERM):
        raise SystemExit(f"the daemon ended with {status}")


def specs_for(name: str, source: Path, work: Path) -> list[dict[str, Any]]:
    """Three independent jobs for a module, each of which writes a file of its own."""
    hasher = ["sha256sum"] if shutil.which("sha256sum") else ["shasum", "-a", "256"]
    results = work / "results"
    here = {"cwd": str(work), "label": name}
    return [
        {**here, "argv": [*hasher, str(source)], "stdout": f"results/{name}.sha256"},
        {**here, "argv": ["gzip", "-9nc", str(source)], "stdout": f"results/{name}.gz"},
        # The module `steps` is found through cwd.
        {**here, "call": "steps:count", "args": [str(source), str(results / f"{name}.tokens")]},
    ]


class Progress:
    """Prints the first notifications, then how far it is: as a bar where a person looks on."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.cpu = 0.0
        self._bar = sys.stderr.isatty()

    def finished(self, outcome: Outcome) -> None:
        """One more job has ended."""
        self.done += 1
        self.cpu += (outcome.user or 0) + (outcome.sys or 0)
        if self.done <= TOLD or self.done == self.total:
            self._clear()
            print(notification(outcome), flush=True)
        elif self.done == TOLD + 1:
            self._clear()
            print(f"  ... and {self.total - TOLD - 1} more ...", flush=True)
        if self._bar and self.done < self.total:
            full = 40 * self.done // self.total
            print(f"\r[{'#' * full}{'.' * (40 - full)}] {self.done}/{self.total}", end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._bar:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def notification(outcome: Outcome) -> str:
    """A finish event as it stands on the wire."""
    return f"  * {outcome.cursor} {outcome.id} {outcome.state} {json.dumps(outcome.data)}"


def run_pipeline(client: jobd.Client, modules: dict[str, Path], work: Path) -> dict[str, int]:
    """
    Submit everything, tell how it goes.

    @return: what the last job returned.
    """
    begun = time.monotonic()
    specs = [spec for name, source in modules.items() for spec in specs_for(name, source, work)]
    jobs = [job for start in range(0, len(specs), BATCH) for job in client.submit(specs[start : start + BATCH])]
    merge_arguments = [str(work / "results"), list(modules), str(work / "merged.json")]
    last = client.submit({"call": "steps:merge", "args": merge_arguments, "cwd": str(work), "after": jobs})
    print(f"{len(jobs)} jobs and one after all of them submitted in {time.monotonic() - begun:.2f} s", flush=True)
    progress = Progress(len(jobs) + 1)
    # Every finish since the daemon's first, in its order, each once: those already there, then the others as they come.
    for outcome in client.watch(since=0):
        assert isinstance(outcome, Outcome)
        if not outcome.ok:
            raise SystemExit(outcome.describe())
        progress.finished(outcome)
        if outcome.id == last.id:
            break
    seconds = time.monotonic() - begun
    print(f"all ended after {seconds:.1f} s, with {progress.cpu:.1f} s of processor time in jobs", flush=True)
    totals: dict[str, int] = last.result()
    return totals


def check(modules: dict[str, Path], work: Path, totals: dict[str, int]) -> None:
    """Compute the same here and now, without jobd, and compare."""
    expected: dict[str, dict[str, Any]] = {}
    for name, source in modules.items():
        content = source.read_bytes()
        compressed = (work / "results" / f"{name}.gz").read_bytes()
        if gzip.decompress(compressed) != content:
            raise SystemExit(f"{name}: what was compressed is not what it was")
        tokens = steps.count(str(source), os.devnull)
        expected[name] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "compressed": len(compressed),
            "tokens": tokens,
        }
    if json.loads((work / "merged.json").read_text()) != expected:
        raise SystemExit("the merged result is not what this process has computed")
    if totals != {"modules": len(modules), **{part: sum(e[part] for e in expected.values()) for part in TOTALS}}:
        raise SystemExit(f"the totals are wrong: {totals}")


def processes_naming(folder: Path) -> list[str]:
    """Command lines of other processes in which the folder is named."""
    if Path("/proc/self/cmdline").exists():
        lines = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    else:
        lines = subprocess.run(["ps", "-Ao", "command"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if str(folder) in line]


def main() -> None:
    """Run all of it; end with 0 only if everything held."""
    parser = argparse.ArgumentParser(description="Hash, compress and count the standard library through jobd.")
    parser.add_argument("--modules", type=int, metavar="N", help="only the first N modules")
    options = parser.parse_args()
    modules = dict(list(standard_library().items())[: options.modules])
    work = Path(tempfile.mkdtemp(prefix="jobd-demo-")).resolve()
    try:
        state = work / "state"
        for folder in (state, work / "results"):
            folder.mkdir(mode=0o700)
        shutil.copy(steps.__file__, work)
        with private_daemon(state) as (url, token), jobd.connect(url, token=token) as client:
            print(f"a daemon is listening on {url}, with {os.cpu_count()} cores; {len(modules)} modules to do")
            totals = run_pipeline(client, modules, work)
        print(
            f"merged: {totals['modules']} modules, {totals['tokens']:,} tokens, {totals['compressed']:,} bytes gzipped"
        )
        check(modules, work, totals)
        print("the same computed without jobd: equal")
    finally:
        shutil.rmtree(work)
    left = processes_naming(work)
    if left or work.exists():
        raise SystemExit(f"something is left behind: {work} {left}")
    print("the daemon has stopped; no process and no file is left")


if __name__ == "__main__":
    main()
