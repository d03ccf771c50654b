"""The blocking client, against a daemon that does what the test says."""

from __future__ import annotations

import json
import math
import os
import pickle
import socket
import sys
import threading
from base64 import b64decode, b64encode
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

import jobd
from jobd.client.blocking import Client
from jobd.client.outcome import Outcome
from jobd.client.reading import Output
from jobd.errors import (
    BadValue,
    ConnectionProblem,
    Finished,
    Gone,
    JobFailed,
    NoSuchJob,
    NotAuthenticated,
    RemoteTraceback,
    TooLong,
    UsageError,
    WaitTimeout,
    WorkerDied,
)
from tests.unit.scripted import Conversation, Peer, ScriptedDaemon

PATIENCE = 120.0


def fails_by_itself(number: int) -> int:
    raise LookupError(number)


class Scripted(TestCase):
    """A client and the script it talks to."""

    def talk(self, *conversations: Conversation, tcp: bool = False, **options: object) -> Client:
        daemon = ScriptedDaemon(*conversations, tcp=tcp)
        daemon.__enter__()
        self.addCleanup(daemon.__exit__, None, None, None)
        client = jobd.connect(daemon.url, **options)  # type: ignore[arg-type]
        self.addCleanup(client.close)
        return client

    def after_hello(self, rest: Conversation, json: str = '{"local": false}') -> Conversation:
        def conversation(peer: Peer) -> None:
            peer.hello(json)
            rest(peer)
            peer.read()

        return conversation


class Submitting(Scripted):
    """What goes over the wire, and what comes back of it."""

    def test_kinds_of_jobs(self) -> None:
        """Each way to submit sends the field it stands for, with the options' fields."""
        sent: list[dict[str, object]] = []

        def rest(peer: Peer) -> None:
            for number in range(1, 6):
                job = json.loads(peer.expect("submit"))
                del job["key"]
                sent.append(job)
                peer.write(f"ok {number}")

        client = self.talk(self.after_hello(rest))
        client.run("gzip", Path("a.log"), cwd="/data")
        client.run(["gzip", "-k"])
        client.shell("echo a", priority=3)
        client.options(queue="gpu").call("math:factorial", 20)
        client.options(queue="gpu", label="x").call("m:f", a=1)
        self.assertEqual(
            [
                {"argv": ["gzip", "a.log"], "cwd": "/data"},
                {"argv": ["gzip", "-k"]},
                {"shell": "echo a", "priority": 3},
                {"call": "math:factorial", "args": [20], "queue": "gpu"},
                {"call": "m:f", "kwargs": {"a": 1}, "queue": "gpu", "label": "x"},
            ],
            sent,
        )

    def test_several(self) -> None:
        """Several jobs go in one line and come back in their order; jobs in C{after} become ids."""

        def rest(peer: Peer) -> None:
            peer.expect("submit", "ok 7")
            jobs = json.loads(peer.expect("submit", "ok 8-9"))
            self.assertEqual([{"shell": "a", "after": [7, -1]}, {"shell": "b", "after": {"7": "any"}}], jobs)

        client = self.talk(self.after_hello(rest), reconnect=False)
        first = client.submit({"argv": ["true"]})
        jobs = client.submit([{"shell": "a", "after": [first, -1]}, {"shell": "b", "after": {first: "any"}}])
        self.assertEqual([8, 9], [job.id for job in jobs])
        self.assertEqual([], client.submit([]))

    def test_same_machine(self) -> None:
        """With a daemon on this machine a job runs in our folder, and relative folders begin there."""
        sent: list[str] = []

        def rest(peer: Peer) -> None:
            for number in range(1, 4):
                sent.append(json.loads(peer.expect("submit"))["cwd"])
                peer.write(f"ok {number}")

        client = self.talk(self.after_hello(rest, '{"local": true}'))
        client.run("true")
        client.run("true", cwd="below")
        client.run("true", cwd="/elsewhere")
        here = os.getcwd()
        self.assertEqual([here, os.path.join(here, "below"), "/elsewhere"], sent)

    def test_keys(self) -> None:
        """Every job gets a key of its own, unless it has one or no connection would be made again."""
        sent: list[object] = []

        def rest(peer: Peer) -> None:
            for number in range(1, 4):
                sent.append(json.loads(peer.expect("submit")).get("key"))
                peer.write(f"ok {number}")

        client = self.talk(self.after_hello(rest))
        client.run("true")
        client.run("true")
        client.run("true", key="mine")
        self.assertEqual(3, len({*sent}))
        self.assertEqual("mine", sent[2])

        def plain(peer: Peer) -> None:
            self.assertEqual({"argv": ["true"]}, json.loads(peer.expect("submit", "ok 1")))

        self.talk(self.after_hello(plain), reconnect=False).run("true")

    def test_refused(self) -> None:
        """What the daemon says against a job is raised as the error with that code."""

        def rest(peer: Peer) -> None:
            peer.expect("submit", "error BAD_FIELD unknown field 'prioirty'; did you mean 'priority'?")

        client = self.talk(self.after_hello(rest))
        error = self.assertRaises(jobd.errors.BadField, client.run, "true", prioirty=5)
        self.assertEqual("unknown field 'prioirty'; did you mean 'priority'?", str(error))

    def test_refused_here(self) -> None:
        """What cannot be sent is refused before anything is sent."""
        client = self.talk(self.after_hello(lambda peer: None))
        for wrong in (
            lambda: client.run(),
            lambda: client.run(3),
            lambda: client.submit({"argv": ["true"], "label": object()}),
            lambda: client.submit({"argv": ["true"], "delay": math.nan}),
            lambda: client.submit([3]),  # type: ignore[list-item]
            lambda: client.call(3),  # type: ignore[arg-type]
            lambda: client.run("true", after="17"),
            lambda: client.run("true", after=[True]),
            lambda: client.job(0),
        ):
            self.assertRaises(BadValue, wrong)
        self.assertRaises(TooLong, client.shell, "x" * 2_000_000)


