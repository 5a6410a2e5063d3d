"""Check one number of a checkpoint against its range: in, a value from a stranger's file; out, an int or a float."""

from __future__ import annotations

from typing import Any

from vpp_edge.errors import CheckpointError
from vpp_edge.number_range import real, whole
from vpp_edge.number_range import shown as shown_number

LARGEST_SIZE = 65536  # of any one dimension of a policy; the released policies have at most 49,408


def whole_number(value: Any, where: str, lowest: int = 1, highest: int = LARGEST_SIZE) -> int:
    """`value` as an int within [lowest, highest]; 8.0 counts as 8, True does not.

    Args:
        where: file and key, for the error.

    Raises:
        CheckpointError: it is anything else.
    """
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    within = whole(lowest, highest)
    if number not in within:
        raise CheckpointError(f"{where} is {shown(value)}, expected {within}")
    return int(number)


def real_number(value: Any, where: str, lowest: float, highest: float) -> float:
    """`value` as a float within [lowest, highest]; so is the text "1e-3", which YAML does not take for a number.

    Raises:
        CheckpointError: it is anything else.
    """
    within = real(lowest, highest)
    number = within.parsed(value) if isinstance(value, str) else value
    if number not in within:
        raise CheckpointError(f"{where} is {shown(value)}, expected {within}")
    return float(number)


def shown(value: Any) -> str:
    """A value of a file as a message shows it: "64" in quotes where the file has text instead of a number."""
    return repr(shown_number(value)) if isinstance(value, str) else shown_number(value)
