"""Check one number of a checkpoint against its bounds: in, a value from a stranger's file; out, an int or a float."""

from __future__ import annotations

import math
from typing import Any

from vpp_edge.errors import CheckpointError

LARGEST_SIZE = 65536  # of any one dimension of a policy; the released policies have at most 49,408
_LONGEST_SHOWN = 60


def whole_number(value: Any, where: str, lowest: int = 1, highest: int = LARGEST_SIZE) -> int:
    """`value` as an int within [lowest, highest]; 8.0 counts as 8, True does not.

    Args:
        where: file and key, for the error.

    Raises:
        CheckpointError: it is anything else.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not lowest <= value <= highest or value != int(value):
        raise CheckpointError(f"{where} is {shown(value)}, expected a whole number from {lowest} to {highest}")
    return int(value)


def real_number(value: Any, where: str, lowest: float, highest: float) -> float:
    """`value` as a float within [lowest, highest]; so is the text "1e-3", which YAML does not take for a number.

    Raises:
        CheckpointError: it is anything else.
    """
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
    if isinstance(number, bool) or not isinstance(number, int | float) or not lowest <= number <= highest:
        raise CheckpointError(f"{where} is {shown(value)}, expected a number from {lowest:g} to {highest:g}")
    return float(number)


def shown(value: Any) -> str:
    """`value` for an error message: its repr, shortened."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out integers of more than 4300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
