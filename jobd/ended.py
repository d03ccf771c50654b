"""What is remembered of a job that has ended: one byte. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from jobd.job import State


class Ended:
    """
    The final states of all jobs kept, by id: an array that begins at the
    oldest of them. 10 million ended jobs take 10 MB.
    """

    def __init__(self) -> None:
        self._base = 1
        self._states = bytearray()

    def __len__(self) -> int:
        return len(self._states) - self._states.count(0)

    def get(self, job_id: int) -> State | None:
        """The final state, or None: not ended, never given out, or no longer kept."""
        place = job_id - self._base
        if 0 <= place < len(self._states) and self._states[place]:
            return State(self._states[place])
        return None

    def set(self, job_id: int, state: State) -> None:
        states = self._states
        if not states:
            self._base = job_id
        place = job_id - self._base
        if place == len(states):
            states.append(state)
            return
        if place < 0:
            states[:0] = bytes(-place)
            self._base = job_id
            place = 0
        elif place > len(states):
            states.extend(bytes(place + 1 - len(states)))
        states[place] = state

    def forget(self, ids: Iterable[int]) -> None:
        """These are no longer kept. The room that they took at the beginning is let go, once it is an eighth of all."""
        base, states = self._base, self._states
        there = range(base, base + len(states))
        for job_id in ids:
            if job_id in there:
                states[job_id - base] = 0
        # To let go of it all the others are copied.
        if states and not states[len(states) >> 3]:
            self._states = states.lstrip(b"\0")
            self._base += len(states) - len(self._states)
