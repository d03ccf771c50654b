"""Making the names of new files last: on POSIX systems a file is safe only once its folder is, too."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path


def sync_folders(folder: Path) -> None:
    """
    The names in a folder, and its own and those of the folders above, which may have been made just
    now, are on the disk, as far as they may be opened and the file system knows how to do that.

    @raise OSError: the disk fails.
    """
    if sys.platform == "win32":
        return
    for one in (folder, *folder.resolve().parents):
        try:
            handle = os.open(one, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as problem:
            if problem.errno == errno.EIO:
                raise
