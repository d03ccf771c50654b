"""
C{jobctl}: jobd from the command line.

It has to start fast, so only what the one command needs is imported, and no
Twisted, msgspec or attrs anywhere below.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from jobd.cli import exits
from jobd.cli.context import Context
from jobd.cli.parsing import Parser, add_connection
from jobd.errors import JobdError

Command = tuple[Callable[[argparse.ArgumentParser], None], Callable[[Context], int]]

COMMANDS = {
    "run": ("run a command: submit it, show its output, end with its exit code", "running"),
    "submit": ("submit jobs given as JSON, in an argument or on standard input", "submitting"),
    "sh": ("submit a line for the shell", "submitting"),
    "map": ("run a command for each of many inputs", "mapping"),
    "wait": ("wait until jobs have ended", "waiting"),
    "list": ("list jobs", "looking"),
    "show": ("show all there is to know about jobs", "looking"),
    "log": ("print what jobs have written; -f: as they write it", "logs"),
    "cancel": ("end jobs", "steering"),
    "retry": ("submit ended jobs again", "steering"),
    "why": ("say in one line what a job waits for, or how it ended", "looking"),
    "stats": ("show what the daemon is doing", "looking"),
    "queue": ("look at a queue, or set its limit", "steering"),
    "pause": ("start no more jobs of a queue, or of any", "steering"),
    "resume": ("undo pause", "steering"),
    "progress": ("inside a job: report how far it is", "steering"),
    "drain": ("let running jobs end, then stop the daemon", "steering"),
    "completion": ("print a completion script for bash, zsh or fish", "completion"),
}
"""Each command, what it does, and the module it is in."""

EPILOG = """\
exit codes: that of the job, 128+N for a signal; 124 timed out; 125 trouble
with jobd or a job lost or skipped; 130 interrupted; 143 job cancelled.
'jobctl COMMAND --help' tells more of a command.
"""


def load(name: str) -> Command:
    """A command: what adds its options to a parser, and what runs it and returns the exit code."""
    commands: dict[str, Command] = import_module(f"jobd.cli.{COMMANDS[name][1]}").COMMANDS
    return commands[name]


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    @param argv: the words after C{jobctl}; by default this process's own.
    @return: the exit code, see L{jobd.cli.exits}.
    """
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except (JobdError, OSError) as error:
        text = " ".join(str(error).split())
        print(f"jobctl: {text}", file=sys.stderr)
        return exits.TROUBLE


def _run(argv: Sequence[str]) -> int:
    top = _top()
    args, rest = top.parse_known_args(argv[: _verb_at(argv) + 1])
    if rest:
        top.error(f"unknown option {rest[0]}")
    if args.version:
        import jobd

        print(f"jobctl {jobd.__version__}")
        return 0
    if args.include_dir or args.cmake_dir:
        from jobd import paths

        print(paths.cpp_dir("include" if args.include_dir else "cmake"))
        return 0
    name = args.command
    if name is None:
        print(f"{top.format_help()}", end="", file=sys.stderr)
        return exits.TROUBLE
    if name not in COMMANDS:
        top.error(f"there is no command {name!r}{_did_you_mean(name)}")
    run = load(name)[1]
    with Context(parser_for(name).parse_args(argv[_verb_at(argv) + 1 :], args)) as context:
        return run(context)


def parser_for(name: str) -> Parser:
    """The parser of one command."""
    parser = Parser(prog=f"jobctl {name}", description=COMMANDS[name][0] + ".", allow_abbrev=False)
    load(name)[0](parser)
    add_connection(parser, below=True)
    return parser


_WITH_VALUE = frozenset({"--url", "--token", "--tls-ca", "--tls-cert", "--tls-key"})


def _verb_at(argv: Sequence[str]) -> int:
    """Where the command's name stands: the first word that is no option nor the value of one."""
    skip = False
    for place, word in enumerate(argv):
        if skip:
            skip = False
        elif word in _WITH_VALUE:
            skip = True
        elif not word.startswith("-"):
            return place
    return len(argv)


def _top() -> Parser:
    parser = Parser(
        prog="jobctl",
        usage="jobctl [OPTION …] COMMAND …",
        description="Hand jobs to jobd, and see what becomes of them.",
        epilog="commands:\n" + "".join(f"  {name:<12}{text}\n" for name, (text, _) in COMMANDS.items()) + "\n" + EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument("--include-dir", action="store_true", help="print where the C++ headers are")
    parser.add_argument("--cmake-dir", action="store_true", help="print where CMake finds the C++ package")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    add_connection(parser)
    return parser


def _did_you_mean(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, 1)
    return f"; did you mean {close[0]!r}?" if close else ""
