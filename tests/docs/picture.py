"""
Reads a state picture drawn with characters: from each word its lines are
followed, over corners and forks, to the words their arrows point at.

    waiting --> queued       lines are - and |, + is a corner or a fork,
       |                     > < v ^ are arrows; behind > several words may
       v                     stand with | between them
    skipped
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

_STEPS = {(0, 1): ("-", ">"), (0, -1): ("-", "<"), (1, 0): ("|", "v"), (-1, 0): ("|", "^")}


class Picture:
    """The picture in C{text}; C{words} are the nodes that may stand in it, everything else is a remark."""

    def __init__(self, text: str, words: Collection[str]) -> None:
        self._rows = text.splitlines()
        self._words = {(row, column): word for row, column, word in self._find(words)}

    def edges(self) -> set[tuple[str, str]]:
        """Pairs of words with an arrow from the one to the other."""
        return {(word, target) for start, word in self._words.items() for target in self._from(*start, len(word))}

    def _find(self, words: Collection[str]) -> Iterator[tuple[int, int, str]]:
        for row, line in enumerate(self._rows):
            column = 0
            for part in line.replace(",", " ").split(" "):
                if part in words:
                    yield row, column, part
                column += len(part) + 1

    def _at(self, row: int, column: int) -> str:
        inside = 0 <= row < len(self._rows) and 0 <= column < len(self._rows[row])
        return self._rows[row][column] if inside else " "

    def _from(self, row: int, column: int, length: int) -> Iterator[str]:
        """The words that the lines leaving a word lead to."""
        end = column + length
        for step in (-1, 1):
            for under in range(column - 1, end + 1):
                if self._at(row + step, under) == "|":
                    yield from self._follow(row + step, under, (step, 0))
        if self._at(row, end + 1) == "-":
            yield from self._follow(row, end + 1, (0, 1))
        if self._at(row, column - 2) == "-":
            yield from self._follow(row, column - 2, (0, -1))

    def _follow(self, row: int, column: int, step: tuple[int, int]) -> Iterator[str]:
        while True:
            line, arrow = _STEPS[step]
            here = self._at(row, column)
            if here == arrow:
                yield from self._target(row + step[0], column + step[1], step)
                return
            if here == "+":
                for turn, (onward, tip) in _STEPS.items():
                    back = (-turn[0], -turn[1]) == step
                    if not back and self._at(row + turn[0], column + turn[1]) in (onward, tip, "+"):
                        yield from self._follow(row + turn[0], column + turn[1], turn)
                return
            if here != line:
                return
            row, column = row + step[0], column + step[1]

    def _target(self, row: int, column: int, step: tuple[int, int]) -> Iterator[str]:
        if step == (0, 1):
            yield from self._alternatives(row, column)
            return
        for (line, at), word in self._words.items():
            if line == row and at - 2 <= column <= at + len(word) + 1:
                yield word

    def _alternatives(self, row: int, column: int) -> Iterator[str]:
        """The words right of a place: the first one, and those that follow with a bar between."""
        end = None
        for (line, at), word in sorted(self._words.items()):
            if line == row and at > column and (end is None or self._rows[row][end:at] == " | "):
                yield word
                end = at + len(word)
