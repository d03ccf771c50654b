"""C{follow}: output as it is written, then how the job ended."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from jobd import follow
from jobd.errors import Full
from jobd.follow import LATEST
from jobd.outputs import Part
from jobd.testing import FakePool, HeldStore, MemoryClient, MemoryDaemon
from jobd.worker.output import Stream, output_path


class Follows(SynchronousTestCase):
    """A daemon in memory, and a folder in which the test writes the jobs' output."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(self.folder)
        self.daemon = MemoryDaemon(pool=FakePool(cpus=100), output=self.folder)
        self.client = self.daemon.connect()

    def submit(self, count: int = 1, **fields: Any) -> None:
        job = json.dumps({"argv": ["a"], "notify": False, **fields})
        self.client.send(f"submit [{', '.join([job] * count)}]")
        self.client.take()

    def write(self, text: str | bytes, job_id: int = 1, attempt: int = 1, stream: Stream = "out") -> None:
        path = Path(output_path(self.folder, job_id, attempt, stream))
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    def finish(self, job_id: int = 1, **outcome: Any) -> None:
        self.daemon.pool.finish(job_id, **outcome)
        self.daemon.settle()

    def told(self, client: MemoryClient | None = None) -> list[tuple[int, str, Any]]:
        """Events as job id, state, and the data of an output."""
        found = []
        for line in (client or self.client).take():
            if line.startswith("*"):
                _, _, job_id, state, text = line.split(" ", 4)
                found.append((int(job_id), state, json.loads(text).get("data")))
        return found

    def test_while_it_is_written(self) -> None:
        """What is there comes at once, what is written later comes soon after, and the finish event last."""
        self.submit()
        self.write("one\n")
        self.client.send("follow 1")
        self.daemon.advance(0)
        self.assertEqual([(1, "output", "one\n")], self.told())
        self.write("two\n")
        self.write("oh\n", stream="err")
        self.daemon.advance(LATEST)
        self.assertEqual([(1, "output", "two\n"), (1, "output", "oh\n")], self.told())
        self.write("three\n")
        self.finish()
        self.daemon.advance(0)
        self.daemon.advance(0)
        self.assertEqual([(1, "output", "three\n"), (1, "succeeded", None)], self.told())
        self.assertEqual([], self.daemon.clock.getDelayedCalls())

    def test_no_more_than_is_taken(self) -> None:
        """
        Of many jobs that have written much, no more is sent than the client takes; when it reads on it gets all,
        and then the ends.
        """
        count, size = 30, 60_000
        self.submit(count)
        for job_id in range(1, count + 1):
            self.write("x" * size, job_id)
            self.finish(job_id)
        self.client.stop_reading()
        self.client.send(f"follow 1-{count}")
        self.daemon.advance(0)
        session = self.client._session
        waiting = sum(map(len, self.client.transport.writes)) + session._out_size
        self.assertLess(waiting, follow.AT_ONCE + 2 * size)
        found: list[tuple[int, str, Any]] = []
        while len(found) < 2 * count:
            self.client.read_on()
            self.daemon.advance(0)
            found += self.told()
            self.client.stop_reading()
        self.assertEqual({(job_id, "output", "x" * size) for job_id in range(1, count + 1)}, set(found[:count]))
        self.assertEqual({(job_id, "succeeded", None) for job_id in range(1, count + 1)}, set(found[count:]))

    def test_what_has_not_begun(self) -> None:
        """Jobs that have not begun are not looked for in the output folder; as soon as they have, they are."""
        looked: list[int] = []
        outputs = self.daemon.factory.outputs
        read = outputs.read

        def reading(job_id: int, *rest: Any) -> Part:
            looked.append(job_id)
            return read(job_id, *rest)

        self.patch(outputs, "read", reading)
        self.client.send("pause")
        self.submit(200)
        self.client.send("follow 1-200")
        for _ in range(5):
            self.daemon.advance(LATEST)
        self.assertEqual([], looked)
        self.client.send("resume")
        self.write("hello\n", 100)
        self.daemon.advance(LATEST)
        self.assertEqual(set(range(1, 101)), set(looked))
        self.assertEqual([(100, "output", "hello\n")], self.told())

    def test_cannot_be_read_now(self) -> None:
        """While the system cannot open what a job has written, its end is not told; then all of it comes."""
        self.submit()
        self.write("hello\n")
        outputs, room = self.daemon.factory.outputs, False
        read = outputs.read

        def reading(*which: Any) -> Part:
            if not room:
                raise OSError(errno.EMFILE, "Too many open files")
            return read(*which)

        self.patch(outputs, "read", reading)
        self.client.send("follow 1")
        self.finish()
        for _ in range(3):
            self.daemon.advance(LATEST)
        self.assertEqual([], self.told())
        room = True
        for _ in range(3):
            self.daemon.advance(LATEST)
        self.assertEqual([(1, "output", "hello\n"), (1, "succeeded", None)], self.told())

    def test_after_its_end(self) -> None:
        """Of a job that has ended all comes at once, in parts."""
        self.patch(follow, "PART", 4)
        self.submit()
        self.write("0123456789")
        self.finish()
        self.client.send("follow 1")
        self.daemon.advance(0)
        for _ in range(4):
            self.daemon.advance(0)
        parts = [(1, "output", "0123"), (1, "output", "4567"), (1, "output", "89"), (1, "succeeded", None)]
        self.assertEqual(parts, self.told())

    def test_much_at_once(self) -> None:
        """While there is more to be sent no timer is set: that would cost as much as a part."""
        self.submit()
        self.write("x" * (10 * follow.PART))
        timers: list[float] = []
        later = self.daemon.clock.callLater

        def counting(delay: float, *rest: Any, **named: Any) -> Any:
            timers.append(delay)
            return later(delay, *rest, **named)

        self.patch(self.daemon.clock, "callLater", counting)
        self.client.send("follow 1")
        self.daemon.advance(0)
        self.assertEqual([(1, "output", "x" * follow.PART)] * 10, self.told())
        self.assertEqual([0.0, follow.SOONEST], timers)

    def test_from_and_stream(self) -> None:
        """One may choose a stream, and where in it to begin."""
        self.submit()
        self.write("0123456789")
        self.write("no", stream="err")
        self.client.send('follow 1 {"stream": "stdout", "from": 7}')
        self.daemon.advance(0)
        self.assertEqual([(1, "output", "789")], self.told())
        problem = self.client.ask('follow 1 {"stream": "stdin"}')
        self.assertEqual("error BAD_VALUE stream: there is no stream 'stdin'; it is stdout or stderr", problem)

    def test_many_jobs(self) -> None:
        """Many jobs are followed on one connection, their lines tagged by their ids."""
        self.submit(20)
        self.assertEqual("ok 20", self.client.ask("follow 1-20"))
        for job_id in range(1, 21):
            self.write(f"job {job_id}\n", job_id)
        self.daemon.advance(LATEST)
        for job_id in range(20, 0, -1):
            self.finish(job_id)
        for _ in range(3):
            self.daemon.advance(LATEST)
        told = self.told()
        self.assertEqual([(job_id, "output", f"job {job_id}\n") for job_id in range(1, 21)], told[:20])
        self.assertEqual({(job_id, "succeeded", None) for job_id in range(1, 21)}, set(told[20:]))
        self.assertEqual(40, len(told))

    def test_the_next_attempt(self) -> None:
        """When another attempt begins its output follows, from its beginning."""
        self.submit(attempts=2, backoff=1)
        self.client.send("follow 1")
        self.write("first\n")
        self.finish(exit_code=1)
        self.daemon.advance(LATEST)
        self.daemon.advance(1)
        self.write("second\n", attempt=2)
        self.daemon.advance(LATEST)
        self.finish()
        self.daemon.advance(LATEST)
        self.assertEqual([(1, "output", "first\n"), (1, "output", "second\n"), (1, "succeeded", None)], self.told())

    def test_attempts_between_two_looks(self) -> None:
        """The output of every attempt follows, also of those that came and went unseen."""
        self.submit(attempts=3, backoff=0)
        self.client.send("follow 1")
        for attempt in (1, 2, 3):
            self.write(f"attempt {attempt}\n", attempt=attempt)
            self.finish(exit_code=1)
            self.daemon.advance(0)
        for _ in range(8):
            self.daemon.advance(LATEST)
        written = [(1, "output", f"attempt {attempt}\n") for attempt in (1, 2, 3)]
        self.assertEqual([*written, (1, "failed", None)], self.told())

    def test_before_it_starts(self) -> None:
        """A job may be followed before it has started."""
        self.submit(delay=5)
        self.client.send("follow 1")
        self.daemon.advance(5)
        self.write("hello")
        self.daemon.advance(LATEST)
        self.assertEqual([(1, "output", "hello")], self.told())

    def test_skipped(self) -> None:
        """Of one that never starts just the finish event comes."""
        self.submit(delay=5)
        self.client.send("follow 1")
        other = self.daemon.connect()
        other.ask("cancel 1")
        self.daemon.advance(LATEST)
        self.assertEqual([(1, "cancelled", None)], self.told())

    def test_half_close(self) -> None:
        """After a half close the connection ends once all that is followed has ended."""
        self.submit(2)
        self.client.send("follow 1-2")
        self.client.half_close()
        self.write("bye\n", 1)
        self.finish(1)
        self.daemon.advance(LATEST)
        self.assertFalse(self.client.gone)
        self.finish(2)
        for _ in range(3):
            self.daemon.advance(LATEST)
        self.assertTrue(self.client.gone)
        self.assertEqual([(1, "output", "bye\n"), (1, "succeeded", None), (2, "succeeded", None)], self.told())

    def test_seldom_when_nothing_is_written(self) -> None:
        """A file that does not grow is looked at a few times a second, no more."""
        self.submit()
        self.client.send("follow 1")
        self.daemon.advance(10)
        looks: list[object] = []
        self.patch(self.client._session.following, "_outputs", _Counting(looks))
        for _ in range(1000):
            self.daemon.advance(0.01)
        self.assertLess(len(looks), int(2 * 10 / LATEST) + 10)

    def test_a_client_that_does_not_read(self) -> None:
        """A client that does not read is sent no more than a few parts; it gets the rest when it reads."""
        self.submit()
        self.write(b"x" * 1_000_000)
        self.client.stop_reading()
        self.client.send("follow 1")
        for _ in range(100):
            self.daemon.advance(LATEST)
        unread = sum(map(len, self.client.transport.writes)) + self.client._session._out_size
        self.assertLess(unread, 300_000)
        received = 0
        self.finish()
        for _ in range(30):
            self.client.read_on()
            self.daemon.advance(LATEST)
            received += sum(len(data or "") for _, _, data in self.told())
        self.assertEqual(1_000_000, received)

    def test_binary(self) -> None:
        """What is not UTF-8 comes as base64."""
        self.submit()
        self.write(b"\xff\xfe")
        self.client.send("follow 1")
        self.daemon.advance(0)
        lines = self.client.take()
        self.assertIn('"data":"//4=","encoding":"base64"', lines[-1])

    def test_an_end_that_is_not_kept_yet(self) -> None:
        """While there is no room to keep a job's end it is followed on, and its end is told once it is kept."""
        store = HeldStore(holding=False)
        self.daemon = MemoryDaemon(store, output=self.folder)
        self.client = self.daemon.connect()
        self.submit()
        store.holding = True
        self.finish()
        store.refuse(Full("there is no room"))
        self.daemon.settle()
        self.client.send("follow 1")
        for _ in range(8):
            self.daemon.advance(LATEST / 2)
        self.assertEqual((["ok 1"], 1), (self.client.take(), store.held))
        store.release()
        self.daemon.settle()
        self.daemon.advance(LATEST)
        self.assertEqual([(1, "succeeded", None)], self.told())

    def test_gone(self) -> None:
        """When the client has gone nobody looks at the files any more."""
        self.submit()
        self.client.send("follow 1")
        self.client.disconnect()
        self.daemon.advance(LATEST)
        self.assertEqual(([], set()), (self.daemon.clock.getDelayedCalls(), self.daemon.daemon.watchers))


class _Counting:
    """Outputs without anything in them that count how often they are looked at."""

    def __init__(self, looks: list[object]) -> None:
        self._looks = looks

    def read(self, *which: object) -> Any:
        self._looks.append(which)
        return Part(0, b"", 0)
