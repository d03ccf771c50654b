"""
What the commands of C{jobctl} have in common on the command line: the options
for every command, those for a job's fields, and those that select jobs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from jobd.client.ids import parse_ids
from jobd.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaint is one line, raised as a L{UsageError}."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


def add_connection(parser: argparse.ArgumentParser, *, below: bool = False) -> None:
    """
    The options that every command has.

    @param below: for the parser of one command: what was said before the command's name stays said.
    """
    default: Any = argparse.SUPPRESS if below else None
    flag: Any = argparse.SUPPRESS if below else False
    group = parser.add_argument_group("for every command")
    group.add_argument("--url", default=default, metavar="URL", help="where the daemon is (JOBD_URL)")
    group.add_argument("--token", default=default, help="the token for TCP (JOBD_TOKEN, JOBD_TOKEN_FILE)")
    group.add_argument("--tls-ca", default=default, metavar="FILE", help="authorities to trust (JOBD_TLS_CA)")
    group.add_argument("--tls-cert", default=default, metavar="FILE", help="our certificate (JOBD_TLS_CERT)")
    group.add_argument("--tls-key", default=default, metavar="FILE", help="its key (JOBD_TLS_KEY)")
    group.add_argument("--json", action="store_true", default=flag, help="print JSON for programs")
    group.add_argument("--id-only", action="store_true", default=flag, help="print nothing but job ids")


def seconds(text: str) -> float:
    """A number of seconds, or one with a unit, as C{90}, C{1.5m}, C{2h}, C{1d}."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        value = float(number) * _UNITS[unit]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 90, 1.5m, 2h or 1d") from None
    return int(value) if value.is_integer() else value


seconds.__name__ = "time"


def _after(text: str) -> list[tuple[str, str]]:
    pairs = []
    for part in text.split(","):
        jobs, _, policy = part.partition(":")
        if not re.fullmatch(r"\d+(-\d+)?|last", jobs) or policy not in ("", "ok", "failed", "any"):
            raise argparse.ArgumentTypeError(
                f"{part!r} is no job; write an ID, a range as 18-20, or 'last', then :failed or :any if so meant"
            )
        pairs += [(job, policy or "ok") for job in (["last"] if jobs == "last" else map(str, parse_ids(jobs)))]
    return pairs


def add_fields(parser: argparse.ArgumentParser) -> None:
    """The options for a job's fields; L{fields} reads them."""
    group = parser.add_argument_group("fields of the job")
    add: Callable[..., Any] = group.add_argument
    add("--queue", "-q", metavar="NAME", help="the queue it stands in")
    add("--priority", "-p", type=int, metavar="N", help="higher starts first; -1000 to 1000")
    add(
        "--after",
        action="append",
        type=_after,
        metavar="IDS[:POLICY],…",
        help="start after these; policy ok, failed, any",
    )
    add("--delay", type=seconds, metavar="TIME", help="not before this long from now")
    add("--timeout", type=seconds, metavar="TIME", help="end it after this long")
    add("--grace", type=seconds, metavar="TIME", help="between TERM and KILL")
    add("--attempts", type=int, metavar="N", help="how often it may be tried")
    add("--backoff", type=seconds, metavar="TIME", help="pause before the second attempt; doubles")
    add("--key", metavar="TEXT", help="submitting it again with this key gives the same job")
    add("--group", "-g", metavar="NAME", help="a name shared by jobs that belong together")
    add("--label", "-l", metavar="TEXT", help="a name for people")
    add("--cpus", type=int, metavar="N", help="how many workers' places it takes; 0: none")
    add(
        "--cwd",
        "-C",
        metavar="DIR",
        help="the folder it runs in; by default this one, if the daemon is on this machine",
    )
    add("--env", "-e", action="append", metavar="NAME[=VALUE]", help="a variable; without a value: as it is here")
    add("--no-env", action="store_true", help="do not send this environment along")
    add("--stdin", metavar="FILE", help="what it reads; '-' is our own standard input")
    add("--stdout", metavar="FILE", help="a file for its output instead of jobd's own")
    add("--stderr", metavar="FILE", help="the same; '&1' is where its output goes")


_PLAIN = [
    "queue",
    "priority",
    "delay",
    "timeout",
    "grace",
    "attempts",
    "backoff",
    "key",
    "group",
    "label",
    "cpus",
    "stdout",
    "stderr",
]


def fields(args: argparse.Namespace, last: Callable[[], int]) -> dict[str, Any]:
    """
    The fields that were given as options.

    @param last: tells the newest job's id.
    """
    found = {name: value for name in _PLAIN if (value := getattr(args, name)) is not None}
    pairs = [pair for part in args.after or () for pair in part]
    if pairs:
        found["after"] = {str(last() if job == "last" else job): policy for job, policy in pairs}
    if args.cwd is not None:
        found["cwd"] = args.cwd
    env = {}
    for text in args.env or ():
        name, equals, value = text.partition("=")
        if not name or (not equals and name not in os.environ):
            raise UsageError(f"--env {text}: there is no such variable here; write NAME=VALUE")
        env[name] = value if equals else os.environ[name]
    if env:
        found["env"] = env
    if args.stdin == "-":
        found["stdin"] = sys.stdin.read()
    elif args.stdin is not None:
        found["stdin"] = {"file": args.stdin}
    return found


def command_words(words: list[str]) -> list[str]:
    """The words after the options, without the C{--} that may part them."""
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise UsageError("a command is missing, as in: jobctl run gzip -k a.log")
    return words


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The words and options that select jobs; L{jobd.cli.selecting} reads them."""
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="ids and ranges, as 17 18-20 22,30; or 'last'")
    parser.add_argument("--state", action="append", metavar="STATE", help="only jobs in this state; may be repeated")
    for name in ("queue", "group", "label", "key"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"only jobs with this {name}")
