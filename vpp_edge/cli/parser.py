"""The parser of the command line: argparse, with errors of our own that say what was meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from vpp_edge.cli.numbers import without_prefix
from vpp_edge.errors import BadInputError
from vpp_edge.files.paths import path_from_text
from vpp_edge.suggestion import did_you_mean

_INVALID_CHOICE = re.compile(r"invalid choice: (?P<word>.*) \(choose from (?P<known>.*)\)", re.DOTALL)


class UsageError(BadInputError):
    """The command line cannot be parsed."""


class Formatter(argparse.HelpFormatter):
    """Help with a wide enough column for most options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises a UsageError instead of ending the process, and knows `~` in `--option=~/file`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", Path, lambda text: Path(path_from_text(text)))

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse, but each command refuses what it does not know, before it asks for what is missing."""
        self._refuse_unknown_option(args or ())
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return arguments, unknown

    def error(self, message: str) -> NoReturn:
        message = _INVALID_CHOICE.sub(_with_suggestion, without_prefix(message))
        raise UsageError(f"{message}. See: {self.prog} --help")

    def _refuse_unknown_option(self, words: Sequence[str]) -> None:
        """Of this parser; what follows the name of a command belongs to the command's."""
        known = self._option_string_actions
        for word in words:
            name = word.partition("=")[0]
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return
            if word.startswith("--") and " " not in word and not any(each.startswith(name) for each in known):
                self.error(f"unrecognized option {name}{did_you_mean(name, known)}")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.option_strings and arg_strings == ["--"]:  # argparse would drop it and go on without a value
            raise argparse.ArgumentError(action, "expected a value, got '--'")
        return super()._get_values(action, arg_strings)


def _with_suggestion(found: re.Match[str]) -> str:
    """What argparse says of a wrong choice, with the one that was meant."""
    known = re.findall(r"[\w.-]+", found["known"])
    word = found["word"].strip("'\"")
    return f"invalid choice: {word!r}{did_you_mean(word, known)}; expected {', '.join(known)}"
