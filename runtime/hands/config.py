"""A hand's own file: in, the address after `--hand KIND:`; out, where the device is and checked numbers about it.

An address is `DEVICE?config=FILE`, as in `leap:/dev/ttyUSB0?config=my_leap.json`. The file is JSON. Every value is
mandatory, because a wrong guess about a limit or a direction breaks fingers; docs/hands.md explains each.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vpp_edge.errors import BadInputError
from vpp_edge.spec.hand_limits import HandLimits

Config = TypeVar("Config")
LARGEST_FILE = 1_000_000  # bytes


def device_and_file(kind: str, address: str) -> tuple[str, Path]:
    """The two parts of `DEVICE?config=FILE`.

    Raises:
        BadInputError: one of them is missing, or there is another option.
    """
    device, _, option = address.partition("?")
    name, _, file = option.partition("=")
    if not device or name != "config" or not file:
        raise BadInputError(
            f"--hand {kind}:{address}: expected --hand {kind}:DEVICE?config=FILE, where FILE holds this hand's limits "
            "and calibration; docs/hands.md says what belongs into it and how to measure it"
        )
    return device, Path(file)


def config_from_file(cls: type[Config], path: Path) -> Config:
    """A `cls`, a dataclass with a field `limits`, from a JSON file with its fields.

    Raises:
        BadInputError: the file cannot be read, lacks a field, has an unknown one, or a value that cannot be.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInputError(f"{path}: larger than {LARGEST_FILE} bytes; that is no description of a hand")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: cannot be read as the description of a hand: {error}") from error
    try:
        fields = _checked(cls, values, "")
        fields["limits"] = HandLimits(**_checked(HandLimits, fields["limits"], "limits."))
        return cls(**fields)
    except (BadInputError, TypeError) as error:
        raise BadInputError(f"{path}: {error}") from error


def check_numbers(name: str, values: Sequence[float], count: int) -> None:
    """Raises BadInputError unless `values` are `count` finite numbers."""
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if len(values) != count or not numbers or not all(math.isfinite(v) for v in values):
        raise BadInputError(f"{name} is {values}, expected {count} finite numbers")


def check_wrist(wrist: Sequence[float], limits: HandLimits) -> None:
    """Raises BadInputError unless `wrist` is xyz in m within the limits' box and a unit quaternion (xyzw)."""
    check_numbers("wrist", wrist, 7)
    box = zip(wrist[:3], limits.wrist_lower_m, limits.wrist_upper_m, strict=True)
    if not all(low <= value <= high for value, low, high in box):
        raise BadInputError(f"wrist is at {wrist[:3]}, outside its limits")
    if abs(math.hypot(*wrist[3:]) - 1) > 1e-3:
        raise BadInputError(f"wrist has the quaternion {wrist[3:]}, expected length 1")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises BadInputError unless `low <= value <= high`."""
    check_numbers(name, (value,), 1)
    if not low <= value <= high:
        raise BadInputError(f"{name} is {value}, expected {low:g} to {high:g}")


def _checked(cls: Any, values: Any, where: str) -> dict[str, Any]:
    """The values as keyword arguments of a dataclass, lists as tuples."""
    names = [field.name for field in dataclasses.fields(cls)]
    if not isinstance(values, Mapping):
        raise BadInputError(f"{where or 'the file'} is {type(values).__name__}, expected an object with {names}")
    if missing := [where + name for name in names if name not in values]:
        raise BadInputError(f"lacks {', '.join(missing)}")
    if unknown := [where + name for name in values if name not in names]:
        raise BadInputError(f"has the unknown {', '.join(unknown)}; expected {', '.join(names)}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
