"""
The process of a private daemon: C{twistd jobd} that ends with its owner.

The owner holds the other end of its standard input and never writes to it.
When that ends, the owner has gone, however it ended: the daemon stops as at a
C{TERM}, so that running jobs end, and removes its folder, which nobody else
will.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path


def main() -> None:
    """Run it; the first argument is its folder, the others are those of C{twistd}."""
    folder, *words = sys.argv[1:]
    sys.argv = ["twistd", *words]
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    ended = threading.Event()

    def wait_for_the_end() -> None:
        while os.read(0, 1):
            pass
        ended.set()
        reactor.callFromThread(reactor.stop)  # type: ignore[attr-defined]

    threading.Thread(target=wait_for_the_end, name="the owner's end", daemon=True).start()
    run()
    if ended.is_set():
        shutil.rmtree(Path(folder), ignore_errors=True)


if __name__ == "__main__":
    main()
