"""C{jobctl cancel}, C{retry}, C{queue}, C{pause}, C{resume}, C{progress} and C{drain}."""

from __future__ import annotations

import argparse
import os
from typing import Any

from jobd.cli.context import Context
from jobd.cli.parsing import add_selection
from jobd.cli.selecting import selector
from jobd.cli.tables import properties
from jobd.client import commands
from jobd.client.ids import format_ids
from jobd.errors import UsageError


def _report(context: Context, value: Any, text: str) -> int:
    if context.args.json:
        context.print_json(value)
    elif text and not context.args.id_only:
        context.print(text)
    return 0


def cancel(context: Context) -> int:
    count = context.do(commands.cancel(selector(context.session, context.args)))
    return _report(context, count, f"{count} {'job' if count == 1 else 'jobs'} cancelled")


def retry(context: Context) -> int:
    ids = context.do(commands.retry(selector(context.session, context.args)))
    if context.args.id_only and not context.args.json:
        for job in ids:
            context.print(str(job))
    return _report(context, ids, f"{'jobs' if len(ids) > 1 else 'job'} {format_ids(ids)}")


def configure_queue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="the queue")
    parser.add_argument("--limit", metavar="N", help="at most so many of its jobs at a time; 'none': no limit")


def queue(context: Context) -> int:
    settings: dict[str, Any] = {}
    limit = context.args.limit
    if limit is not None:
        if limit != "none" and not limit.isdigit():
            raise UsageError(f"--limit {limit}: write a number, or 'none'")
        settings["limit"] = None if limit == "none" else int(limit)
    values = context.do(commands.queue(context.args.name, settings))
    return _report(context, values, "\n".join(properties(values)))


def configure_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="QUEUE", help="by default all of them")


def pause(context: Context) -> int:
    context.do(commands.pause(context.args.name))
    return _report(context, None, "")


def resume(context: Context) -> int:
    context.do(commands.resume(context.args.name))
    return _report(context, None, "")


def configure_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("done", type=float, help="how much is done")
    parser.add_argument("total", type=float, nargs="?", help="of how much")
    parser.add_argument("text", nargs="?", help="what is going on")
    parser.add_argument("--job", type=int, metavar="ID", help="by default the job we run in (JOBD_JOB_ID)")


def progress(context: Context) -> int:
    args = context.args
    job = args.job if args.job is not None else os.environ.get("JOBD_JOB_ID", "")
    if not str(job).isdigit():
        raise UsageError("we do not run in a job (JOBD_JOB_ID is not set); name one with --job")
    context.do(commands.progress(int(job), _number(args.done), _number(args.total), args.text))
    return _report(context, None, "")


def _number(value: float | None) -> float | None:
    return int(value) if value is not None and value.is_integer() else value


def configure_drain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-running", action="store_true", help="stop at once; what runs runs on, and the next daemon takes it over"
    )


def drain(context: Context) -> int:
    count = context.do(commands.drain(context.args.keep_running))
    return _report(context, count, f"{count} {'job is' if count == 1 else 'jobs are'} still running")


COMMANDS = {
    "cancel": (add_selection, cancel),
    "retry": (add_selection, retry),
    "queue": (configure_queue, queue),
    "pause": (configure_name, pause),
    "resume": (configure_name, resume),
    "progress": (configure_progress, progress),
    "drain": (configure_drain, drain),
}
