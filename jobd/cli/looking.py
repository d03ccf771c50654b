"""C{jobctl list}, C{show}, C{why} and C{stats}: they change nothing."""

from __future__ import annotations

import argparse

from jobd.cli.context import Context
from jobd.cli.parsing import add_selection
from jobd.cli.selecting import filters, ids, pages, selector
from jobd.cli.tables import jobs_table, properties
from jobd.client import commands
from jobd.errors import UsageError


def configure_list(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("-n", "--limit", type=int, default=100, metavar="N", help="the newest N; by default 100")
    parser.add_argument("--all", action="store_true", help="however many there are")


def list_jobs(context: Context) -> int:
    args = context.args
    if args.limit < 1:
        raise UsageError("--limit is a number from 1 on")
    limit = None if args.all else args.limit
    wanted = {**filters(context.session, args), "newest": True}
    jobs = list(pages(context.session, wanted, limit))[::-1]
    if args.json:
        context.print_json(jobs)
        return 0
    for line in [str(job["id"]) for job in jobs] if args.id_only else jobs_table(jobs):
        context.print(line)
    return 0


def show(context: Context) -> int:
    args = context.args
    text = selector(context.session, args)
    shown = context.do(commands.show_all(text))
    if args.json:
        context.print_json(shown[0] if text.isdigit() else shown)
    elif args.id_only:
        for job in shown:
            context.print(str(job["id"]))
    else:
        context.print("\n\n".join("\n".join(properties(job)) for job in shown))
    return 0


def why(context: Context) -> int:
    for job in ids(context.session, context.args):
        text = context.do(commands.why(job))
        if context.args.json:
            context.print_json({"id": job, "why": text})
        else:
            context.print(text)
    return 0


def stats(context: Context) -> int:
    values = context.do(commands.stats())
    if context.args.json:
        context.print_json(values)
    else:
        context.print("\n".join(properties(values)))
    return 0


def configure_nothing(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


COMMANDS = {
    "list": (configure_list, list_jobs),
    "show": (add_selection, show),
    "why": (add_selection, why),
    "stats": (configure_nothing, stats),
}
