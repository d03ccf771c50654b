"""C{jobctl wait}."""

from __future__ import annotations

import argparse
import time

from jobd.cli import exits
from jobd.cli.context import Context
from jobd.cli.logs import as_json
from jobd.cli.parsing import add_selection, seconds
from jobd.cli.selecting import ids
from jobd.cli.tables import coloured, duration, paint
from jobd.client.core import Event, Forgotten, Request
from jobd.client.ids import chunks, format_ids
from jobd.client.outcome import FINAL, Outcome


def configure(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="wait no longer than this; then exit with 124")


def wait(context: Context) -> int:
    """Wait for all; the exit code is that of the first that did not succeed."""
    args = context.args
    session = context.session
    jobs = ids(session, args)
    for part in chunks(jobs):
        session.ask(Request("wait", format_ids(part), waits=part))
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    code = 0
    left = set(jobs)
    while left:
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        item = next(session.items(remaining), None)
        if item is None:
            context.write(f"jobctl: {len(left)} of {len(jobs)} jobs have not ended\n".encode(), error=True)
            return exits.TIMED_OUT
        if isinstance(item, Forgotten):
            raise item.error
        if isinstance(item, Event) and item.state in FINAL:
            left.discard(item.job)
            outcome = Outcome(item.job, item.cursor, item.state, item.data)
            _print(context, outcome)
            code = code or exits.exit_code(outcome)
    return code


def _print(context: Context, outcome: Outcome) -> None:
    if context.args.json:
        context.print_json(as_json(outcome))
    elif context.args.id_only:
        context.print(str(outcome.id))
    else:
        took = "" if outcome.wall is None else f" in {duration(outcome.wall)}"
        context.print(paint(outcome.state, outcome.describe(), colour=coloured()) + took)


COMMANDS = {"wait": (configure, wait)}