class Waiting(Scripted):
    """Finish events to those who wait."""

    def test_outcome(self) -> None:
        """A finish event becomes an outcome with all it says."""

        def rest(peer: Peer) -> None:
            peer.expect(
                "submit", "ok 1", '* 5 1 failed {"exit_code": 137, "signal": "SIGKILL", "wall": 0.5, "left": 2}'
            )

        client = self.talk(self.after_hello(rest))
        job = client.run("x")
        outcome = job.wait(PATIENCE)
        self.assertEqual((1, 5, "failed", False), (outcome.id, outcome.cursor, outcome.state, outcome.ok))
        self.assertEqual((137, "SIGKILL", 0.5, 2), (outcome.exit_code, outcome.signal, outcome.wall, outcome.left))
        self.assertEqual((None, None), (outcome.error, outcome.because))
        self.assertEqual("job 1 failed: ended by SIGKILL", outcome.describe())
        self.assertEqual("failed", job.state)
        self.assertEqual(5, client.cursor)
        error = self.assertRaises(JobFailed, job.result, PATIENCE)
        self.assertIs(outcome, error.outcome)

    def test_one_of_others(self) -> None:
        """A job of somebody else's is asked for once, however many wait for it."""

        def rest(peer: Peer) -> None:
            peer.expect("wait 4,9", "ok 2")
            peer.expect("ping", "ok jobd", "* 1 9 succeeded {}", "* 2 4 succeeded {}")

        client = self.talk(self.after_hello(rest))
        early = [client.job(9), client.job(4)]
        self.assertRaises(WaitTimeout, client.wait, early, 0.01)
        self.assertRaises(WaitTimeout, client.job(9).wait, 0)
        client.ping()
        self.assertEqual([9, 4], [outcome.id for outcome in client.wait(early, PATIENCE)])

    def test_no_such_job(self) -> None:
        """Waiting for a job that is not there raises what the daemon says; the client goes on."""

        def rest(peer: Peer) -> None:
            peer.expect("wait 99", "error NO_SUCH_JOB there is no job 99")
            peer.expect("wait 99", "ok 1", "* 1 99 cancelled {}")

        client = self.talk(self.after_hello(rest))
        job = client.job(99)
        self.assertRaises(NoSuchJob, job.wait, PATIENCE)
        self.assertEqual("cancelled", client.job(99).wait(PATIENCE).state)

    def test_as_completed(self) -> None:
        """Jobs come in the order of their ends; a late one raises after the timeout."""

        def rest(peer: Peer) -> None:
            peer.expect("submit", "ok 1-3", "* 1 3 succeeded {}", "* 2 1 failed {}")

        client = self.talk(self.after_hello(rest))
        jobs = client.submit([{"shell": "x"}] * 3)
        client.wait([jobs[0], jobs[2]], PATIENCE)
        came = []
        with self.assertRaises(WaitTimeout):
            for job in client.as_completed(jobs, timeout=0.05):
                came.append(job.id)
        self.assertEqual({1, 3}, set(came))

    def test_map(self) -> None:
        """Results come in the order of the items, and no more is submitted ahead than was asked for."""
        sizes: list[int] = []

        def rest(peer: Peer) -> None:
            first = 1
            while first <= 10:
                jobs = json.loads(peer.expect("submit"))
                many = len(jobs) if isinstance(jobs, list) else 1
                sizes.append(many)
                peer.write(f"ok {first}-{first + many - 1}")
                for number in reversed(range(first, first + many)):
                    peer.write(f'* {number} {number} succeeded {{"result": {number * number}}}')
                first += many

        client = self.talk(self.after_hello(rest))
        squares = client.map("m:square", range(1, 11), ahead=4, timeout=PATIENCE)
        self.assertEqual([number * number for number in range(1, 11)], list(squares))
        self.assertEqual([4, 2, 2, 2], sizes)

    def test_abandoned_map(self) -> None:
        """What a map has submitted and nobody will take is cancelled where it has not begun."""
        said: list[str] = []

        def rest(peer: Peer) -> None:
            peer.expect("submit", "ok 1-3", '* 1 1 succeeded {"result": 1}', "* 2 2 failed {}")
            said.append(peer.expect("cancel"))
            peer.write("ok 1")

        client = self.talk(self.after_hello(rest))
        results = client.map("m:f", [1, 2, 3], timeout=PATIENCE)
        self.assertEqual(1, next(results))
        self.assertRaises(JobFailed, next, results)
        self.assertEqual({"ids": "3", "state": ["waiting", "queued"]}, json.loads(said[0]))


