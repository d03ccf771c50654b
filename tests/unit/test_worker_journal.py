"""A worker's journal, and the link that is taken up again."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import jobd
from jobd.worker import journal
from jobd.worker.journal import Gone, Journal
from jobd.worker.link import Link

LINES = [b"W 7", b"E", b"B 1 1", b'D 1 1 succeeded 0.1 {"exit_code": 0}']


class Lines(SynchronousTestCase):
    """What stands in a journal."""

    def test_whole(self) -> None:
        """Lines are read as they were written."""
        self.assertEqual(LINES, journal.decode(journal.encode(LINES)))

    def test_cut_anywhere(self) -> None:
        """A file that is cut at any byte has all lines but the last."""
        data = journal.encode(LINES)
        ends = [len(journal.encode(LINES[:number])) for number in range(len(LINES) + 1)]
        for cut in range(len(data) + 1):
            whole = sum(end <= cut for end in ends[1:])
            self.assertEqual(LINES[:whole], journal.decode(data[:cut]), cut)

    def test_any_byte_changed(self) -> None:
        """A byte that has changed is noticed: nothing from its line on is believed."""
        data = journal.encode(LINES)
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= 1
            line = data[:place].count(b"\n")
            self.assertEqual(LINES[:line], journal.decode(bytes(changed))[:line], place)
            self.assertNotIn(LINES[line], journal.decode(bytes(changed)), place)

    def test_anything_else(self) -> None:
        """What never was a journal has no lines."""
        for data in (b"", b"\n", b"x\n" * 9, b"\0" * 4096, b"00000000 W 1\n"):
            self.assertEqual([], journal.decode(data))


class Locks(SynchronousTestCase):
    """Who holds a journal lives."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "command-1-1")
        Path(self.path).touch()

    def holder(self) -> subprocess.Popen[bytes]:
        """Another process that has taken the journal."""
        code = (
            f"from jobd.worker.journal import Journal; j = Journal({self.path!r}); print('has it', flush=True); input()"
        )
        root = str(Path(jobd.__file__).parent.parent)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
        )
        assert process.stdout is not None
        self.addCleanup(process.communicate, b"\n")
        self.assertEqual(b"has it\n", process.stdout.readline())
        return process

    def test_locked(self) -> None:
        """While a worker lives nobody else takes its journal; when it is killed the lock is free."""
        holder = self.holder()
        self.assertRaises(Gone, Journal, self.path)
        descriptor = os.open(self.path, os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        self.assertFalse(journal.lock(descriptor))
        holder.kill()
        holder.wait()
        self.assertTrue(journal.lock(descriptor))

    def test_taken_away(self) -> None:
        """A worker that comes up when its journal was removed does not begin."""
        os.unlink(self.path)
        self.assertRaises(Gone, Journal, self.path)

    def test_found_by_its_socket(self) -> None:
        """It is reached by its socket, however long the folder's name is."""
        folder = os.path.join(self.folder, "x" * 120)
        os.mkdir(folder)
        path = os.path.join(folder, "io-1-1")
        Path(path).touch()
        taken = Journal(path)
        self.addCleanup(taken.abandon)
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with client, journal.socket_path(folder, "io-1-1") as address:
            client.connect(address)
            descriptor = taken.accept()
            client.sendall(b"x")
            self.assertEqual(b"x", os.read(descriptor, 9))
            os.close(descriptor)


class Links(SynchronousTestCase):
    """A worker's end of the link, with a journal."""

    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "cpu-1-1")
        Path(self.path).touch()
        self.journal = Journal(self.path)
        self.addCleanup(self.journal.abandon)
        inward, outward = os.pipe(), os.pipe()
        self.daemon_reads, self.daemon_writes = outward[0], inward[1]
        self.link = Link(inward[0], outward[1], self.journal)

    def written(self) -> list[bytes]:
        return journal.decode(Path(self.path).read_bytes())[1:]

    def test_what_is_kept_is_forgotten(self) -> None:
        """When the link ends the journal gets what runs, and the outcomes that were not known to be kept."""
        for number in range(5):
            self.link.report(b"D %d 1 succeeded 0.1 {}\n" % number)
        self.link.kept(3)
        os.close(self.daemon_writes)
        self.assertEqual([], self.link.read())
        self.link.leave([(b"9", b"2")])
        expected = [b"B 9 2", b"D 3 1 succeeded 0.1 {}", b"D 4 1 succeeded 0.1 {}", b"E"]
        self.assertEqual(expected, self.written())
        self.link.report(b"D 9 2 failed 0.2 {}\n")
        self.assertEqual(b"D 9 2 failed 0.2 {}", self.written()[-1])

    def test_taken_up_again(self) -> None:
        """The next daemon is told what runs and what may not be kept; its own count begins anew."""
        self.link.report(b"D 1 1 succeeded 0.1 {}\n")
        self.link.report(b"D 2 1 succeeded 0.1 {}\n")
        self.link.kept(1)
        self.link.leave([(b"9", b"2")])
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with client, journal.socket_path(*os.path.split(self.path)) as address:
            client.connect(address)
            self.link.rejoin([(b"9", b"2")])
            expected = b"H %d\nA 9 2\nD 2 1 succeeded 0.1 {}\nE\n" % os.getpid()
            self.assertEqual(expected, client.recv(4096))
            self.link.report(b"D 9 2 failed 0.2 {}\n")
            self.assertEqual(b"D 9 2 failed 0.2 {}\n", client.recv(4096))
            self.link.kept(1)
            self.link.leave([])
        self.assertEqual([b"D 9 2 failed 0.2 {}", b"E"], self.written()[-2:])

    def test_no_room(self) -> None:
        """
        Where the disk is full in the middle of a journal, that what had begun was all is not said before it is true;
        what did not go in goes in with what comes next.
        """
        write, room = os.write, [0]

        def scarce(descriptor: int, data: bytes) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, "no space left on device")
            written = write(descriptor, data[: room[0]])
            room[0] -= written
            return written

        running = [(b"8", b"1"), (b"9", b"2")]
        whole = [b"B 8 1", b"B 9 2", b"E"]
        for size in range(len(journal.encode(whole))):
            os.truncate(self.path, 0)
            with mock.patch.object(os, "write", scarce):
                room[0] = size
                link = Link(-1, -1, self.journal)
                link.leave(running)
                found = journal.decode(Path(self.path).read_bytes())
                self.assertEqual(whole[: len(found)], found)
                self.assertNotIn(b"E", found)
                room[0] = 1000
                link.report(b"D 9 2 failed 0.2 {}\n")
            self.assertEqual([*whole, b"D 9 2 failed 0.2 {}"], journal.decode(Path(self.path).read_bytes()))

    def test_nobody_listens(self) -> None:
        """What is said while nobody listens is dropped, and no error."""
        os.close(self.daemon_reads)
        self.link.send(b"P 1 1 {}\n")
        self.link.leave([])
        self.link.log("to nobody")
        self.assertEqual([b"E"], self.written())
