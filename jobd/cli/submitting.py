"""C{jobctl submit} and C{jobctl sh}; and how every command submits."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from jobd.cli.context import Context, with_surroundings
from jobd.cli.parsing import add_fields, command_words, fields
from jobd.cli.selecting import last
from jobd.client import specs
from jobd.client.ids import format_ids, parse_ids
from jobd.errors import UsageError


def prepared(context: Context, jobs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """These jobs with the fields given as options and, for a daemon on this machine, our folder and environment."""
    given = fields(context.args, lambda: last(context.session))
    cwd, env = context.surroundings()
    keys = specs.Keys()
    ready = [specs.finish({**given, **job}, {}, keys, None) for job in jobs]
    ready = [with_surroundings(job, cwd, env) for job in ready]
    return ready


def submit_all(context: Context, jobs: Iterable[Mapping[str, Any]]) -> list[int]:
    """Submit jobs, all or none, and return their ids."""
    return parse_ids(context.session.ask(specs.batch(jobs).request()))


def _report(context: Context, ids: list[int], several: bool) -> int:
    if context.args.json:
        context.print_json(ids if several else ids[0])
    elif context.args.id_only:
        for job in ids:
            context.print(str(job))
    else:
        context.print(f"{'jobs' if len(ids) > 1 else 'job'} {format_ids(ids)}")
    return 0


def configure_submit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job", nargs="?", default="-", help="a JSON object, or a list of them; '-': from standard input"
    )
    add_fields(parser)


def submit(context: Context) -> int:
    text = sys.stdin.read() if context.args.job == "-" else context.args.job
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"this is not JSON: {error}") from None
    several = isinstance(value, list)
    jobs = value if several else [value]
    if not jobs or not all(isinstance(job, dict) for job in jobs):
        raise UsageError("a job is a JSON object with the fields of docs/protocol.md; or give a list of them")
    ids = submit_all(context, [{**job, "notify": False} for job in prepared(context, jobs)])
    return _report(context, ids, several)


def configure_sh(parser: argparse.ArgumentParser) -> None:
    add_fields(parser)
    parser.add_argument(
        "line", nargs=argparse.REMAINDER, help="a line for the shell; several words are joined by spaces"
    )


def sh(context: Context) -> int:
    line = " ".join(command_words(context.args.line))
    ids = submit_all(context, [{**job, "notify": False} for job in prepared(context, [{"shell": line}])])
    return _report(context, ids, several=False)


COMMANDS = {"submit": (configure_submit, submit), "sh": (configure_sh, sh)}