class Results(Scripted):
    """What calls return and raise."""

    def finish(self, state: str, **data: object) -> jobd.client.jobs.Job:
        def rest(peer: Peer) -> None:
            peer.expect("submit", "ok 1", f"* 1 1 {state} {json.dumps(data)}")

        return self.talk(self.after_hello(rest)).call(math.factorial, 3)

    def test_pickle(self) -> None:
        """A Python callable goes as a pickle by reference, and its result comes back as one."""
        sent: list[str] = []

        def rest(peer: Peer) -> None:
            sent.append(json.loads(peer.expect("submit"))["pickle"])
            peer.write("ok 1", f'* 1 1 succeeded {{"pickle": "{b64encode(pickle.dumps({6})).decode()}"}}')

        job = self.talk(self.after_hello(rest)).call(math.factorial, 3)
        self.assertEqual({6}, job.result(PATIENCE))
        self.assertEqual((math.factorial, (3,), {}), pickle.loads(b64decode(sent[0])))

    def test_exception(self) -> None:
        """What a call raised is raised here, with the worker's traceback as its cause."""
        raised = b64encode(pickle.dumps(LookupError(3))).decode()
        job = self.finish("failed", pickle=raised, error="LookupError: 3", traceback="Traceback: line 9\n")
        error = self.assertRaises(LookupError, job.result, PATIENCE)
        self.assertEqual((3,), error.args)
        self.assertIsInstance(error.__cause__, RemoteTraceback)
        self.assertIn("line 9", str(error.__cause__))

    def test_exception_without_pickle(self) -> None:
        """Where the exception cannot travel, JobFailed says what it was."""
        job = self.finish("failed", error="Weird: no", traceback="Traceback: line 9\n")
        error = self.assertRaises(JobFailed, job.result, PATIENCE)
        self.assertEqual("job 1 failed: Weird: no", str(error))
        self.assertIn("line 9", str(error.__cause__))

    def test_unreadable(self) -> None:
        """A result or an exception that cannot be unpickled here is JobFailed, and says why."""
        self.assertIn(
            "cannot be read", str(self.assertRaises(JobFailed, self.finish("succeeded", pickle="AAAA").result))
        )
        self.assertIn("boom", str(self.assertRaises(JobFailed, self.finish("failed", pickle="A", error="boom").result)))

    def test_worker_died(self) -> None:
        """A lost job is an error of its own kind."""
        self.assertRaises(WorkerDied, self.finish("lost", error="its worker died").result, PATIENCE)

    def test_skipped(self) -> None:
        """A skipped job names the one because of which it was."""
        error = self.assertRaises(JobFailed, self.finish("skipped", because=77).result, PATIENCE)
        self.assertIn("job 77", str(error))


