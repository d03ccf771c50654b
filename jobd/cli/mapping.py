"""C{jobctl map}: one command, many inputs, as GNU Parallel does it."""

from __future__ import annotations

import argparse
import contextlib
import os.path
import shlex
import signal
import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import FrameType
from typing import Any

from jobd.cli.context import Context
from jobd.cli.logs import Printer, as_json
from jobd.cli.parsing import add_fields, command_words
from jobd.cli.submitting import prepared
from jobd.cli.tables import Bar
from jobd.client import commands, specs
from jobd.client.core import Event, Forgotten
from jobd.client.ids import parse_ids
from jobd.client.outcome import FINAL, Outcome
from jobd.client.reading import Output, parts
from jobd.errors import JobdError, UsageError

MOST_FAILED = 101
"""The exit code is the number of jobs that failed, up to this, as with GNU Parallel."""

DESCRIPTION = """\
Runs COMMAND once for each input: what follows ':::', or each line of standard
input. In COMMAND {} is the input, {.} without its ending, {/} without its
folder, {//} the folder, {/.} without both, {#} the number of the input; a
COMMAND with none of these gets the input as its last argument. Each job's
output is printed in one piece when it has ended. The exit code is the number
of jobs that did not succeed, at most 101.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="no more than N at a time")
    parser.add_argument("-k", "--keep-order", action="store_true", help="print in the order of the inputs")
    parser.add_argument("--shell", action="store_true", help="COMMAND is a line for the shell; inputs are quoted in it")
    add_fields(parser)
    parser.add_argument("--no-private", action="store_true", help="do not start a daemon where none is running")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND …", help="with its arguments")


def replaced(word: str, text: str, number: int) -> str:
    """One word of the command for one input."""
    folder, base = os.path.split(text)
    stem = os.path.splitext(base)[0]
    values = {
        "{}": text,
        "{.}": os.path.join(folder, stem),
        "{/}": base,
        "{//}": folder or ".",
        "{/.}": stem,
        "{#}": str(number),
    }
    out, rest = "", word
    while "{" in rest:
        before, _, rest = rest.partition("{")
        mark = next((mark for mark in values if ("{" + rest).startswith(mark)), None)
        out += before + (values[mark] if mark else "{")
        rest = rest[len(mark) - 1 :] if mark else rest
    return out + rest


def _inputs(words: list[str]) -> tuple[list[str], list[str]]:
    """The command and its inputs."""
    if ":::" in words:
        place = words.index(":::")
        return command_words(words[:place]), words[place + 1 :]
    return command_words(words), sys.stdin.read().splitlines()


def _specs(words: list[str], inputs: list[str], *, shell: bool) -> Iterator[dict[str, Any]]:
    marks = ("{}", "{.}", "{/}", "{//}", "{/.}", "{#}")
    if not any(mark in word for word in words for mark in marks):
        words = [*words, "{}"]
    for number, text in enumerate(inputs, 1):
        if shell:
            # Only inputs are quoted: the command itself is written in the shell's language.
            yield {"shell": " ".join(_quoted(word, text, number) for word in words)}
        else:
            yield {"argv": [replaced(word, text, number) for word in words]}


def _quoted(word: str, text: str, number: int) -> str:
    parts_ = []
    rest = word
    while rest:
        before, brace, rest = rest.partition("{")
        parts_.append(before)
        if brace:
            end = rest.find("}")
            mark = "{" + rest[: end + 1]
            value = replaced(mark, text, number)
            known = value != mark
            parts_.append(shlex.quote(value) if known else "{")
            rest = rest[end + 1 :] if known else rest
    return "".join(parts_)


class Mapping:
    """
    The jobs of one C{map} and what has come of them.

    @ivar failed: how many did not succeed.
    """

    def __init__(self, context: Context, jobs: Iterator[dict[str, Any]], inputs: list[str]) -> None:
        self.failed = 0
        self._context = context
        self._jobs = jobs
        self._inputs = inputs
        self._window = context.args.jobs or len(inputs)
        self._numbers: dict[int, int] = {}
        self._order: deque[int] = deque()
        self._held: dict[int, Outcome] = {}
        self._submitted = 0
        self._told: set[int] = set()
        self._bar = Bar(len(inputs))
        self._printer = Printer(context, tagged=False)

    def run(self) -> None:
        """Submit all, and print what they wrote as they end."""
        self._submit(self._window)
        self._bar.show(0, 0)
        items = self._context.session.items()
        while len(self._told) < len(self._inputs):
            item = next(items)
            if isinstance(item, Forgotten):
                raise item.error
            if isinstance(item, Event) and item.state in FINAL and item.job in self._numbers:
                self._finish(Outcome(item.job, item.cursor, item.state, item.data))
        self._bar.clear()

    def cancel(self) -> None:
        """End what has not ended: nobody wants it any more."""
        left = [job for job in self._numbers if job not in self._told]
        if left:
            # Not on the old connection: a line may have been cut short there.
            with self._context.fresh() as session, contextlib.suppress(JobdError):
                session.ask(commands.cancel(left).request())

    def _submit(self, many: int) -> None:
        for part in specs.batches(islice(self._jobs, many)):
            with _interrupted_later():
                for job in parse_ids(self._context.session.ask(part.request())):
                    self._numbers[job] = self._submitted
                    self._order.append(job)
                    self._submitted += 1

    def _finish(self, outcome: Outcome) -> None:
        self._told.add(outcome.id)
        self.failed += not outcome.ok
        if self._submitted < len(self._inputs):
            self._submit(1)
        if self._context.args.keep_order:
            self._held[outcome.id] = outcome
            while self._order and self._order[0] in self._held:
                self._print(self._held.pop(self._order.popleft()))
        else:
            self._print(outcome)
        self._bar.show(len(self._told), self.failed)

    def _print(self, outcome: Outcome) -> None:
        number = self._numbers[outcome.id]
        pieces = {
            name: b"".join(parts(self._context.do, outcome.id, name))
            for name in ("stdout", "stderr")
            if getattr(self._context.args, name) is None
        }
        if self._context.args.json:
            texts = {name: data.decode("utf-8", "replace") for name, data in pieces.items()}
            self._context.print_json({**as_json(outcome), "input": self._inputs[number], **texts})
            return
        self._bar.clear()
        for name, data in pieces.items():
            self._printer.show(Output(outcome.id, name, 0, data))
        if outcome.error or outcome.state not in ("succeeded", "failed"):
            text = f"jobctl: {outcome.describe()} (input {self._inputs[number]!r})\n"
            self._context.write(text.encode("utf-8", "replace"), error=True)


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """
    Ctrl-C takes effect at the end of the block: of jobs that were submitted and whose ids are not known yet none could
    be cancelled. A second one takes effect at once.
    """
    interrupted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt


def map_(context: Context) -> int:
    args = context.args
    if args.jobs is not None and args.jobs < 1:
        raise UsageError("-j is a number from 1 on")
    words, inputs = _inputs(args.words)
    if not inputs:
        return 0
    context.or_private(args.jobs)
    jobs = prepared(context, _specs(words, inputs, shell=args.shell))
    mapping = Mapping(context, iter(jobs), inputs)
    try:
        mapping.run()
    except KeyboardInterrupt:
        mapping.cancel()
        raise
    return min(mapping.failed, MOST_FAILED)


COMMANDS = {"map": (configure, map_)}
