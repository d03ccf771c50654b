"""Claims of writing without waiting for the reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from jobd import prompt


class Interest:
    """A reactor that only notes who waits to be written to."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)


class Descriptor(FileDescriptor):
    """
    A transport whose system takes C{room} bytes, or refuses with C{problem}.

    @ivar taken: by the system.
    """

    connected = 1

    def __init__(self) -> None:
        self.interest = Interest()
        super().__init__(self.interest)  # type: ignore[arg-type]
        self.taken = b""
        self.room = 1 << 20
        self.problem: Exception | None = None

    def stopReading(self) -> None:
        """Nothing is read."""

    def writeSomeData(self, data: bytes) -> int | Exception:
        if self.problem is not None:
            return self.problem
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.taken += part
        return len(part)

    @property
    def waits(self) -> bool:
        """Whether the reactor is to write more."""
        return self in self.interest.writers


class WriteTests(TestCase):
    """What goes at once and what waits."""

    def setUp(self) -> None:
        self.transport = Descriptor()

    def test_at_once(self) -> None:
        """However much it is, what the system takes it has before the call returns; nothing is left to the reactor."""
        for data in (b"ok 1\n", bytes(1 << 19)):
            self.transport.taken = b""
            prompt.write(self.transport, data)
            self.assertEqual((data, False), (self.transport.taken, self.transport.waits))

    def test_no_room(self) -> None:
        """What the system does not take waits for the reactor, and keeps its turn."""
        self.transport.room = 3
        prompt.write(self.transport, b"ok 1\n")
        self.assertEqual((b"ok ", True), (self.transport.taken, self.transport.waits))
        self.transport.room = 100
        prompt.write(self.transport, b"ok 2\n")
        self.assertEqual(b"ok ", self.transport.taken)
        self.transport.doWrite()
        self.assertEqual((b"ok 1\nok 2\n", False), (self.transport.taken, self.transport.waits))

    def test_broken(self) -> None:
        """An error is left for the reactor to find."""
        self.transport.problem = ConnectionLost()
        prompt.write(self.transport, b"ok 1\n")
        self.assertTrue(self.transport.waits)

    def test_closing(self) -> None:
        """Where the transport is being closed the reactor writes the rest, as it is the one that closes it then."""
        self.transport.loseConnection()
        prompt.write(self.transport, b"ok 1\n")
        self.assertEqual((b"", True), (self.transport.taken, self.transport.waits))

    def test_gone(self) -> None:
        """To a connection that is gone nothing is written."""
        self.transport.connected = 0
        prompt.write(self.transport, b"ok 1\n")
        self.assertEqual((b"", False), (self.transport.taken, self.transport.waits))

    def test_others(self) -> None:
        """A transport of another kind, as TLS is, is written to as always."""
        transport = StringTransport()
        prompt.write(transport, b"ok 1\n")
        self.assertEqual(b"ok 1\n", transport.value())
