"""Reading parts of what jobs wrote."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from jobd import outputs
from jobd.outputs import Outputs, Part
from jobd.worker.output import Stream, output_path


class OutputsTests(SynchronousTestCase):
    """With a folder of its own."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(self.folder)
        self.outputs = Outputs(self.folder)

    def write(self, data: bytes, job_id: int = 1, attempt: int = 1, stream: Stream = "out") -> Path:
        path = Path(output_path(self.folder, job_id, attempt, stream))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def read(self, start: int = 0, limit: int = 1000, stream: str = "stdout", attempt: int = 1) -> Part:
        return self.outputs.read(1, attempt, stream, start, limit)

    def test_parts(self) -> None:
        """A part begins where it is asked for, from the end below 0, and has no more than the limit."""
        self.write(b"0123456789")
        for expected, start, limit in (
            (Part(0, b"0123456789", 10), 0, 1000),
            (Part(3, b"34", 10), 3, 2),
            (Part(7, b"789", 10), -3, 1000),
            (Part(0, b"0123", 10), -99, 4),
            (Part(10, b"", 10), 10, 5),
            (Part(99, b"", 10), 99, 5),
        ):
            self.assertEqual(expected, self.read(start, limit))

    def test_streams_and_attempts(self) -> None:
        """Each attempt has two outputs of its own."""
        self.write(b"out")
        self.write(b"err", stream="err")
        self.write(b"again", attempt=2)
        found = [self.read().data, self.read(stream="stderr").data, self.read(attempt=2).data]
        self.assertEqual([b"out", b"err", b"again"], found)

    def test_nothing_was_written(self) -> None:
        """Of an output that is not there the part is empty."""
        self.assertEqual(Part(0, b"", 0), self.read(-5))

    def test_cannot_be_opened_now(self) -> None:
        """Where the system has no descriptor left that is an error, not an output without anything in it."""
        self.write(b"something")

        def no_room(*args: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "open", no_room)
        self.assertEqual(errno.EMFILE, self.assertRaises(OSError, self.read).errno)

    def test_characters_are_not_cut(self) -> None:
        """A character is not cut in two, except where a part would be empty; its bytes come with the next part."""
        text = "aé€🦊z".encode()
        self.write(text)
        for limit in range(1, len(text) + 1):
            start, parts = 0, []
            while True:
                part = self.read(start, limit)
                if not part.data:
                    break
                parts.append(part.data)
                start = part.next
            self.assertEqual(text, b"".join(parts), limit)
            if limit >= 4:
                for data in parts:
                    data.decode()

    def test_binary(self) -> None:
        """What is not UTF-8 comes as base64, and is not cut shorter than it must."""
        self.write(b"\xff\xfe\x00\xc3" * 3)
        self.assertEqual({"data": "//4Aw//+AMP//gDD", "encoding": "base64"}, self.read().fields())
        self.assertEqual({"data": "plain"}, Part(0, b"plain", 5).fields())

    def test_no_file(self) -> None:
        """A folder, a link or a pipe under an output's name is nothing to be read, and blocks nobody."""
        if sys.platform == "win32":
            raise SkipTest("there are no named pipes")
        path = self.write(b"")
        for make in (os.mkdir, os.mkfifo, lambda name: os.symlink("/etc/passwd", name)):
            path.unlink()
            make(str(path))
            self.assertEqual(Part(0, b"", 0), self.read())
            if path.is_dir():
                path.rmdir()
                path.touch()

    def test_a_file_that_becomes_another_jobs(self) -> None:
        """An empty file that is given to another job while it is looked at shows nothing of that one."""
        path = self.write(b"")

        def read_late(handle: int, start: int, limit: int) -> Part:
            path.rename(output_path(self.folder, 2, 1, "out"))
            self.write(b"secret", 2)
            return read(handle, start, limit)

        read = outputs._read
        self.patch(outputs, "_read", read_late)
        self.assertEqual(Part(0, b"", 0), self.read())

    def test_remove(self) -> None:
        """The output of jobs that are no longer kept goes, all attempts of it, and nothing else."""
        paths = [self.write(b"x", 1, attempt, stream) for attempt in (1, 2) for stream in ("out", "err")]
        others = [self.write(b"x", 2), paths[0].with_name("notes"), paths[0].with_name("01.1.out")]
        for path in others[1:]:
            path.touch()
        self.outputs.remove([1, 3])
        self.assertEqual([False] * 4, [path.exists() for path in paths])
        self.assertEqual([True] * 3, [path.exists() for path in others])
