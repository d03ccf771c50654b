"""The double of a pool, as daemons that come one after the other see it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from jobd.actions import Start
from jobd.events import Capacity, Finished, Long, Returned, Stuck
from jobd.job import Lane, State
from jobd.pool import Report
from jobd.testing import FakePool


def start(job_id: int, attempt: int = 1) -> Start:
    return Start(job_id, attempt, Lane.COMMAND, b'{"argv":["true"]}')


class Restarts(SynchronousTestCase):
    """A pool that outlives its daemon."""

    def setUp(self) -> None:
        self.pool = FakePool()
        self.reports: list[Report] = []
        self.open()

    def open(self, *running: Start) -> list[tuple[type[Report], int, int]]:
        """A daemon begins; returns what it is told of attempts."""
        self.reports = []
        self.pool.open(lambda *reports: self.reports.extend(reports), lambda *told: None, running)
        return self.told()

    def told(self) -> list[tuple[type[Report], int, int]]:
        return [(type(one), one.job_id, one.attempt) for one in self.reports if not isinstance(one, Capacity)]

    def test_what_runs_runs_on(self) -> None:
        """An attempt that runs is reported to the next daemon when it ends."""
        self.pool.start(start(1))
        self.assertEqual([], self.open(start(1)))
        self.pool.finish(1)
        self.assertEqual([(Finished, 1, 1)], self.told())

    def test_until_it_is_kept(self) -> None:
        """What was reported is reported to the next daemon again, until somebody has said that it is kept."""
        self.pool.start(start(1))
        self.pool.start(start(2))
        self.pool.finish(1)
        self.pool.kept(self.pool.heard())
        self.pool.finish(2)
        for _ in range(2):
            self.assertEqual([(Finished, 2, 1)], self.open(start(2)))
        self.pool.kept(self.pool.heard())
        self.assertEqual([], self.open())

    def test_what_never_began(self) -> None:
        """An attempt that was to begin and never did is returned; after a failure of the machine it is lost."""
        self.assertEqual([(Returned, 1, 1)], self.open(start(1)))
        self.pool.start(start(2))
        self.pool.die()
        self.assertEqual([(Finished, 2, 1)], self.open(start(2)))
        (lost,) = [one for one in self.reports if isinstance(one, Finished)]
        self.assertEqual(State.LOST, lost.state)

    def test_returned_and_begun_again(self) -> None:
        """An attempt that was returned and begun again under its number is not returned by what was said before."""
        self.pool.start(start(1))
        self.pool.give_back(1)
        self.pool.start(start(1))
        self.assertEqual([], self.open(start(1)))
        self.pool.finish(1)
        self.assertEqual([(Finished, 1, 1)], self.told())

    def test_what_is_kept_already(self) -> None:
        """What was returned, and kept though nobody has said so, is not returned again: its number is free."""
        self.pool.start(start(1))
        self.pool.give_back(1)
        self.assertEqual([], self.open())

    def test_long(self) -> None:
        """A call turns out to be long when the test says so."""
        self.pool.start(start(1, 3))
        self.pool.turn_out_long(1)
        self.assertEqual([(Long, 1, 3)], self.told())

    def test_stuck(self) -> None:
        """What was killed may hang until the test ends it."""
        self.pool.start(start(1))
        self.pool.get_stuck(1)
        self.pool.finish(1)
        self.assertEqual([(Stuck, 1, 1), (Finished, 1, 1)], self.told())

    def test_room(self) -> None:
        """There is as much room as the test says, for the next daemon too."""
        self.pool.make_room(3, depth=4, ahead=2)
        said = [(3, 4, 2)]
        self.assertEqual(said, [(one.cpus, one.depth, one.ahead) for one in self.capacities()[1:]])
        self.open()
        self.assertEqual(said, [(one.cpus, one.depth, one.ahead) for one in self.capacities()])

    def capacities(self) -> list[Capacity]:
        return [one for one in self.reports if isinstance(one, Capacity)]
