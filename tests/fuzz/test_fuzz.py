"""Nothing that reads bytes can be upset by any; and the fuzzer would notice."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from jobd import spec, wire
from jobd.client.core import Core, Item
from jobd.session import Session
from jobd.testing import MemoryDaemon
from jobd.worker import journal
from tests.fuzz import clients, engine, links, requests
from tests.fuzz.target import CORPUS, Target, cuts
from tests.fuzz.targets import TARGETS
from tests.unit.test_pool_workers import Program

ROOT = Path(__file__).resolve().parent.parent.parent

SECONDS = 1.0
"""For each target, on top of its corpus."""

SEED = int(number) if (number := os.environ.get("JOBD_TEST_SEED", "0")).isdigit() else 0


class FuzzTests(SynchronousTestCase):
    """A short time for each target; C{make fuzz} takes longer."""

    def nothing_found(self, finding: engine.Finding | None) -> None:
        if finding is not None:
            path = finding.save(Path(self.mktemp()))
            raise AssertionError(
                f"{finding.target.name}, seed {SEED}, saved as {path.absolute()}: {finding.data[:1000]!r}"
            ) from finding.problem

    def test_corpus(self) -> None:
        """Of every input that is saved the claims hold, whatever has been found with it once."""
        for target in TARGETS.values():
            self.assertGreater(len(target.corpus()), 3, target.name)
            self.nothing_found(engine.replay(target))

    def test_no_corpus_without_a_target(self) -> None:
        """Every saved input is looked at."""
        self.assertEqual(set(TARGETS), {path.name for path in CORPUS.iterdir()})

    def test_lines(self) -> None:
        """A stream becomes lines, and a line a request or an error, wherever it is cut."""
        self.fuzz("lines")

    def test_submission(self) -> None:
        """A submission becomes jobs that can be kept, shown and tried again, or an error."""
        self.fuzz("submission")

    def test_selector(self) -> None:
        """A selector names a bounded number of jobs, or it is an error."""
        self.fuzz("selector")

    def test_session(self) -> None:
        """A conversation has one reply for each line, wherever it is cut, and is in step after it."""
        self.fuzz("session")

    def test_stranger(self) -> None:
        """So has that of somebody who has not said the token."""
        self.fuzz("stranger")

    def test_client(self) -> None:
        """What a client reads is replies and events, or the end of the connection, and why."""
        self.fuzz("client")

    def test_worker(self) -> None:
        """Whatever a worker says, each of its attempts is reported once."""
        self.fuzz("worker")

    def test_link(self) -> None:
        """A worker reads its orders wherever they are cut, and none that is cut off."""
        self.fuzz("link")

    def test_journal(self) -> None:
        """A journal that was cut or damaged tells nothing that was not written."""
        self.fuzz("journal")

    def test_config(self) -> None:
        """A configuration is settings, or an error in one line."""
        self.fuzz("config")

    def test_endpoint(self) -> None:
        """What to listen on is an endpoint, or an error in one line."""
        self.fuzz("endpoint")

    def test_token(self) -> None:
        """A token that the daemon takes can be said by a client."""
        self.fuzz("token")

    def test_url(self) -> None:
        """A URL leads to a daemon and can be written down again, or it is an error in one line."""
        self.fuzz("url")

    def test_output(self) -> None:
        """What a job has printed comes whole, in parts of any size, and text comes as text."""
        self.fuzz("output")

    def fuzz(self, name: str) -> None:
        self.nothing_found(engine.run(TARGETS[name], SECONDS, SEED))

    def test_all_targets(self) -> None:
        """No target is left out."""
        self.assertEqual(set(), {name for name in TARGETS if not hasattr(self, f"test_{name}")})


class ControlTests(SynchronousTestCase):
    """Readers that are broken on purpose are found out, in the time that the others are given."""

    def found(self, target: Target) -> engine.Finding:
        finding = engine.run(target, 60.0, SEED)
        assert finding is not None, "nothing was found"
        # The daemon in memory logs what broke, as it should.
        self.flushLoggedErrors()
        return finding

    def test_cut_dependent_lines(self) -> None:
        """A splitter that drops what a piece leaves unfinished."""

        def forgetful() -> Callable[[bytes], list[bytes | None]]:
            return lambda data: wire.Lines(requests.LIMIT).feed(data)

        inputs = TARGETS["lines"].inputs
        finding = self.found(Target("lines", lambda data: requests.check_lines(data, forgetful), inputs))
        self.assertIn(b"\n", finding.data)
        self.assertLessEqual(len(finding.data), 20, "it is made small")

    def test_a_byte_that_upsets(self) -> None:
        """A parser that cannot stand one word inside a field."""
        parse = spec.parse_job

        def touchy(json: bytes) -> spec.Submission:
            if b"timeout" in json:
                raise KeyError("timeout")
            return parse(json)

        self.patch(spec, "parse_job", touchy)
        self.assertIn(b"timeout", self.found(TARGETS["submission"]).data)

    def test_a_verb_that_raises(self) -> None:
        """A verb that raises what is no error of jobd's: there is a reply to it, but it is logged as a bug."""

        def broken(session: Session, request: wire.Request) -> None:
            raise KeyError("stats")

        def daemon() -> MemoryDaemon:
            made = requests.a_daemon()
            made.factory.verbs = {**made.factory.verbs, "stats": (broken, True)}
            return made

        target = Target("session", lambda data: requests.check_session(data, make=daemon), TARGETS["session"].inputs)
        self.assertIn(b"stats", self.found(target).data)

    def test_a_reply_too_few(self) -> None:
        """A session that says nothing to every tenth request."""
        reply, count = Session.reply, itertools.count(1)

        def silent(session: Session, request: wire.Request, text: bytes = b"") -> None:
            if next(count) % 10:
                reply(session, request, text)

        self.patch(Session, "reply", silent)
        self.found(TARGETS["session"])

    def test_a_client_that_raises(self) -> None:
        """A client that lets an error of its JSON reader through."""
        receive = Core.receive

        def naive(core: Core, data: bytes) -> list[Item]:
            if b'"from"' in data:
                raise TypeError("not a place")
            return receive(core, data)

        self.patch(Core, "receive", naive)
        self.assertIn(b'"from"', self.found(clients.CLIENT).data)

    def test_a_worker_half_heard(self) -> None:
        """A pool that forgets the beginning of a report when its end comes in another piece."""

        def forgetful(program: Program, part: bytes) -> None:
            links.deliver(program, part)
            program.worker._tail = b""

        inputs = TARGETS["worker"].inputs
        self.found(Target("worker", lambda data: links.check_worker_says(data, forgetful), inputs))

    def test_a_journal_without_sums(self) -> None:
        """A journal that is read without a look at the sums of its lines."""
        with patch.object(journal, "decode", lambda data: [line[9:] for line in data.split(b"\n") if line]):
            self.found(links.JOURNAL)


