"""Claims of the memory of jobs that have ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from jobd.ended import Ended
from jobd.job import FINAL, State

from .simulation import bounded


class EndedTests(TestCase):
    """The final state of each job kept."""

    def test_nothing(self) -> None:
        """Nothing is known of a job that has not ended, whatever its id; forgetting it is nothing."""
        ended = Ended()
        for number in (0, 1, -5, 10**30):
            ended.forget([number])
            self.assertIsNone(ended.get(number))
        self.assertEqual(0, len(ended))

    def test_first_is_not_oldest(self) -> None:
        """A job may end before an older one."""
        ended = Ended()
        ended.set(1_000_000, State.FAILED)
        ended.set(999_990, State.SUCCEEDED)
        self.assertEqual([State.SUCCEEDED, None, State.FAILED], [ended.get(n) for n in (999_990, 999_991, 1_000_000)])

    def test_room(self) -> None:
        """A job takes a byte, from the oldest kept on; what was forgotten before that takes none, once it is much."""
        ended = Ended()
        for number in range(1, 1001):
            ended.set(number, State.SUCCEEDED)
        ended.forget([500, 900, *range(1, 101)])
        self.assertEqual((1000, 898, 1), (len(ended._states), len(ended), ended._base))
        ended.forget(range(1, 901))
        self.assertEqual((100, 100, 901), (len(ended._states), len(ended), ended._base))
        ended.set(900, State.LOST)
        self.assertEqual((State.LOST, State.SUCCEEDED), (ended.get(900), ended.get(901)))

    @bounded(200)
    @given(
        st.lists(
            st.tuples(st.lists(st.integers(1, 60), max_size=4), st.integers(1, 60), st.sampled_from(sorted(FINAL)))
        )
    )
    def test_like_a_dictionary(self, steps: list[tuple[list[int], int, State]]) -> None:
        """It is a dictionary from id to state."""
        ended, model = Ended(), dict[int, State]()
        for gone, number, state in steps:
            ended.set(number, state)
            model[number] = state
            if gone:
                ended.forget(gone)
                model = {one: found for one, found in model.items() if one not in gone}
            self.assertEqual(model, {n: found for n in range(62) if (found := ended.get(n)) is not None})
            self.assertEqual(len(model), len(ended))
