"""Every client through a proxy that does what networks do; the controls show that the harness would see it."""

from __future__ import annotations

import functools
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SkipTest, TestCase

import jobd
from tests.cpp.building import probe
from tests.functional.shared import shared_daemon
from tests.reliability.faults import CARELESS, KINDS, Trial
from tests.reliability.proxy import Fault, FaultProxy, Script, always, scripts

SEED = 1
ENDS = {"reset", "close", "slow close", "half close", "hole", "refuse"}

Outcome = tuple[list[str], set[str]]


def trial(folder: str, **options: float) -> Trial:
    return Trial(shared_daemon(), Path(folder).resolve(), **options)  # type: ignore[arg-type]


def _tried(client: str) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="jobd-test-") as folder:
        this = trial(folder)
        return this.problems(client, scripts(SEED), SEED), set(this.struck)


def _given_up(client: str) -> list[str]:
    """How each load of a client ends that loses its daemon for ever."""

    def script(number: int) -> Fault:
        # Once the daemon has greeted it, and before the first finish.
        return Fault(end="hole", ways=("down", "up"), after=0 if number else 400)

    with tempfile.TemporaryDirectory(prefix="jobd-test-") as folder:
        this = trial(folder, limit=300.0, timeout=4.0, liveness=0.5, patience=2.0)
        return [str(result.error) for _, result in this.results(client, {"black hole": script}, SEED)]


def _lost(after: int) -> Script:
    return lambda number: Fault(end="reset", ways=("down",), after=after) if number == 0 else Fault()


def _without_keys() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="jobd-test-") as folder:
        # A greeting has about 200 bytes, the reply to a submission that follows it about 10.
        chosen = {f"reset after {after} bytes": _lost(after) for after in range(180, 280, 4)}
        # No pings: a machine that stalls must not make it leave a connection before it is reset.
        return trial(folder, liveness=60.0).problems(CARELESS, chosen, SEED)


def _without_pings() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="jobd-test-") as folder:
        chosen = {"black hole": always(Fault(end="hole", after=700))}
        return trial(folder, liveness=3600.0, limit=15.0).problems("blocking", chosen, SEED)


class All(NamedTuple):
    """Everything that takes time, most of which is waiting: so it all runs side by side."""

    tried: dict[str, Future[Outcome]]
    given_up: dict[str, Future[list[str]]]
    without_keys: Future[list[str]]
    without_pings: Future[list[str]]


@functools.cache
def everything() -> All:
    # What is made once must not be made by several threads at once.
    shared_daemon()
    probe()
    pool = ThreadPoolExecutor(2 * len(KINDS) + 2)
    return All(
        {client: pool.submit(_tried, client) for client in KINDS},
        {client: pool.submit(_given_up, client) for client in KINDS},
        pool.submit(_without_keys),
        pool.submit(_without_pings),
    )


class LinuxTestCase(TestCase):
    """A test that needs Unix sockets and a shell, and for the C++ client its compiler."""

    timeout = 900

    def setUp(self) -> None:
        if not sys.platform.startswith("linux"):
            raise SkipTest("the C++ client is built with g++ on Linux only")


class Faults(LinuxTestCase):
    """
    With each fault and each client: no finish is missed, none is told twice,
    no job is there twice, none runs twice, no stream of events or output has
    a gap, and no client hangs.
    """

    def through(self, client: str) -> None:
        self.assertEqual([], everything().tried[client].result()[0])

    def test_blocking(self) -> None:
        """C{jobd.connect}"""
        self.through("blocking")

    def test_asyncio(self) -> None:
        """C{jobd.aio.connect}"""
        self.through("asyncio")

    def test_twisted(self) -> None:
        """C{jobd.tx.connect}"""
        self.through("twisted")

    def test_executor(self) -> None:
        """C{jobd.Executor}"""
        self.through("executor")

    def test_jobctl(self) -> None:
        """C{jobctl run}, C{map} and C{wait}"""
        self.through("jobctl")

    def test_cpp(self) -> None:
        """C{jobd::client}, C{jobd::watch} and C{jobd::follow}"""
        self.through("c++")

    def test_every_end(self) -> None:
        """Connections have ended in each of the ways there are."""
        self.assertEqual(ENDS, set[str]().union(*(future.result()[1] for future in everything().tried.values())))

    def test_for_ever(self) -> None:
        """A daemon that is swallowed by a black hole for good ends every wait of every client with an error."""
        said = r"ConnectionProblem: |WaitTimeout: |CONNECTION: |TIMEOUT: |jobctl: the connection to .* was lost"
        for client, errors in ((client, future.result()) for client, future in everything().given_up.items()):
            self.assertEqual(len(KINDS[client]), len(errors))
            for error in errors:
                self.assertRegex(error, said, client)


class Controls(LinuxTestCase):
    """What the harness must find, or it shows nothing."""

    def test_without_pings(self) -> None:
        """A client that never asks for a sign of life hangs in a black hole."""
        self.assertIn("hangs", "\n".join(everything().without_pings.result()))

    def test_without_keys(self) -> None:
        """A client that submits again without keys makes jobs run twice."""
        self.assertIn("each was to run once", "\n".join(everything().without_keys.result()))


class Proxies(LinuxTestCase):
    """The proxy itself."""

    def test_a_seed_is_a_script(self) -> None:
        """The same seed has the same faults; another one has others."""

        def drawn(seed: int) -> list[Fault]:
            return [script(number) for script in scripts(seed).values() for number in range(8)]

        self.assertEqual(drawn(1), drawn(1))
        self.assertNotEqual(drawn(1), drawn(2))

    def test_fair(self) -> None:
        """Without a fault nothing happens to what passes, and nothing is left when it stops."""
        fair = FaultProxy(str(shared_daemon().socket_path), always(Fault()))
        with fair as proxy, jobd.connect(proxy.url) as client:
            self.assertTrue(client.run("true").wait(60).ok)
            self.assertRaises(jobd.errors.NoSuchJob, client.show, 10**12)
        self.assertEqual(({}, 1), (dict(proxy.struck), proxy.connections))
