"""C{jobctl log}: what jobs have written."""

from __future__ import annotations

import argparse
from base64 import b64encode

from jobd.cli.context import Context
from jobd.cli.parsing import add_selection
from jobd.cli.selecting import ids
from jobd.client.core import Event
from jobd.client.outcome import Outcome
from jobd.client.reading import Output, follow, parts
from jobd.client.streams import Follow


class Printer:
    """
    Prints output as it comes: a job's standard output on ours, its error on ours.

    @param tagged: begin each line with the job's id. Then only whole lines are printed.
    """

    def __init__(self, context: Context, *, tagged: bool) -> None:
        self._context = context
        self._tagged = tagged
        self._rest: dict[tuple[int, str], bytes] = {}

    def show(self, told: Output | Outcome | Event) -> None:
        """Print one thing that was told."""
        if self._context.args.json:
            self._context.print_json(as_json(told))
        elif isinstance(told, Output):
            self.write(told.job, told.stream, told.data)
        elif isinstance(told, Outcome):
            self.flush(told.id)

    def write(self, job: int, stream: str, data: bytes) -> None:
        """Print a piece of output."""
        if not self._tagged:
            self._context.write(data, error=stream == "stderr")
            return
        lines = (self._rest.pop((job, stream), b"") + data).split(b"\n")
        self._rest[job, stream] = lines.pop()
        if lines:
            text = b"".join(b"%d: %s\n" % (job, line) for line in lines)
            self._context.write(text, error=stream == "stderr")

    def flush(self, job: int) -> None:
        """Print what a job has left without a line's end."""
        for stream in ("stdout", "stderr"):
            rest = self._rest.pop((job, stream), b"")
            if rest:
                self._context.write(b"%d: %s\n" % (job, rest), error=stream == "stderr")


def as_json(told: Output | Outcome | Event) -> dict[str, object]:
    """What was told, as a JSON object."""
    if isinstance(told, Outcome):
        return {"id": told.id, "state": told.state, "cursor": told.cursor, **told.data}
    if isinstance(told, Event):
        return {"id": told.job, "state": told.state, **told.data}
    piece: dict[str, object] = {"id": told.job, "stream": told.stream, "from": told.start}
    try:
        return {**piece, "data": told.data.decode()}
    except UnicodeDecodeError:
        return {**piece, "data": b64encode(told.data).decode(), "encoding": "base64"}


def configure(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the jobs have ended")
    parser.add_argument("--stream", choices=("stdout", "stderr", "both"), default="both", help="by default both")
    parser.add_argument("--from", dest="start", type=int, default=0, metavar="BYTE", help="negative: from the end")
    parser.add_argument("--attempt", type=int, metavar="N", help="of an earlier attempt")


def log(context: Context) -> int:
    args = context.args
    jobs = ids(context.session, args)
    printer = Printer(context, tagged=len(jobs) > 1)
    if args.follow:
        stream = Follow(jobs, stream=args.stream, start=args.start)
        for told in follow(context.stream(stream), stream):
            printer.show(told)
        return 0
    for job in jobs:
        for name in ("stdout", "stderr") if args.stream == "both" else (args.stream,):
            start = args.start
            for data in parts(context.do, job, name, start, None, args.attempt):
                printer.show(Output(job, name, start, data))
                start += len(data)
        printer.flush(job)
    return 0


COMMANDS = {"log": (configure, log)}
