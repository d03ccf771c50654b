"""One daemon for one state folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from jobd.errors import UsageError
from jobd.lock import FolderLock

HOLD = (
    "import sys; from pathlib import Path; from jobd.lock import FolderLock; "
    "FolderLock(Path(sys.argv[1])).take(); print('held', flush=True); sys.stdin.read()"
)


class FolderLockTests(SynchronousTestCase):
    """A lock that ends with its holder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_one_at_a_time(self) -> None:
        """A second one is refused, with a line that says what to do, until the first lets go."""
        first, second = FolderLock(self.folder), FolderLock(self.folder)
        first.take()
        problem = self.assertRaises(UsageError, second.take)
        self.assertIn(f"another jobd uses the state folder {self.folder}", str(problem))
        first.release()
        second.take()
        second.release()

    def test_releasing_twice(self) -> None:
        """Letting go of what is not held does nothing."""
        lock = FolderLock(self.folder)
        lock.release()
        lock.take()
        lock.release()
        lock.release()

    def test_no_folder(self) -> None:
        """A folder that is not there is one clear line."""
        problem = self.assertRaises(UsageError, FolderLock(self.folder / "none").take)
        self.assertIn("No such file or directory", str(problem))

    def test_a_holder_that_is_killed(self) -> None:
        """A holder that is killed holds it no more; the file it leaves does not matter."""
        root = Path(__file__).parent.parent.parent
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(self.folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=root,
        ) as holder:
            assert holder.stdout is not None
            self.assertEqual(b"held\n", holder.stdout.readline())
            lock = FolderLock(self.folder)
            self.assertRaises(UsageError, lock.take)
            holder.kill()
        lock.take()
        lock.release()
