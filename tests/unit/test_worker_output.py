"""Claims of the output files: whose an empty one is, and when it may become another's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

import jobd
from jobd.worker.command import finish_of
from jobd.worker.output import output_path, still_names
from jobd.worker.spool import Spool


class SpoolClaims(TestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()

    def path(self, job: int) -> Path:
        return Path(output_path(self.folder, job, 1, "out"))

    def test_reused(self) -> None:
        """An empty file becomes that of the next job; whoever still reads it by its old name can tell."""
        spool = Spool(self.folder)
        first = spool.make(1, 1, "out")
        reader = os.open(self.path(1), os.O_RDONLY)
        self.addCleanup(os.close, reader)
        self.assertTrue(still_names(str(self.path(1)), os.fstat(reader)))
        spool.ended(first, reuse=True)
        second = spool.make(2001, 1, "out")
        os.write(second.descriptor, b"secret")
        self.assertFalse(still_names(str(self.path(1)), os.fstat(reader)))
        self.assertEqual((False, b"secret"), (self.path(1).exists(), self.path(2001).read_bytes()))
        spool.ended(second, reuse=True)
        spool.close()
        self.assertTrue(self.path(2001).exists())

    def test_not_reused(self) -> None:
        """A file to which something may still be written is not given to another job."""
        spool = Spool(self.folder)
        spool.ended(spool.make(1, 1, "out"), reuse=False)
        self.assertFalse(self.path(1).exists())
        second = spool.make(2, 1, "out")
        self.assertTrue(self.path(2).exists())
        spool.ended(second, reuse=True)
        spool.close()
        self.assertFalse(self.path(2).exists())

    def test_tidied_up(self) -> None:
        """An empty file that somebody has removed is made anew."""
        spool = Spool(self.folder)
        spool.ended(spool.make(1, 1, "out"), reuse=True)
        self.path(1).unlink()
        second = spool.make(2, 1, "out")
        self.assertTrue(self.path(2).exists())
        spool.ended(second, reuse=False)

    def test_many(self) -> None:
        """Beyond a number of open files, those of running commands are closed, and the empty ones removed by name."""
        spool = Spool(self.folder, keep=1)
        files = [spool.make(job, 1, "out") for job in (1, 2)]
        for file in files:
            spool.started(file)
        self.assertEqual([True, False], [file.descriptor == -1 for file in files])
        for file in files:
            spool.ended(file, reuse=True)
        spool.close()
        self.assertFalse(self.path(1).exists() or self.path(2).exists())


class Words(TestCase):
    def test_signals(self) -> None:
        """A signal is named, one without a name by its number."""
        self.assertEqual((137, "SIGKILL"), tuple(finish_of(-9)))
        self.assertEqual((168, "SIGRTMIN+6"), tuple(finish_of(-40)))

    def test_progress_outside(self) -> None:
        """Outside of any job progress does nothing."""
        self.patch(os, "environ", {name: value for name, value in os.environ.items() if name != "JOBD_JOB_ID"})
        self.assertIsNone(jobd.progress(1, 2))  # type: ignore[func-returns-value]


class PrintedClaims(TestCase):
    """What calls print; tried in a process of its own, for it takes that one's output."""

    def print(self, code: str) -> str:
        """The folder of the output of this code, which knows it as C{folder}; what is logged goes into a file there."""
        folder: str = os.path.abspath(self.mktemp())
        begin = "import shutil, sys\nfrom jobd.worker.scratch import Printed\nfolder, logged = sys.argv[1], []\n"
        end = "open(folder + '/log', 'w').write(''.join(logged))\n"
        program = f"{begin}printed = Printed(folder, logged.append)\n{code}\n{end}"
        subprocess.run([sys.executable, "-c", program, folder], check=True)
        return folder

    def read(self, folder: str, job: int) -> str:
        return Path(output_path(folder, job, 1, "out")).read_text()

    def test_published_too_late(self) -> None:
        """
        A call that ends just when its output is to get its name has what it has printed, and so has the next one:
        the watchdog comes when the output has been collected, before it can see that the call has ended.
        """
        folder = self.print(
            "print('first')\nprinted.collect(b'1', b'1')\nprinted.publish(b'1', b'1', lambda: True)\n"
            "print('second')\nprinted.collect(b'2', b'1')"
        )
        self.assertEqual(["first\n", "second\n"], [self.read(folder, job) for job in (1, 2)])

    def test_published_and_removed(self) -> None:
        """Output whose file is gone at the end is told to be lost, and the next call's is kept."""
        folder = self.print(
            "print('first')\nprinted.publish(b'1', b'1', lambda: True)\n"
            "shutil.rmtree(folder)\nprinted.collect(b'1', b'1')\n"
            "print('second')\nprinted.collect(b'2', b'1')"
        )
        self.assertIn("output of job 1 may be lost", Path(folder, "log").read_text())
        self.assertEqual("second\n", self.read(folder, 2))
