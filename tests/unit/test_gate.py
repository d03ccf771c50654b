"""Commands a little ahead."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from jobd.actions import Start
from jobd.job import Lane
from jobd.pool.depth import AHEAD, COMMANDS, MOST_COMMANDS, Depth
from jobd.worker.command import CommandSpec
from jobd.worker.gate import Gate, begun_of


def key(job_id: int) -> tuple[bytes, bytes]:
    return b"%d" % job_id, b"1"


class GateTests(SynchronousTestCase):
    """Two places."""

    def setUp(self) -> None:
        self.gate = Gate()
        self.gate.set_places(2, 0)

    def add(self, *ids: int, cpus: int = 1) -> None:
        for job_id in ids:
            self.gate.add(key(job_id), CommandSpec(cpus=cpus))

    def leave(self, *ids: int) -> None:
        for job_id in ids:
            self.gate.leave(key(job_id))

    def entering(self) -> list[int]:
        """Those that may begin now, and do."""
        ids = []
        while self.gate.open:
            ids.append(int(self.gate.enter().key[0]))
        return ids

    def test_places(self) -> None:
        """As many commands run as there are places; the others wait."""
        self.add(1, 2, 3, 4)
        self.assertEqual([1, 2], self.entering())

    def test_leave(self) -> None:
        """A free place is taken by the one that waits longest."""
        self.add(1, 2, 3, 4)
        seen = [self.entering()]
        for job_id in (2, 1, 3):
            self.leave(job_id)
            seen.append(self.entering())
        self.assertEqual([[1, 2], [3], [4], []], seen)

    def test_leave_twice(self) -> None:
        """Only one that runs gives a place back."""
        self.add(1, 2, 3, 4)
        self.entering()
        self.leave(2, 2, 77)
        self.assertEqual([3], self.entering())

    def test_wide(self) -> None:
        """One that takes two places waits for both, and nothing slips past it."""
        self.add(1)
        self.add(2, cpus=2)
        self.add(3)
        seen = [self.entering()]
        for job_id in (1, 2):
            self.leave(job_id)
            seen.append(self.entering())
        self.assertEqual([[1], [2], [3]], seen)

    def test_too_wide(self) -> None:
        """One that asks for more places than there are takes all."""
        self.add(1, cpus=64)
        self.add(2)
        self.assertEqual([1], self.entering())

    def test_no_place_needed(self) -> None:
        """One that takes no place never waits."""
        self.add(1, 2, 3)
        self.add(4, 5, cpus=0)
        self.assertEqual([4, 5, 1, 2], self.entering())
        self.leave(4)
        self.assertEqual([], self.entering())

    def test_taken_places(self) -> None:
        """What another runner's commands have taken is not there; when it is given back, those that wait begin."""
        self.gate.set_places(2, 1)
        self.add(1, 2)
        self.assertEqual([1], self.entering())
        self.gate.set_places(2, 0)
        self.assertEqual([2], self.entering())

    def test_fewer_places(self) -> None:
        """Those that run when places are taken away run on, and the next one waits until it has one."""
        self.add(1, 2, 3)
        self.entering()
        self.gate.set_places(2, 1)
        self.leave(1)
        self.assertEqual([], self.entering())
        self.leave(2)
        self.assertEqual([3], self.entering())

    def test_untold(self) -> None:
        """As long as nothing is said of places there is one for everybody."""
        self.gate = Gate()
        self.add(*range(100), cpus=1024)
        self.assertEqual(list(range(100)), self.entering())

    def test_clear(self) -> None:
        """All that wait can be taken out; those that run keep their places."""
        self.add(1, 2, 3, 4)
        self.entering()
        self.add(5, cpus=0)
        self.assertEqual([key(5), key(3), key(4)], [one.key for one in self.gate.clear()])
        self.add(6)
        self.assertEqual([], self.entering())

    def test_withdraw(self) -> None:
        """One that waits can be taken out; one that runs cannot."""
        self.add(1, 2, 3, 4)
        self.entering()
        self.add(5, cpus=0)
        self.assertEqual([True, False, False, True], [self.gate.withdraw(key(one)) for one in (4, 4, 1, 5)])
        self.leave(1, 2)
        self.assertEqual([3], self.entering())


class BegunTests(SynchronousTestCase):
    """What a runner that has died may have begun."""

    def begun(self, *cpus: int) -> list[int]:
        starts = [Start(job_id, 1, Lane.COMMAND, b"{}", width) for job_id, width in enumerate(cpus)]
        begun, others = begun_of(starts, 2)
        self.assertEqual(starts, sorted([*begun, *others], key=lambda start: start.job_id))
        return [start.job_id for start in begun]

    def test_first_ones(self) -> None:
        """As many of the first as there are places."""
        self.assertEqual([], self.begun())
        self.assertEqual([0], self.begun(1))
        self.assertEqual([0, 1], self.begun(1, 1, 1, 1))

    def test_wide(self) -> None:
        """None behind one that does not fit beside those before it."""
        self.assertEqual([0], self.begun(1, 2, 1))
        self.assertEqual([0], self.begun(2, 1))

    def test_no_place_needed(self) -> None:
        """All of those that need no place."""
        self.assertEqual([0, 1, 2, 4], self.begun(0, 1, 1, 1, 0))


class AheadTests(SynchronousTestCase):
    """How many there are for each place."""

    def test_short_commands_go_ahead(self) -> None:
        """After some short commands several are wanted for each place, after a long one or one that waited just one."""
        depth = Depth(MOST_COMMANDS, COMMANDS)
        for _ in range(20):
            depth.ended([0.002])
        self.assertEqual(4, depth.value)
        self.assertTrue(depth.reset())
        self.assertEqual((1, False), (depth.value, depth.reset()))
        for _ in range(20):
            depth.ended([0.002])
        self.assertTrue(depth.ended([2 * AHEAD]))
        self.assertEqual(1, depth.value)
