"""How much short work is begun ahead."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from jobd.places import UNIT
from jobd.pool.depth import AHEAD, CALL, MOST_CALLS, Depth


class DepthTests(SynchronousTestCase):
    """A number that follows the durations of the calls."""

    def after(self, *walls: float) -> Depth:
        depth = Depth(MOST_CALLS, CALL)
        depth.ended(walls)
        return depth

    def test_begins_with_one(self) -> None:
        """As long as nothing is known a worker is given one call at a time."""
        self.assertEqual(1, Depth(MOST_CALLS, CALL).value)

    def test_short_calls(self) -> None:
        """Calls that take next to nothing come in large numbers, bit by bit, up to what a place can be shared by."""
        depth = Depth(MOST_CALLS, CALL)
        seen = [depth.value]
        for _ in range(200):
            if depth.ended([0.0]):
                seen.append(depth.value)
        self.assertEqual(sorted(seen), seen)
        self.assertLessEqual(depth.value, min(MOST_CALLS, UNIT))
        self.assertGreaterEqual(depth.value, 64)

    def test_one_long_call_counts_at_once(self) -> None:
        """One call that takes long ends the sharing, whatever came before."""
        depth = self.after(*[0.0] * 200)
        self.assertTrue(depth.ended([2 * AHEAD]))
        self.assertEqual(1, depth.value)

    def test_no_more_ahead_than_the_limit(self) -> None:
        """What a worker holds takes no longer than the limit."""
        for wall in (0.0001, 0.0005, 0.002, 0.008):
            depth = self.after(*[wall] * 300)
            self.assertLessEqual(depth.value * (wall + CALL), AHEAD, wall)

    def test_it_does_not_swing(self) -> None:
        """With calls that take as long as ever the value settles."""
        for wall in (0.0002, 0.0008, 0.0032, 0.0067):
            depth = self.after(*[wall] * 300)
            self.assertFalse(any(depth.ended([wall]) for _ in range(100)), wall)

    def test_a_power_of_two(self) -> None:
        """The value divides a place without a rest."""
        for wall in (0.0, 0.00003, 0.0001, 0.0003, 0.001):
            self.assertEqual(0, UNIT % self.after(*[wall] * 300).value)
