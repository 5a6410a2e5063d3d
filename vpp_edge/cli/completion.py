"""`vpp-edge completion SHELL`: prints a completion script, which shtab generates from the parsers of all commands."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vpp_edge.cli.completion_scripts import BASH_WORDS
from vpp_edge.cli.numbers import Number
from vpp_edge.number_range import NumberRange

HELP = """Print the completion script of a shell.

bash:  eval "$(vpp-edge completion bash)"                        (in ~/.bashrc)
zsh:   eval "$(vpp-edge completion zsh)"                         (in ~/.zshrc, after compinit)
fish:  vpp-edge completion fish > ~/.config/fish/completions/vpp-edge.fish"""

SHELLS = ("bash", "fish", "zsh")
# Arguments that take a path or a name, such as `demo` for a bundle, are of type str; these metavars mark them as paths.
PATH_METAVARS = ("BUNDLE", "DIR", "FILE.mcap", "POLICY")
MOST_NUMBERS = 32  # of a range that are offered one by one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that will read the script")


def run(arguments: argparse.Namespace) -> int:
    from vpp_edge.cli.main import COMMANDS, build_parser, is_in_this_build

    parser = build_parser([name for name in COMMANDS if is_in_this_build(name)])
    script = script_from_parser(parser, arguments.shell)
    print(json.dumps({"shell": arguments.shell, "script": script}) if arguments.json else script)
    return 0


def script_from_parser(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script that makes `shell` complete commands, options, choices and paths. Modifies `parser`."""
    import shtab

    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for action in (action for command in subparsers.choices.values() for action in command._actions):
        if isinstance(action.type, Number):
            action.choices = _listed(action.type.within)
        if hasattr(action, "offered"):
            action.choices = action.offered
        if not hasattr(action, "complete") and (action.type is Path or action.metavar in PATH_METAVARS):
            action.complete = shtab.FILE
        if action.metavar and ":" in action.metavar:
            action.metavar = action.dest  # shtab does not escape this colon, and zsh would run what follows it
    script: str = shtab.complete(parser, shell)
    return script + BASH_WORDS if shell == "bash" else script


def _listed(within: NumberRange) -> range | None:
    """The numbers of a small range of whole numbers."""
    low, high = within.low, within.high
    return range(int(low), int(high) + 1) if within.whole and high - low < MOST_NUMBERS else None
