"""
A client of the kill loop that watches every finish, and after each daemon's end goes on with the next one from
the last cursor it has written down.

    python -m tests.torture.watcher SOCKET RECORD
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.torture.connection import Connection, Orders
from tests.torture.records import Book, Told, now


class Watcher:
    """
    @ivar cursor: the last that is on disk.
    """

    def __init__(self, path: str, book: Book) -> None:
        self._orders = Orders()
        self._connection = Connection(path, self._orders)
        self._book = book
        self.cursor = 0

    def run(self) -> None:
        """Until the cursor that the loop has named."""
        while not self._over():
            self._connection.open()
            self._connection.send(f'watch {{"since": {self.cursor}}}')
            while not self._over():
                lines = self._connection.lines()
                if lines is None:
                    break
                for line in lines:
                    self._received(line)
                self._book.keep()
        self._connection.close()

    def _over(self) -> bool:
        return self._orders.until is not None and self.cursor >= self._orders.until

    def _received(self, line: str) -> None:
        if line.startswith("* "):
            _, cursor, job_id, state, json = line.split(" ", 4)
            self.cursor = int(cursor)
            self._book.note(Told(self._connection.number, self.cursor, int(job_id), state, now(), json))
        elif not line.startswith("ok "):
            sys.exit(f"watch was refused: {line}")


def main(path: str, record: str) -> None:
    """The program."""
    Watcher(path, Book(Path(record))).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
