"""Numbers of the command line: argparse reads them with their range."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import NumberRange

_ARGUMENT = re.compile(r"argument (?P<option>\S+): (?P<value>.{1,60}: expected )", re.DOTALL)


@dataclass(frozen=True)
class Number:
    """A `type` for `add_argument`: reads an int of a range of whole numbers, a float of any other."""

    within: NumberRange

    def __call__(self, text: str) -> Any:
        try:
            return self.within.from_text(text)
        except BadInputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error


@dataclass(frozen=True)
class Numbers:
    """The same for several numbers, as in `2,4`: a tuple, each number once."""

    within: NumberRange

    def __call__(self, text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(map(Number(self.within), text.split(","))))


def without_prefix(message: str) -> str:
    """argparse's `argument --seed: -1: expected a ...` as `--seed -1: expected a ...`; other messages as they are."""
    return _ARGUMENT.sub(r"\g<option> \g<value>", message)
