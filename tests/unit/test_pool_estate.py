"""What is concluded of attempts that had begun when the last daemon ended."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from jobd.actions import Start
from jobd.job import Lane
from jobd.pool.estate import Estate
from jobd.pool.journals import Found

ONE, TWO = Start(1, 1, Lane.CPU, b"{}"), Start(2, 1, Lane.CPU, b"{}")
RUN = Start(3, 1, Lane.COMMAND, b"{}")


def worker(name: str, lane: Lane = Lane.CPU, **known: object) -> Found:
    return Found(name, lane, **{"alive": False, "pid": 9, **known})  # type: ignore[arg-type]


class Estates(SynchronousTestCase):
    """Each with its workers, dead or alive."""

    def settled(self, estate: Estate) -> tuple[list[int], list[int], set[str]]:
        """The jobs that were not begun, those that are lost, and the suspects."""
        found = estate.settle()
        return [start.job_id for start in found.unbegun], [start.job_id for start in found.lost], found.suspects

    def test_no_journal(self) -> None:
        """Where no worker has left anything, nobody knows: all is lost."""
        self.assertEqual(([], [1, 3], set()), self.settled(Estate([ONE, RUN], [])))

    def test_a_whole_journal(self) -> None:
        """What a worker had begun and not ended when it died is lost; what it does not name was never begun."""
        dead = worker("a", whole=True, begun={(1, 1)})
        estate = Estate([ONE, TWO], [dead])
        self.assertTrue(estate.died(dead))
        self.assertEqual(([2], [1], {"a"}), self.settled(estate))

    def test_killed_at_once(self) -> None:
        """A worker that was killed with its daemon could say nothing: all in its lane is lost, other lanes are not."""
        dead, other = worker("a"), worker("b", Lane.COMMAND, whole=True)
        estate = Estate([ONE, TWO, RUN], [dead, other])
        self.assertTrue(estate.died(dead))
        self.assertFalse(estate.died(other))
        self.assertEqual(([3], [1, 2], {"a"}), self.settled(estate))

    def test_killed_after_an_order(self) -> None:
        """What a worker has ended by an order is not lost, even if it was killed before it could tell of it."""
        dead = worker("a", ordered=True)
        estate = Estate([ONE, RUN], [dead, worker("b", Lane.COMMAND, whole=True)])
        self.assertTrue(estate.died(dead))
        settlement = estate.settle()
        self.assertEqual(([ONE], [RUN], []), (settlement.ended, settlement.unbegun, settlement.lost))
        self.assertEqual({"a"}, settlement.suspects)

    def test_killed_at_once_beside_it(self) -> None:
        """Where another worker of its lane was killed without an order, nobody can tell whose they were."""
        dead, ordered = worker("a"), worker("b", ordered=True)
        estate = Estate([ONE], [dead, ordered])
        estate.died(dead)
        estate.died(ordered)
        self.assertEqual(([], [1], {"a", "b"}), self.settled(estate))

    def test_never_came_up(self) -> None:
        """One that never came up has begun nothing, and has left nothing."""
        dead = worker("a", pid=0)
        estate = Estate([ONE], [dead])
        self.assertFalse(estate.died(dead))
        self.assertEqual(([1], [], set()), self.settled(estate))

    def test_a_living_worker_is_asked_first(self) -> None:
        """While one that lives has not answered, nothing is concluded in its lane."""
        alive, dead = worker("a", alive=True), worker("b")
        estate = Estate([ONE, TWO, RUN], [alive, dead, worker("c", Lane.COMMAND, whole=True)])
        estate.died(dead)
        self.assertEqual(([3], [], set()), self.settled(estate))
        self.assertIs(ONE, estate.claim((1, 1)))
        estate.answered("a")
        self.assertEqual(([], [2], {"b"}), self.settled(estate))
        self.assertIsNone(estate.claim((1, 1)))

    def test_it_dies_after_all(self) -> None:
        """What a living worker had claimed is in question again when the link to it ends; its journal knows."""
        alive = worker("a", alive=True)
        estate = Estate([ONE], [alive])
        estate.claim((1, 1))
        estate.answered("a")
        estate.reopen("a", Lane.CPU, [ONE])
        self.assertEqual(([], [], set()), self.settled(estate))
        estate.died(worker("a", whole=True, begun={(1, 1)}))
        self.assertEqual(([], [1], {"a"}), self.settled(estate))