class Reconnecting(Scripted):
    """The connection is lost, and nothing else."""

    def test_waits_go_on(self) -> None:
        """What was waited for is waited for again; nothing is missed and nothing is told twice."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1-3", "* 1 2 succeeded {}")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("wait 1,3", "ok 2", "* 1 2 succeeded {}", "* 2 1 succeeded {}", "* 3 3 failed {}")
            peer.read()

        client = self.talk(first, second)
        jobs = client.submit([{"shell": "x"}] * 3)
        self.assertEqual([2, 1, 3], [outcome.cursor for outcome in client.wait(jobs, PATIENCE)])

    def test_submission_is_repeated_with_its_key(self) -> None:
        """A submission without a reply is sent again, the same line with the same key."""
        lines: list[str] = []

        def first(peer: Peer) -> None:
            peer.hello()
            lines.append(peer.expect("submit"))

        def second(peer: Peer) -> None:
            peer.hello()
            lines.append(peer.expect("submit"))
            peer.write("ok 1", "* 1 1 succeeded {}")
            peer.read()

        self.assertTrue(self.talk(first, second).run("true").wait(PATIENCE).ok)
        self.assertEqual(lines[0], lines[1])

    def test_retry_is_not_repeated(self) -> None:
        """What would happen twice is not sent twice: the caller is told that nobody knows."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("retry")

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect("ping", "ok jobd")
            peer.read()

        client = self.talk(first, second)
        error = self.assertRaises(ConnectionProblem, client.retry, 5)
        self.assertIn("may or may not", str(error))
        client.ping()

    def test_without_reconnecting(self) -> None:
        """If no connection is to be made again, whoever waits is told so at once."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1", "error SLOW this client does not read")

        client = self.talk(first, reconnect=False)
        job = client.run("true")
        self.assertIn("does not read", str(self.assertRaises(ConnectionProblem, job.wait, PATIENCE)))
        self.assertRaises(ConnectionProblem, client.ping)

    def test_it_does_not_come_back(self) -> None:
        """A daemon that is not there again in time is given up."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("submit", "ok 1")

        daemon = ScriptedDaemon(first)
        with daemon:
            client = jobd.connect(daemon.url, reconnect=0.2)
            self.addCleanup(client.close)
            job = client.run("true")
        error = self.assertRaises(ConnectionProblem, job.wait, PATIENCE)
        self.assertIn("did not come back", str(error))

    def test_close(self) -> None:
        """Closing the client ends every wait with an error that says so; closing twice is no error."""
        asked = threading.Event()

        def rest(peer: Peer) -> None:
            peer.expect("wait", "ok 1")
            asked.set()

        client = self.talk(self.after_hello(rest))
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                client.job(5).wait(PATIENCE)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        asked.wait(PATIENCE)
        client.close()
        thread.join(PATIENCE)
        self.assertIsInstance(errors[0], ConnectionProblem)
        self.assertIn("closed", str(errors[0]))
        client.close()