class EngineTests(SynchronousTestCase):
    """How inputs are made and what becomes of a finding."""

    def test_cuts(self) -> None:
        """However bytes are cut, they are the same bytes; and the same bytes are always cut the same way."""
        for data in (b"", b"a", b"hello\nworld\n", bytes(5000)):
            ways = cuts(data)
            self.assertEqual({data}, {b"".join(way) for way in ways})
            self.assertEqual(ways, cuts(data))

    def test_repeatable(self) -> None:
        """A seed always brings the same inputs, and another one others."""

        def inputs(seed: int) -> list[bytes]:
            seen: list[bytes] = []
            self.assertIsNone(engine.run(Target("x", seen.append, st.binary()), 0.0, seed))
            return seen

        self.assertEqual(inputs(1), inputs(1))
        self.assertNotEqual(inputs(1), inputs(2))

    def test_time(self) -> None:
        """It goes on in rounds until the time is over, and tells how far it is."""
        told: list[int] = []
        times = itertools.count()
        self.assertIsNone(
            engine.run(Target("x", lambda data: None, st.binary()), 3.0, 0, told.append, lambda: float(next(times)))
        )
        self.assertEqual([50, 100, 150], told)

    def test_saved(self) -> None:
        """A finding becomes a file that can be given to the target again."""

        def check(data: bytes) -> None:
            assert b"7" not in data

        finding = engine.run(Target("x", check, st.binary()), 30.0, 0)
        assert finding is not None
        self.assertEqual(b"7", finding.save(Path(self.mktemp())).read_bytes())

    def test_a_broken_strategy(self) -> None:
        """An error in the making of inputs is not taken for a finding, nor passed over."""

        def fail(data: bytes) -> bytes:
            raise ZeroDivisionError

        target = Target("x", lambda data: None, st.binary().map(fail))
        self.assertRaises(ZeroDivisionError, engine.run, target, 0.0, 0)

    def test_the_command(self) -> None:
        """C{python -m tests.fuzz} prints its seed, and says of each target what it has seen."""
        command = [sys.executable, "-m", "tests.fuzz", "--seconds", "0.2", "--seed", "5", "link", "token"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertIn("seed 5,", done.stdout)
        self.assertRegex(done.stdout, r"link: [0-9]+ saved inputs and [0-9]+ new ones, nothing found\n")
        self.assertNotEqual(
            0, subprocess.run([*command, "nonsense"], capture_output=True, check=False, cwd=ROOT).returncode
        )

    def test_the_command_finds(self) -> None:
        """What it finds it saves, and its exit status is that of a failure."""
        script = (
            "import sys; from tests.fuzz import __main__ as fuzz; from jobd.worker import journal; "
            "journal.decode = lambda data: []; sys.exit(fuzz.main([*sys.argv[1:], 'journal']))"
        )
        found = Path(self.mktemp()).absolute()
        command = [sys.executable, "-c", script, "--seconds", "9", "--seed", "5", "--found", str(found)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertIn("journal: FOUND", done.stdout)
        self.assertEqual(1, len(list((found / "journal").iterdir())))
