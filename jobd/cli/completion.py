"""C{jobctl completion}: scripts made from the parsers themselves, so that they cannot fall behind."""

from __future__ import annotations

import argparse

from jobd.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="as in: source <(jobctl completion bash)")


def options() -> dict[str, list[tuple[str, str]]]:
    """The long options of each command and what they are for."""
    from jobd.cli.main import COMMANDS as ALL
    from jobd.cli.main import parser_for

    return {
        name: [
            (option, action.help or "")
            for action in parser_for(name)._actions
            for option in action.option_strings
            if option.startswith("--")
        ]
        for name in ALL
    }


def _bash() -> str:
    cases = "\n".join(
        f'    {name}) words="{" ".join(option for option, _ in found)}" ;;' for name, found in options().items()
    )
    names = " ".join(options())
    return f"""\
_jobctl() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} command= words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${{COMP_WORDS[i]}} in
    --url | --token | --tls-ca | --tls-cert | --tls-key) ((i++)) ;;
    -*) ;;
    *) command=${{COMP_WORDS[i]}} && break ;;
    esac
  done
  case $command in
    '') words="{names}" ;;
{cases}
  esac
  if [[ $word == -* || -z $command ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  fi
}}
complete -o default -F _jobctl jobctl
"""


def _zsh() -> str:
    return "#compdef jobctl\nautoload -Uz bashcompinit && bashcompinit\n" + _bash()


def _fish() -> str:
    from jobd.cli.main import COMMANDS as ALL

    lines = ["complete -c jobctl -f -n __fish_use_subcommand"]
    for name, found in options().items():
        lines.append(f"complete -c jobctl -f -n __fish_use_subcommand -a {name} -d {_quote(ALL[name][0])}")
        for option, text in found:
            seen = f"'__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c jobctl -n {seen} -l {option[2:]} -d {_quote(text)}")
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def completion(context: Context) -> int:
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[context.args.shell]()
    context.write(script.encode())
    return 0


COMMANDS = {"completion": (configure, completion)}