class Threads(Scripted):
    """One client, many threads."""

    def test_each_gets_its_own_reply(self) -> None:
        """Replies find the thread that asked."""

        def rest(peer: Peer) -> None:
            for _ in range(200):
                line = peer.expect("why ")
                peer.write(f"ok job {line} is fine")

        client = self.talk(self.after_hello(rest))
        wrong: list[str] = []

        def ask(base: int) -> None:
            for number in range(base, base + 20):
                if client.why(number) != f"job {number} is fine":
                    wrong.append(client.why(number))

        threads = [threading.Thread(target=ask, args=(1 + 20 * number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual([], wrong)


class Streams(Scripted):
    """C{watch} and C{follow}, each on a connection of its own."""

    def test_watch(self) -> None:
        """Finishes come from the cursor on, over a lost connection, each once."""

        main = self.after_hello(lambda peer: None)

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect('watch {"since": 3}', "ok 4", "* 4 1 succeeded {}")
            peer.expect("ping", "ok", '* 0 2 progress {"done": 1}')

        def second(peer: Peer) -> None:
            peer.hello()
            peer.expect('watch {"since": 4}', "ok 5", "* 4 1 succeeded {}", "* 5 2 failed {}")
            peer.read()

        client = self.talk(main, first, second)
        events = client.watch(3)
        told = [next(events), next(events), next(events)]
        events.close()  # type: ignore[attr-defined]
        self.assertEqual([(1, 4), (2, 5)], [(event.id, event.cursor) for event in told if isinstance(event, Outcome)])

    def test_gone(self) -> None:
        """Events that are no longer kept are an error at once, not at the first event."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect("watch", "error GONE the oldest cursor is 90")
            peer.expect("ping", "ok")

        client = self.talk(self.after_hello(lambda peer: None), first)
        self.assertRaises(Gone, client.watch, 3)

    def test_follow(self) -> None:
        """Output comes as bytes, then the outcome, and then it ends."""

        def first(peer: Peer) -> None:
            peer.hello()
            peer.expect('follow 7 {"stream": "both", "from": 0}', "ok 1")
            peer.expect("ping", "ok", '* 0 7 output {"stream": "stdout", "from": 0, "data": "h\\u00e9"}')
            peer.write("* 1 7 succeeded {}")

        client = self.talk(self.after_hello(lambda peer: None), first)
        output, outcome = client.follow(7)
        self.assertEqual(Output(7, "stdout", 0, "hé".encode()), output)
        self.assertIsInstance(outcome, Outcome)


class Verbs(Scripted):
    """The other verbs."""

    def test_list_pages(self) -> None:
        """A list goes on over as many pages as there are, up to its limit."""

        def rest(peer: Peer) -> None:
            peer.expect('list {"state": "failed", "limit": 1000}', 'ok {"jobs": [{"id": 1}, {"id": 5}], "more": true}')
            peer.expect('list {"state": "failed", "from": 6, "limit": 1000}', 'ok {"jobs": [{"id": 9}], "more": false}')
            peer.expect('list {"newest": true, "limit": 3}', 'ok {"jobs": [{"id": 9}, {"id": 8}], "more": true}')
            peer.expect('list {"newest": true, "from": 7, "limit": 1}', 'ok {"jobs": [{"id": 7}], "more": true}')

        client = self.talk(self.after_hello(rest))
        self.assertEqual([1, 5, 9], [job["id"] for job in client.list(state="failed")])
        self.assertEqual([9, 8, 7], [job["id"] for job in client.list(newest=True, limit=3)])

    def test_output(self) -> None:
        """Output is read in parts up to what there is now."""

        def rest(peer: Peer) -> None:
            head = '"from": 0, "size": 6, "end": false}'
            peer.expect('output 3 {"stream": "stdout", "from": 0', 'ok {"data": "ab", "next": 2, ' + head)
            peer.expect(
                'output 3 {"stream": "stdout", "from": 2',
                'ok {"data": "Y2Rl/w==", "encoding": "base64", "next": 6, ' + head,
            )
            peer.expect(
                'output 3 {"stream": "stderr", "from": -4',
                'ok {"data": "", "next": 0, "from": 0, "size": 0, "end": true}',
            )

        client = self.talk(self.after_hello(rest))
        self.assertEqual(b"abcde\xff"[:5] + b"\xff", client.output(3))
        self.assertEqual(b"", client.output(3, "stderr", start=-4))

    def test_what_is_sent(self) -> None:
        """Each method sends its verb and returns what the reply means."""
        script = [
            ("show 3", '{"id": 3, "state": "running"}'),
            ("cancel 3-5,9", "2"),
            ('cancel {"group": "g"}', "0"),
            ("cancel last", "1"),
            ("retry 3-4", "7-8"),
            ('progress 3 {"done": 1, "text": "x"}', ""),
            ('queue gpu {"limit": null}', '{"queue": "gpu"}'),
            ("queue gpu", '{"queue": "gpu"}'),
            ("pause gpu", ""),
            ("pause", ""),
            ("resume", ""),
            ("stats", '{"jobs": 3}'),
            ("drain", "5"),
        ]

        def rest(peer: Peer) -> None:
            for line, answer in script:
                self.assertEqual(line, peer.read())
                peer.write(f"ok {answer}" if answer else "ok")

        client = self.talk(self.after_hello(rest))
        self.assertEqual("running", client.job(3).state)
        self.assertEqual(2, client.cancel([5, client.job(3), 4, 9]))
        self.assertEqual(0, client.cancel({"group": "g"}))
        self.assertEqual(1, client.cancel("last"))
        self.assertEqual([7, 8], [job.id for job in client.retry([3, 4])])
        client.progress(3, done=1, text="x")
        self.assertEqual({"queue": "gpu"}, client.queue("gpu", limit=None))
        client.queue("gpu")
        client.pause("gpu")
        client.pause()
        client.resume()
        self.assertEqual({"jobs": 3}, client.stats())
        self.assertEqual(5, client.drain())

    def test_cancel_of_one(self) -> None:
        """A job tells whether it was ended by this."""

        def rest(peer: Peer) -> None:
            peer.expect("cancel 3", "ok 1")
            peer.expect("cancel 3", "error FINISHED job 3 has ended already: cancelled")
            peer.expect("cancel 3", "error FINISHED job 3 has ended already: cancelled")

        client = self.talk(self.after_hello(rest))
        self.assertTrue(client.job(3).cancel())
        self.assertFalse(client.job(3).cancel())
        self.assertRaises(Finished, client.cancel, 3)


class Problems(Scripted):
    """Each failure has its own text, which says what to do."""

    def text(self, url: str, **options: object) -> str:
        return str(self.assertRaises(ConnectionProblem, jobd.connect, url, **options))

    def test_no_socket(self) -> None:
        """No such socket, and a socket that nobody listens on."""
        if sys.platform == "win32":
            raise SkipTest("there are no Unix sockets here")
        path = Path(self.mktemp()).absolute()
        short = f"/tmp/jobd-{os.getpid()}.sock"
        self.assertIn("twistd jobd", self.text(f"jobd+unix://{path}"))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(short)
        self.addCleanup(os.unlink, short)
        listener.close()
        self.assertIn("the daemon has gone", self.text(f"jobd+unix://{short}"))
        self.assertIn("cannot connect", self.text("jobd+unix:///" + "x" * 200))

    def test_refused(self) -> None:
        """Nobody listens on the port."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.assertIn("nobody listens", self.text(f"jobd://127.0.0.1:{port}"))

    def test_no_host(self) -> None:
        """No such host."""
        self.assertIn("there is no host", self.text("jobd://no-such-host.invalid"))
        self.assertIn("there is no host", self.text("jobd://" + "x" * 80))

    def test_http_url(self) -> None:
        """An http URL is a usage error."""
        self.assertRaises(UsageError, jobd.connect, "http://localhost:7733")

    def test_wrong_token(self) -> None:
        """A wrong token is an error of authentication, at once."""

        def wrong(peer: Peer) -> None:
            peer.expect("auth no", "error AUTH wrong token")

        with ScriptedDaemon(wrong, tcp=True) as daemon:
            self.assertRaises(NotAuthenticated, jobd.connect, daemon.url, token="no")

    def test_garbage(self) -> None:
        """Another program's greeting is told apart from a daemon."""
        with ScriptedDaemon(lambda peer: peer.write("SSH-2.0-OpenSSH"), tcp=True) as daemon:
            self.assertIn("is not jobd", self.text(daemon.url, token="t"))

    def test_closed(self) -> None:
        """A daemon that closes at once."""
        with ScriptedDaemon(lambda peer: None, tcp=True) as daemon:
            self.assertIn("lost", self.text(daemon.url, reconnect=False))

    def test_silence(self) -> None:
        """A peer that accepts and says nothing."""
        done = threading.Event()
        self.addCleanup(done.set)

        def silent(peer: Peer) -> None:
            done.wait(PATIENCE)

        with ScriptedDaemon(silent, tcp=True) as daemon:
            self.assertIn("does not answer", self.text(daemon.url, timeout=0.1))
            done.set()

    def test_plain_where_tls_is_wanted(self) -> None:
        """A jobds URL to a plain port says that no TLS came about."""
        with ScriptedDaemon(lambda peer: peer.write("ok"), tcp=True) as daemon:
            self.assertIn("TLS", self.text(daemon.url.replace("jobd:", "jobds:")))

    def test_wrong_files(self) -> None:
        """A certificate file that is not there is a usage error."""
        with ScriptedDaemon(lambda peer: None, tcp=True) as daemon:
            url = daemon.url.replace("jobd:", "jobds:")
            error = self.assertRaises(UsageError, jobd.connect, url, tls_ca="/none.pem")
            self.assertIn("/none.pem", str(error))
