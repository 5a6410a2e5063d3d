"""`vpp-edge completion SHELL`: in, the parsers of all commands; out, the completion script of bash, zsh or fish."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

HELP = """Print the completion script of a shell.

bash:  source <(vpp-edge completion bash)                        (in ~/.bashrc)
zsh:   source <(vpp-edge completion zsh)                         (in ~/.zshrc, after compinit)
fish:  vpp-edge completion fish > ~/.config/fish/completions/vpp-edge.fish"""


@dataclass(frozen=True)
class Option:
    """One option of a command: its spellings, whether a value follows, which values there are, and its help."""

    names: tuple[str, ...]
    takes_value: bool
    choices: tuple[str, ...]
    help: str


@dataclass(frozen=True)
class Command:
    """One command: its help line, options, and the values of its positional arguments where they are known."""

    name: str
    help: str
    options: tuple[Option, ...]
    choices: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell that will read the script")


def run(arguments: argparse.Namespace) -> int:
    script = SCRIPTS[arguments.shell](list_commands())
    print(json.dumps({"shell": arguments.shell, "script": script}) if arguments.json else script)
    return 0


def list_commands() -> list[Command]:
    """The commands of this build with their options, from their parsers."""
    from vpp_edge.cli.main import COMMANDS, build_parser, is_in_this_build

    present = [name for name in COMMANDS if is_in_this_build(name)]
    parser = build_parser(present)
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return [_command(name, COMMANDS[name], subparsers.choices[name]) for name in present]


def _command(name: str, help_line: str, parser: argparse.ArgumentParser) -> Command:
    options: list[Option] = []
    values: list[str] = []
    for action in parser._actions:
        choices = tuple(str(choice) for choice in action.choices or ())
        if action.help == argparse.SUPPRESS:
            continue
        if action.option_strings:
            help_text = " ".join((action.help or "").replace("%%", "%").split())
            options.append(Option(tuple(action.option_strings), action.nargs != 0, choices, help_text))
        else:
            values += choices
    return Command(name, help_line, tuple(options), tuple(values))


def bash_script(commands: list[Command]) -> str:
    """Completion for bash: commands, options, known values, and else file names."""
    lines = [
        "_vpp_edge() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        "    COMPREPLY=()",
        '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f'        COMPREPLY=($(compgen -W "{" ".join(c.name for c in commands)} --help --version" -- "$current"))',
        "        return",
        "    fi",
        '    case "${COMP_WORDS[1]}:$previous" in',
    ]
    for command in commands:
        for option in command.options:
            pattern = "|".join(f"{command.name}:{name}" for name in option.names)
            if option.choices:
                words = " ".join(option.choices)
                lines.append(f'        {pattern}) COMPREPLY=($(compgen -W "{words}" -- "$current")); return ;;')
            elif option.takes_value:
                lines.append(f'        {pattern}) COMPREPLY=($(compgen -f -- "$current")); return ;;')
    lines += ["    esac", '    case "${COMP_WORDS[1]}" in']
    for command in commands:
        words = " ".join([*(name for option in command.options for name in option.names), *command.choices])
        lines.append(f'        {command.name}) COMPREPLY=($(compgen -W "{words}" -- "$current")) ;;')
    lines += [
        "    esac",
        '    [[ "$current" == -* ]] || COMPREPLY+=($(compgen -f -- "$current"))',
        "}",
        "complete -o filenames -F _vpp_edge vpp-edge",
    ]
    return "\n".join(lines)


def zsh_script(commands: list[Command]) -> str:
    """Completion for zsh: as for bash, with the help lines."""
    lines = ["#compdef vpp-edge", "_vpp_edge() {", "    local -a commands=("]
    lines += [f"        {_quoted(f'{c.name}:{c.help}')}" for c in commands]
    lines += [
        "    )",
        "    if (( CURRENT == 2 )); then",
        "        _describe command commands",
        "        return",
        "    fi",
        '    local command="$words[2]"',
        "    shift words; (( CURRENT-- ))",
        '    case "$command" in',
    ]
    for command in commands:
        specs = [_zsh_option(name, option) for option in command.options for name in option.names]
        specs.append(f"*:value:({' '.join(command.choices)})" if command.choices else "*:file:_files")
        lines.append(f"        {command.name}) _arguments {' '.join(_quoted(spec) for spec in specs)} ;;")
    lines += ["    esac", "}", "compdef _vpp_edge vpp-edge"]
    return "\n".join(lines)


def fish_script(commands: list[Command]) -> str:
    """Completion for fish: as for bash, with the help lines."""
    lines = ["complete -c vpp-edge -e"]
    for command in commands:
        lines.append(f"complete -c vpp-edge -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.help)}")
        seen = f"'__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            spellings = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            values = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else ""
            required = " -r" if option.takes_value and not option.choices else ""
            lines.append(f"complete -c vpp-edge -n {seen} {spellings}{values}{required} -d {_quoted(option.help)}")
        if command.choices:
            lines.append(f"complete -c vpp-edge -n {seen} -f -a {_quoted(' '.join(command.choices))}")
    return "\n".join(lines)


def _zsh_option(name: str, option: Option) -> str:
    text = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = (
        (f":value:({' '.join(option.choices)})" if option.choices else ":value:_files") if option.takes_value else ""
    )
    return f"*{name}[{text}]{value}"


def _quoted(text: str) -> str:
    """For zsh and, as no text of ours ends in a backslash, for fish."""
    return "'" + text.replace("'", "'\\''") + "'"


SCRIPTS = {"bash": bash_script, "fish": fish_script, "zsh": zsh_script}
