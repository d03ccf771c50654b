"""Running jobs survive their daemon: it is killed, or stops and leaves them, and the next one takes them over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from pathlib import Path

from jobd.worker import journal
from tests.daemon import PATIENCE
from tests.functional.conversation import Talk
from tests.functional.test_durability import Restarts
from tests.functional.test_jobs import ROOT


class Surviving(Restarts):
    """Jobs that say when they begin, and end when the test says so."""

    def setUp(self) -> None:
        super().setUp()
        self.told, self.gate = self.fifo("told"), self.fifo("gate")
        self.witness = self.folder / "witness"

    def begun(self, talk: Talk, kind: str, **fields: object) -> int:
        """A job of this kind that runs, and ends with the next release of the gate."""
        line = "$JOBD_JOB_ID $JOBD_ATTEMPT"
        shell = f"echo {line} >> {self.witness}; echo x > {self.told.path}; read x < {self.gate.path}; echo after"
        who = "the io call" if kind == "io" else line
        code = (
            f"import os; open({str(self.witness)!r}, 'a').write(os.path.expandvars('{who}\\n')); "
            f"os.write(os.open({str(self.told.path)!r}, 1), b'x\\n'); "
            f"os.read(os.open({str(self.gate.path)!r}, 0), 3); print('after')"
        )
        if kind == "command":
            job_id = talk.submit(shell=shell, cpus=0, **fields)
        else:
            job_id = talk.submit(call="builtins:exec", args=[code], cwd=ROOT, lane=kind, **fields)
        self.told.wait()
        return job_id

    def executions(self) -> list[str]:
        return self.witness.read_text().split("\n")[:-1]

    def check_one(self, talk: Talk, job_id: int, kind: str) -> None:
        """The job ends as it should, announced once, after one execution."""
        event = talk.end_of(job_id)
        self.assertEqual(("succeeded", 1), (event.state, event.json["attempt"]))
        events = [event for event in self.watched(talk) if event.job_id == job_id]
        self.assertEqual(1, len(events))
        if kind != "io":
            self.assertEqual("after\n", talk.json(f"output {job_id}")["data"])


class Killed(Surviving):
    """kill -9 of the daemon."""

    def test_goes_on(self) -> None:
        """Commands and calls go on with the same attempt, are cancelled or awaited as ever, and end exactly once."""
        talk = self.begin()
        jobs = {kind: self.begun(talk, kind) for kind in ("command", "cpu", "io")}
        talk = self.again()
        for kind, job_id in jobs.items():
            shown = talk.json(f"show {job_id}")
            self.assertEqual(("running", 1), (shown["state"], shown["attempt"]), kind)
        talk.ok("wait 1-3")
        self.gate.release(3)
        for kind, job_id in jobs.items():
            self.check_one(talk, job_id, kind)
        self.assertEqual(["1 1", "2 1", "the io call"], sorted(self.executions()))
        self.assertEqual("succeeded", talk.run(argv=["true"]).state)
        self.daemon.stop()
        self.assertEqual([], self.daemon.workers(), self.daemon.log())

    def test_ends_meanwhile(self) -> None:
        """What ends while there is no daemon is known to the next one, with its exit code and its output."""
        talk = self.begin()
        jobs = {kind: self.begun(talk, kind) for kind in ("command", "cpu", "io")}
        self.daemon.kill()
        self.gate.release(3)
        self.wait_for_journals(b"D 1 1 ", b"D 2 1 ", b"D 3 1 ")
        self.daemon.start()
        talk = self.connect()
        talk.ok("wait 1-3")
        for kind, job_id in jobs.items():
            self.check_one(talk, job_id, kind)

    def wait_for_journals(self, *beginnings: bytes) -> None:
        """Until lines that begin so stand in the workers' journals."""
        end = time.monotonic() + PATIENCE
        while True:
            lines = [line for path in self.daemon.workers() for line in journal.decode(path.read_bytes())]
            if all(any(line.startswith(one) for line in lines) for one in beginnings):
                return
            self.assertLess(time.monotonic(), end, lines)
            time.sleep(0.01)

    def test_again_and_again(self) -> None:
        """A job survives any number of daemons."""
        talk = self.begin()
        jobs = {kind: self.begun(talk, kind) for kind in ("command", "cpu", "io")}
        for _ in range(3):
            talk = self.again()
            self.assertEqual(["running"] * 3, [talk.state(job_id) for job_id in jobs.values()])
        talk.ok("wait 1-3")
        self.gate.release(3)
        for kind, job_id in jobs.items():
            self.check_one(talk, job_id, kind)

    def test_cancelled(self) -> None:
        """What an earlier daemon has started is cancelled like any other, and so is what times out."""
        talk = self.begin()
        command, call = self.begun(talk, "command"), self.begun(talk, "cpu")
        timed = self.begun(talk, "command", timeout=5)
        talk = self.again()
        talk.ok(f"wait {command},{call},{timed}")
        talk.ok(f"cancel {command},{call}")
        states = [talk.end_of(job_id).state for job_id in (command, call, timed)]
        self.assertEqual(["cancelled", "cancelled", "timed_out"], states)

    def change_record(self, job_id: int, values: str) -> None:
        """What the store has of a job, while there is no daemon."""
        with contextlib.closing(sqlite3.connect(self.daemon.state / "jobs.sqlite")) as database, database:
            database.execute(f"UPDATE jobs SET {values} WHERE id = ?", (job_id,))

    def test_cancelled_meanwhile(self) -> None:
        """A cancel that was acknowledged just before the daemon died is carried out by the next one."""
        talk = self.begin()
        job_id = self.begun(talk, "command")
        self.daemon.kill()
        self.change_record(job_id, "ending = 6")
        self.daemon.start()
        talk = self.connect()
        talk.ok(f"wait {job_id}")
        self.assertEqual("cancelled", talk.end_of(job_id).state)

    def test_followed(self) -> None:
        """Its output is streamed by the next daemon, too."""
        talk = self.begin()
        job_id = self.begun(talk, "command")
        talk = self.again()
        talk.ok(f"follow {job_id}")
        self.gate.release()
        told = talk.until(lambda event: event.state == "output")
        self.assertEqual("after\n", told.json["data"])

    def test_places(self) -> None:
        """It keeps its place: the next daemon runs no more at a time than the last."""
        talk = self.begin()
        self.begun(talk, "cpu")
        other = self.begun(talk, "cpu")
        talk = self.again()
        waiting = talk.submit(argv=["true"])
        self.assertIn("1 of 2 places, 0 free", talk.ok(f"why {waiting}"))
        self.assertEqual("queued", talk.state(waiting))
        talk.ok(f"wait {other}")
        self.gate.release()
        talk.end_of(waiting)

    def test_not_begun(self) -> None:
        """What was handed to a worker that never began it uses up no attempt, and runs with the next daemon."""
        talk = self.begin("--workers", "1")
        for _ in range(40):
            talk.run(call="os:getpid")
        running = self.begun(talk, "cpu")
        ahead = [talk.submit(call="os:getpid") for _ in range(5)]
        talk = self.again()
        talk.ok(f"wait {running}-{ahead[-1]}")
        self.gate.release()
        self.check_one(talk, running, "cpu")
        for job_id in ahead:
            event = talk.end_of(job_id)
            self.assertEqual(("succeeded", 1), (event.state, event.json["attempt"]))

    def test_the_worker_dies_too(self) -> None:
        """If a worker died with its daemon its attempts are lost; what they ran has ended before that is told."""
        talk = self.begin()
        command, call = self.begun(talk, "command"), self.begun(talk, "cpu")
        pids = talk.json("stats")["pool"]["workers"]
        tried = talk.submit(argv=["true"], after={str(command): "failed"})
        self.daemon.kill()
        for pid in (*pids["command"], *pids["cpu"], *pids["io"]):
            os.kill(pid, signal.SIGKILL)
        self.daemon.start()
        talk = self.connect()
        talk.ok(f"wait {command},{call},{tried}")
        events = [talk.end_of(job_id) for job_id in (command, call)]
        self.assertEqual(["lost", "lost"], [event.state for event in events])
        self.assertIn("worker was gone", events[0].json["error"])
        self.assertEqual("succeeded", talk.end_of(tried).state)
        self.assertEqual([], self.readers())

    def readers(self) -> list[int]:
        """Processes that wait at the gate."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                marked = f"JOBD_URL=jobd+unix://{self.daemon.state}".encode() in path.read_bytes()
                state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if marked and b"JOBD_JOB_ID" in path.read_bytes() and state != "Z":
                found.append(int(path.parent.name))
        return found

    def test_the_runner_is_killed(self) -> None:
        """When only the runner is killed, its commands end before they are told to be lost, or tried again."""
        talk = self.begin()
        job_id = self.begun(talk, "command", attempts=2, backoff=0)
        (pid,) = talk.json("stats")["pool"]["workers"]["command"]
        os.kill(pid, signal.SIGKILL)
        self.told.wait()
        self.assertEqual(1, len(self.readers()))
        self.gate.release()
        event = talk.end_of(job_id)
        self.assertEqual(("succeeded", 2), (event.state, event.json["attempt"]))

    def test_the_place_of_a_command_that_was_taken_over(self) -> None:
        """The places of commands that were taken over are free again when these are lost with their runner."""
        talk = self.begin()
        (pid,) = talk.json("stats")["pool"]["workers"]["command"]
        job_id = talk.submit(shell=f"echo x > {self.told.path}; read x < {self.gate.path}", cpus=2)
        self.told.wait()
        talk = self.again()
        talk.ok(f"wait {job_id}")
        end = time.monotonic() + PATIENCE
        while f"worker {pid} goes on" not in self.daemon.log():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual("lost", talk.end_of(job_id).state)
        self.assertEqual("succeeded", talk.run(argv=["true"]).state)

    def test_unknown_to_the_store(self) -> None:
        """What runs and is no longer known as running is ended."""
        talk = self.begin()
        job_id = self.begun(talk, "command")
        self.daemon.kill()
        self.change_record(job_id, "state = 2, attempt = 0")
        self.daemon.start()
        self.told.wait()
        talk = self.connect()
        talk.ok(f"wait {job_id}")
        self.gate.release(2)
        self.assertEqual("succeeded", talk.end_of(job_id).state)


class LeftRunning(Surviving):
    """An orderly stop that leaves what runs to the next daemon."""

    def test_drain_keep_running(self) -> None:
        """C{drain} with C{keep_running} stops the daemon at once; its jobs go on under the next one."""
        talk = self.begin()
        jobs = {kind: self.begun(talk, kind) for kind in ("command", "cpu", "io")}
        self.assertEqual("3", talk.ok("drain " + json.dumps({"keep_running": True})))
        self.daemon.join()
        self.daemon.start()
        talk = self.connect()
        talk.ok("wait 1-3")
        self.gate.release(3)
        for kind, job_id in jobs.items():
            self.check_one(talk, job_id, kind)

    def test_on_stop_keep(self) -> None:
        """With C{--on-stop keep} so does TERM."""
        talk = self.begin("--on-stop", "keep")
        jobs = {kind: self.begun(talk, kind) for kind in ("command", "cpu", "io")}
        os.kill(self.daemon.pid, signal.SIGTERM)
        self.daemon.join()
        self.daemon.start()
        talk = self.connect()
        talk.ok("wait 1-3")
        self.gate.release(3)
        for kind, job_id in jobs.items():
            self.check_one(talk, job_id, kind)

    def test_term_ends_what_was_taken_over(self) -> None:
        """An ordinary stop hands back also what an earlier daemon has started."""
        talk = self.begin()
        jobs = [self.begun(talk, kind) for kind in ("command", "cpu")]
        self.again().ok("ping")
        self.daemon.stop()
        self.assertEqual([], self.daemon.workers(), self.daemon.log())
        self.daemon.start()
        self.told.wait()
        self.told.wait()
        talk = self.connect()
        talk.ok("wait 1-2")
        self.gate.release(2)
        self.assertEqual([1, 1], [talk.end_of(job_id).json["attempt"] for job_id in jobs])
