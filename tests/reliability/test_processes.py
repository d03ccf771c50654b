"""Processes under a real daemon: what they leave behind, and what they write without end."""

from __future__ import annotations

import os
from pathlib import Path

from tests.functional.conversation import Fifo, Talk
from tests.functional.test_durability import Restarts
from tests.reliability.measures import descriptors, memory, need_linux, wait_until

MEGABYTE = 1 << 20

WRITTEN = int(os.environ.get("JOBD_OUTPUT_MEGABYTES", "400")) * 1_000_000
"""Bytes of output of one job."""

ESCAPE = (
    "import subprocess, sys; "
    "p = subprocess.Popen(['sh', '-c', 'trap \"\" TERM HUP; echo $$ > {sign}; while :; do sleep 1; done'],"
    " start_new_session=True, stdout=-3, stderr=-3); "
)
"""A call that starts a process in a session of its own, which is deaf to TERM and tells its number."""


def state_of(pid: int) -> str:
    """One letter, as C{ps} has it; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> list[int]:
    """All processes below one, zombies included."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


class Processes(Restarts):
    """What runs, and what is left."""

    def setUp(self) -> None:
        need_linux()
        super().setUp()

    def escaping_call(self, talk: Talk, sign: Fifo, then: str) -> tuple[int, int]:
        """A call that has let a process escape; its id, and that process."""
        job_id = talk.submit(call="builtins:exec", args=[ESCAPE.format(sign=sign.path) + then], cwd=str(self.folder))
        return job_id, int(sign.wait())

    def test_call_cancelled(self) -> None:
        """What a call has started in another session ends with it when it is cancelled."""
        talk, sign = self.begin(), self.fifo("sign")
        job_id, pid = self.escaping_call(talk, sign, "p.wait()")
        talk.ok(f"cancel {job_id}")
        self.assertEqual("cancelled", talk.end_of(job_id).state)
        self.assertIn(state_of(pid), ("", "Z"))

    def test_call_at_the_stop(self) -> None:
        """Nor does it outlive the daemon's stop, before which the call is handed back."""
        talk, sign = self.begin(), self.fifo("sign")
        _, pid = self.escaping_call(talk, sign, "p.wait()")
        self.daemon.stop()
        self.assertIn(state_of(pid), ("", "Z"))
        self.assertEqual([], self.daemon.workers(), self.daemon.log())

    def test_kept_in_memory(self) -> None:
        """The same holds where no job outlives the daemon anyway."""
        talk, sign = self.begin("--durability", "memory"), self.fifo("sign")
        job_id, first = self.escaping_call(talk, sign, "p.wait()")
        talk.ok(f"cancel {job_id}")
        self.assertEqual("cancelled", talk.end_of(job_id).state)
        self.assertIn(state_of(first), ("", "Z"))
        _, second = self.escaping_call(talk, sign, "p.wait()")
        self.daemon.stop()
        self.assertIn(state_of(second), ("", "Z"))

    def test_left_by_a_call_that_has_ended(self) -> None:
        """What a call has left running is its worker's, and ends with that at the latest."""
        talk, sign = self.begin(), self.fifo("sign")
        job_id, pid = self.escaping_call(talk, sign, "pass")
        self.assertEqual("succeeded", talk.end_of(job_id).state)
        self.daemon.stop()
        self.assertIn(state_of(pid), ("", "Z"))

    def test_after_any_run(self) -> None:
        """After a mixed run there is no process but the workers, no zombie, and no descriptor more than before."""
        talk = self.begin("--workers", "4")
        for lane in ("cpu", "io"):
            talk.run(call="os:getpid", lane=lane)
        talk.run(argv=["true"])
        workers = [pid for group in talk.json("stats")["pool"]["workers"].values() for pid in group]
        daemon = self.daemon.pid
        before = {pid: descriptors(pid) for pid in (daemon, workers[0])}
        jobs = [talk.submit(**fields) for _ in range(6) for fields in self.mix()]
        # Those that are delayed.
        for job_id in jobs[5::7]:
            talk.ok(f"cancel {job_id}")
        states = {talk.end_of(job_id).state for job_id in jobs}
        self.assertEqual({"succeeded", "failed", "cancelled", "timed_out"}, states)
        now = set(workers)

        def quiet() -> bool:
            # A call that was ended took its worker with it; another is there instead.
            nonlocal now
            now = {pid for group in talk.json("stats")["pool"]["workers"].values() for pid in group}
            return set(children(daemon)) == now

        wait_until(quiet, "nothing but the workers is left")
        self.assertLessEqual(descriptors(daemon), before[daemon] + 1)
        # A few empty files stay open for further commands.
        self.assertLess(descriptors(workers[0]), before[workers[0]] + 20)
        self.assertEqual(sorted(now), sorted(children(daemon)))
        self.daemon.stop()
        self.assertEqual([""] * len(now), [state_of(pid) for pid in now])

    def mix(self) -> list[dict[str, object]]:
        call = {"call": "builtins:exec", "cwd": str(self.folder)}
        return [
            {"argv": ["echo", "x"]},
            {"shell": "sleep 600 & exit 3"},
            {"shell": "(setsid sh -c 'trap \"\" TERM; exec sleep 600' &) ; kill -KILL $$"},
            {"shell": "sleep 600 & exec sleep 601", "timeout": 0.2, "grace": 0.2},
            {"argv": ["no-such-program"]},
            {"shell": "exec sleep 600", "delay": 600},
            {**call, "args": ["import os; os.getpid()"]},
        ]


class Output(Restarts):
    """Jobs that write much."""

    def setUp(self) -> None:
        need_linux()
        super().setUp()

    def test_hundreds_of_megabytes(self) -> None:
        """
        A job that writes 400 MB, or as much as C{make soak} asks for, has the first 8 kept and says so; meanwhile
        others run, a follower is served, and the daemon's memory stays where it was.
        """
        talk = self.begin("--output-limit", "8M")
        for _ in range(20):
            talk.run(argv=["true"])
        before = memory(self.daemon.pid, "VmHWM")
        write = f"head -c {WRITTEN // 2} /dev/zero"
        line = f"{write}; echo half > half; read x < go; {write}; exit 5"
        half, go = self.fifo("half"), self.fifo("go")
        job_id = talk.submit(shell=line, cwd=str(self.folder))
        half.wait()
        path = self.folder / "state" / "output" / "0" / f"{job_id}.1.out"
        wait_until(lambda: path.stat().st_size <= 8 * MEGABYTE, "the file is cut while the job runs")
        self.assertEqual("succeeded", talk.run(argv=["true"]).state)
        with self.connect() as other:
            other.ok(f'follow {job_id} {{"from": {7 * MEGABYTE}}}')
            go.release()
            event = talk.end_of(job_id)
            told = other.until(lambda event: event.cursor > 0)
        self.assertEqual(("failed", 5, True), (event.state, event.json["exit_code"], event.json["cut"]))
        self.assertEqual((job_id, event.cursor), (told.job_id, told.cursor))
        self.assertEqual(8 * MEGABYTE, path.stat().st_size)
        self.assertLess(memory(self.daemon.pid, "VmHWM") - before, 24 * MEGABYTE)
        self.assertEqual(8 * MEGABYTE, talk.json(f'output {job_id} {{"from": -1}}')["size"])
