"""Groups of jobs, as long as one of their jobs has not ended. No I/O."""

from __future__ import annotations

import attrs

from jobd.job import WORDS, State


@attrs.define(slots=True, eq=False)
class Group:
    """
    @ivar counts: how many of its jobs have ended in which state, since it last had none left.
    @ivar waiters: the connections that are to be told when none is left.
    """

    unfinished: int = 0
    counts: dict[str, int] = attrs.Factory(dict)
    waiters: list[int] = attrs.Factory(list)


class Groups:
    """
    @ivar open: the groups by name; one with no unfinished job is not there.
    """

    def __init__(self) -> None:
        self.open: dict[str, Group] = {}
        self._of: dict[int, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.open

    def restore(self, name: str, counts: dict[str, int]) -> None:
        self.open[name] = Group(counts=counts)

    def join(self, job_id: int, name: str) -> None:
        self.open.setdefault(name, Group()).unfinished += 1
        self._of[job_id] = name

    def wait(self, name: str, conn: int) -> None:
        self.open[name].waiters.append(conn)

    def leave(self, job_id: int, state: State) -> tuple[str, Group] | None:
        """A job has ended. Returns its group, if that was the last one."""
        name = self._of.pop(job_id, None)
        if name is None:
            return None
        group = self.open[name]
        group.unfinished -= 1
        word = WORDS[state]
        group.counts[word] = group.counts.get(word, 0) + 1
        if group.unfinished:
            return None
        del self.open[name]
        return name, group
