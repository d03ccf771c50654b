"""Claims of writing, and reading on, without waiting for the reactor."""

from __future__ import annotations

import os
import sys
from typing import Any
from unittest import skipIf

from twisted.internet import fdesc
from twisted.internet.abstract import FileDescriptor
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


class System:
    """
    A socket that takes C{room} bytes, or refuses with C{problem}.

    @ivar taken: by it.
    """

    def __init__(self) -> None:
        self.taken = b""
        self.room = 1 << 20
        self.problem: OSError | None = None

    def send(self, data: bytes) -> int:
        if self.problem is not None:
            raise self.problem
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.taken += part
        return len(part)


class Descriptor(FileDescriptor):
    """A transport."""

    connected = 1

    def __init__(self) -> None:
        self.interest = Interest()
        super().__init__(self.interest)  # type: ignore[arg-type]
        self.socket = System()

    def stopReading(self) -> None:
        """Nothing is read."""

    def writeSomeData(self, data: bytes) -> int:
        return self.socket.send(data)

    @property
    def waits(self) -> bool:
        """Whether the reactor is to write more."""
        return self in self.interest.writers


class Pipe(Descriptor):
    """The transport of one that has nothing but a number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        del self.socket
        self._number = number

    def fileno(self) -> int:
        return self._number


class WriteTests(TestCase):
    """What goes at once and what waits."""

    def setUp(self) -> None:
        self.transport = Descriptor()

    def test_at_once(self) -> None:
        """However much it is, what the system takes it has before the call returns; nothing is left to the reactor."""
        for data in (b"ok 1\n", bytes(1 << 19)):
            self.transport.socket.taken = b""
            prompt.write(self.transport, data)
            self.assertEqual((data, False), (self.transport.socket.taken, self.transport.waits))

    def test_no_room(self) -> None:
        """What the system does not take waits for the reactor, and keeps its turn."""
        self.transport.socket.room = 3
        prompt.write(self.transport, b"ok 1\n")
        self.assertEqual((b"ok ", True), (self.transport.socket.taken, self.transport.waits))
        self.transport.socket.room = 100
        prompt.write(self.transport, b"ok 2\n")
        self.assertEqual(b"ok ", self.transport.socket.taken)
        self.transport.doWrite()
        self.assertEqual((b"ok 1\nok 2\n", False), (self.transport.socket.taken, self.transport.waits))

    def test_broken(self) -> None:
        """An error is left for the reactor to find."""
        self.transport.socket.problem = BrokenPipeError()
        prompt.write(self.transport, b"ok 1\n")
        self.assertTrue(self.transport.waits)

    def test_closing(self) -> None:
        """Where the transport is being closed the reactor writes the rest, as it is the one that closes it then."""
        self.transport.loseConnection()
        prompt.write(self.transport, b"ok 1\n")
        self.assertEqual((b"", True), (self.transport.socket.taken, self.transport.waits))

    def test_gone(self) -> None:
        """To a connection that is gone nothing is written."""
        self.transport.connected = 0
        prompt.write(self.transport, b"ok 1\n")
        self.assertEqual((b"", False), (self.transport.socket.taken, self.transport.waits))

    def test_pipe(self) -> None:
        """So it is with a pipe: what it takes it has at once, the rest waits."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        os.set_blocking(writer, False)
        pipe = Pipe(writer)
        prompt.write(pipe, b"S 1\n")
        self.assertEqual((b"S 1\n", False), (os.read(reader, 100), pipe.waits))
        prompt.write(pipe, bytes(1 << 20))
        self.assertTrue(pipe.waits)

    def test_others(self) -> None:
        """A transport of another kind, as TLS is, is written to as always."""
        transport = StringTransport()
        prompt.write(transport, b"ok 1\n")
        self.assertEqual(b"ok 1\n", transport.value())


class End:
    """Of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@skipIf(sys.platform == "win32", "Twisted has no descriptors of pipes there")
class ReadOnTests(TestCase):
    """What else is in a pipe."""

    piece = b"x" * prompt.PIECE

    def setUp(self) -> None:
        self.reader, self.writer = map(End, os.pipe())
        self.addCleanup(self.reader.close)
        self.addCleanup(self.writer.close)

    def test_piece(self) -> None:
        """After a whole piece the rest is read; after less it is not looked for."""
        os.write(self.writer.fileno(), b"more")
        self.assertEqual(self.piece[1:], prompt.read_on(self.reader, self.piece[1:]))
        self.assertEqual(self.piece + b"more", prompt.read_on(self.reader, self.piece))

    def test_nothing(self) -> None:
        """Where there is no more, or nothing any more, it is what was read; the reactor finds out as well."""
        self.assertEqual(self.piece, prompt.read_on(self.reader, self.piece))
        self.writer.close()
        self.assertEqual(self.piece, prompt.read_on(self.reader, self.piece))
        self.assertEqual(b"", os.read(self.reader.fileno(), 1))
        self.reader.close()
        self.assertEqual(self.piece, prompt.read_on(self.reader, self.piece))

    def test_twisted(self) -> None:
        """That is how much Twisted reads from a pipe at a time."""
        os.write(self.writer.fileno(), self.piece + b"x")
        told: list[bytes] = []
        fdesc.readFromFD(self.reader.fileno(), told.append)
        self.assertEqual([prompt.PIECE], [len(data) for data in told])
