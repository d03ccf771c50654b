"""
Which connection is owed which events. No I/O: connections are numbers, and
number 0 is nobody.
"""

from __future__ import annotations

from collections.abc import Iterable


class Subscriptions:
    """
    The events that were promised to connections and have not been told yet.
    A connection that has ended its input is closed once it is owed nothing more.
    """

    def __init__(self) -> None:
        self._owed: dict[int, int] = {}
        self._leaving: set[int] = set()
        self._waiters: dict[int, list[int]] = {}

    def __contains__(self, conn: int) -> bool:
        return conn in self._owed

    def expect(self, conn: int) -> None:
        """Owe one more event to the connection."""
        self._owed[conn] = self._owed.get(conn, 0) + 1

    def listen(self, conn: int, job_id: int, submitter: int) -> None:
        """
        Owe the job's finish event, once however often it is asked for.

        @param submitter: the connection that gets the event anyway.
        """
        if conn == submitter:
            return
        waiters = self._waiters.setdefault(job_id, [])
        if conn not in waiters:
            waiters.append(conn)
            self.expect(conn)

    def tell(self, job_id: int, submitter: int) -> tuple[list[int], list[int]]:
        """The finish event is told. Returns who is owed it and still there, and which of them can be closed now."""
        conns = [submitter] if submitter in self._owed else []
        if self._waiters and (waiters := self._waiters.pop(job_id, None)) is not None:
            conns.extend(conn for conn in waiters if conn in self._owed)
        return conns, self.pay(conns)

    def pay(self, conns: Iterable[int]) -> list[int]:
        """One event less is owed to each. Returns those that can be closed now."""
        over = []
        owed, leaving = self._owed, self._leaving
        for conn in conns:
            left = owed[conn] = owed[conn] - 1
            if leaving and not left and conn in leaving:
                over.append(conn)
        return over

    def leave(self, conn: int) -> bool:
        """The connection has ended its input. Returns whether it can be closed now."""
        self._leaving.add(conn)
        return not self._owed.setdefault(conn, 0)

    def forget(self, conn: int) -> None:
        """The connection is gone."""
        self._owed.pop(conn, None)
        self._leaving.discard(conn)
