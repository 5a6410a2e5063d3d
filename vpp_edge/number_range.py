"""Ranges of the numbers that people give, and the one way to read and check such a number."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from vpp_edge.errors import BadInputError

_WHOLE = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SHOWN_CHARACTERS = 40
_MOST_DIGITS = 400  # more than any number in a range; Python reads no more than 4300


@dataclass(frozen=True)
class NumberRange:
    """The numbers from `low` to `high`.

    Attributes:
        whole: only whole numbers.
        above: without `low` itself.
        why: what a message says of the range, if that helps.
    """

    low: float
    high: float
    whole: bool = False
    above: bool = False
    why: str = ""

    def __str__(self) -> str:
        if self.whole and self.high == self.low + 1:
            return f"{self.low} or {self.high}"
        kind = "a whole number" if self.whole else "a number"
        low, high = (f"{n}" if isinstance(n, int) else f"{n:g}" for n in (self.low, self.high))
        return f"{kind} above {low}, at most {high}" if self.above else f"{kind} from {low} to {high}"

    def __contains__(self, value: object) -> bool:
        """Whether `value` is such a number; a bool and a text are none."""
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        number: Any = value
        return bool((self.low < number if self.above else self.low <= number) and number <= self.high)

    def check(self, name: str, value: object) -> None:
        """Raises BadInputError, which names value and range, for anything else than a number of the range."""
        if value not in self:
            raise BadInputError(f"{name} {self._refusal(value)}")

    def parsed(self, text: str) -> Any:
        """The number that `text` writes in decimal digits, an int if the range is `whole`; None if it is not in it."""
        if not (_WHOLE if self.whole else _REAL).fullmatch(text) or len(text) > _MOST_DIGITS:
            return None
        value = int(text) if self.whole else float(text)
        return value if value in self else None

    def from_text(self, text: str) -> Any:
        """As `parsed`, but raises BadInputError, which names text and range, instead of returning None."""
        if (value := self.parsed(text)) is None:
            raise BadInputError(self._refusal(text))
        return value

    def _refusal(self, value: object) -> str:
        return f"{shown(value)}: expected {self}" + (f"; {self.why}" if self.why else "")


def whole(low: int, high: int, why: str = "") -> NumberRange:
    """The whole numbers from `low` to `high`."""
    return NumberRange(low, high, whole=True, why=why)


def real(low: float, high: float) -> NumberRange:
    """The numbers from `low` to `high`."""
    return NumberRange(low, high)


def above(low: float, high: float) -> NumberRange:
    """The numbers above `low`, up to `high`."""
    return NumberRange(low, high, above=True)


SEED = whole(0, 2**64 - 1)
COUNT = whole(1, 1_000_000)  # of observations, inferences and the like
COUNT_OR_NONE = whole(0, 1_000_000)
PORT = whole(1, 65535)
FINITE = real(-sys.float_info.max, sys.float_info.max)


def shown(value: object) -> str:
    """The value as a message shows it: text that could be misread in quotes, and nothing longer than a line."""
    if isinstance(value, int) and abs(value) > 10**_SHOWN_CHARACTERS:  # Python refuses to write very long ones
        return f"({value.bit_length()} bits)"
    text = value if isinstance(value, str) and re.fullmatch(r"\S+", value) else " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
