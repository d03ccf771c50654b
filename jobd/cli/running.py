"""C{jobctl run}: a command through jobd that feels as if it ran here."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from jobd.cli import exits
from jobd.cli.context import Context
from jobd.cli.logs import Printer
from jobd.cli.parsing import add_fields, command_words
from jobd.cli.submitting import prepared, submit_all
from jobd.client import commands
from jobd.client.outcome import Outcome
from jobd.client.reading import follow
from jobd.client.streams import Follow
from jobd.errors import ConnectionProblem, Finished


def configure(parser: argparse.ArgumentParser) -> None:
    add_fields(parser)
    parser.add_argument("--no-private", action="store_true", help="do not start a daemon where none is running")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND …", help="a program and its arguments")


def run(context: Context) -> int:
    words = command_words(context.args.words)
    context.or_private()
    (job,) = submit_all(context, [{**spec, "notify": False} for spec in prepared(context, [{"argv": words}])])
    with _interruptible(context, job) as interrupted:
        try:
            outcome = _outcome(context, job)
        except BrokenPipeError:
            # Nobody reads it any more, so nobody would ever end a program like yes.
            _cancel(context, job)
            raise
    return exits.INTERRUPTED if interrupted else _ended(context, outcome)


def _outcome(context: Context, job: int) -> Outcome:
    """Print what the job writes until it has ended."""
    printer = Printer(context, tagged=False)
    stream = Follow([job])
    for told in follow(context.stream(stream), stream):
        printer.show(told)
        if isinstance(told, Outcome):
            return told
    raise ConnectionProblem(f"the daemon has not told how job {job} ended")


def _ended(context: Context, outcome: Outcome) -> int:
    if not context.args.json and outcome.state not in ("succeeded", "cancelled") and _unexplained(outcome):
        context.write(f"jobctl: {outcome.describe()}\n".encode(), error=True)
    return exits.exit_code(outcome)


def _unexplained(outcome: Outcome) -> bool:
    """A program that ran and failed has said why; all else has not."""
    return outcome.state != "failed" or bool(outcome.error)


def _cancel(context: Context, job: int) -> None:
    with contextlib.suppress(Finished):
        context.do(commands.cancel(job))


@contextlib.contextmanager
def _interruptible(context: Context, job: int) -> Iterator[list[int]]:
    """Ctrl-C cancels the job, and we wait until it is gone; a second one ends us at once."""
    interrupted: list[int] = []

    def cancel(number: int, frame: FrameType | None) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)
        _cancel(context, job)

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


COMMANDS = {"run": (configure, run)}
