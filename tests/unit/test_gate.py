"""Commands a little ahead."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from jobd.actions import Start
from jobd.job import Lane
from jobd.pool.depth import AHEAD
from jobd.pool.gate import Gate


def command(job_id: int, cpus: int = 1) -> Start:
    return Start(job_id, 1, Lane.COMMAND, b"{}", cpus)


class GateTests(TestCase):
    """Two places."""

    def setUp(self) -> None:
        self.gate = Gate(2)
        self.first = [command(1), command(2), command(3), command(4)]
        self.entered = [self.gate.enter(start) for start in self.first]

    def test_places(self) -> None:
        """As many commands run as there are places; the others wait."""
        self.assertEqual([True, True, False, False], self.entered)

    def test_leave(self) -> None:
        """A free place is taken by the one that waits longest."""
        self.assertEqual([self.first[2]], self.gate.leave((2, 1)))
        self.assertEqual([self.first[3]], self.gate.leave((1, 1)))
        self.assertEqual([], self.gate.leave((3, 1)))

    def test_leave_twice(self) -> None:
        """Only one that runs gives a place back."""
        self.gate.leave((2, 1))
        self.assertEqual([], self.gate.leave((2, 1)))
        self.assertEqual([], self.gate.leave((77, 1)))

    def test_wide(self) -> None:
        """One that takes two places waits for both, and nothing slips past it."""
        gate = Gate(2)
        wide, small = command(2, cpus=2), command(3)
        gate.enter(command(1))
        self.assertEqual([False, False], [gate.enter(wide), gate.enter(small)])
        self.assertEqual([wide], gate.leave((1, 1)))
        self.assertEqual([small], gate.leave((2, 1)))

    def test_no_place_needed(self) -> None:
        """One that takes no place never waits."""
        self.assertTrue(self.gate.enter(command(5, cpus=0)))
        self.assertEqual([], self.gate.leave((5, 1)))

    def test_short_commands_go_ahead(self) -> None:
        """After some short commands several are wanted for each place, after a long one or one that waited just one."""
        for _ in range(20):
            self.gate.depth.ended(0.001)
        self.assertEqual(4, self.gate.depth.value)
        self.gate.turn_back()
        self.assertEqual(1, self.gate.depth.value)
        for _ in range(20):
            self.gate.depth.ended(0.001)
        self.assertTrue(self.gate.depth.ended(2 * AHEAD))
        self.assertEqual(1, self.gate.depth.value)

    def test_turn_back(self) -> None:
        """Those that waited too long are given back, and those that run are named."""
        self.assertEqual((self.first[2:], [(1, 1), (2, 1)]), self.gate.turn_back())
        self.assertEqual([], self.gate.leave((1, 1)))

    def test_withdraw(self) -> None:
        """One that waits can be taken out; one that runs cannot."""
        self.assertIs(self.first[3], self.gate.withdraw((4, 1)))
        self.assertIs(None, self.gate.withdraw((4, 1)))
        self.assertIs(None, self.gate.withdraw((1, 1)))
        self.assertEqual([self.first[2]], self.gate.leave((1, 1)))
        self.assertEqual([], self.gate.leave((2, 1)))
