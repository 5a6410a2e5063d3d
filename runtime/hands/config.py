"""Parses the address after `--hand KIND:` and reads and checks the hand's JSON file.

An address is `DEVICE?config=FILE`, as in `leap:/dev/ttyUSB0?config=my_leap.json`. Every value of the file is mandatory,
because a wrong default for a limit or a direction breaks fingers; docs/hands.md explains each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vpp_edge.errors import BadInputError
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.paths import path_from_text
from vpp_edge.number_range import FINITE, whole
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.suggestion import did_you_mean

Config = TypeVar("Config")
LARGEST_FILE = 1_000_000  # bytes
BAUD = whole(1200, 10_000_000)


def device_and_file(kind: str, address: str) -> tuple[str, Path]:
    """The two parts of `DEVICE?config=FILE`.

    Raises:
        BadInputError: one of them is missing, or there is an unknown option.
    """
    device, _, option = address.partition("?")
    name, _, file = option.partition("=")
    if not device or name != "config" or not file:
        raise BadInputError(
            f"--hand {kind}:{address}: expected --hand {kind}:DEVICE?config=FILE, where FILE holds this hand's limits "
            "and calibration; docs/hands.md lists its values and how to measure them"
        )
    return device, Path(path_from_text(file))


def config_from_file(cls: type[Config], path: Path) -> Config:
    """An instance of `cls`, a dataclass with a field `limits`, from a JSON file with its fields.

    Raises:
        BadInputError: the file cannot be read, a field is missing or unknown, or a value is invalid.
    """
    values = read_json_file(path, "a hand configuration", most_bytes=LARGEST_FILE)
    try:
        fields = _checked(cls, values, "")
        fields["limits"] = HandLimits(**_checked(HandLimits, fields["limits"], "limits."))
        return cls(**fields)
    except (BadInputError, TypeError) as error:
        raise BadInputError(f"{path}: {error}") from error


def check_numbers(name: str, values: Sequence[float], count: int) -> None:
    """Raises BadInputError unless `values` are `count` finite numbers."""
    if not isinstance(values, Sequence) or len(values) != count or not all(value in FINITE for value in values):
        raise BadInputError(f"{name} is {values!r:.80}, expected {count} finite numbers")


def check_wrist(wrist: Sequence[float], limits: HandLimits) -> None:
    """Raises BadInputError unless `wrist` is xyz in m within the limits' box and a unit quaternion (xyzw)."""
    check_numbers("wrist", wrist, 7)
    box = zip(wrist[:3], limits.wrist_lower_m, limits.wrist_upper_m, strict=True)
    if not all(low <= value <= high for value, low, high in box):
        raise BadInputError(f"wrist is at {wrist[:3]}, outside its limits")
    if abs(math.hypot(*wrist[3:]) - 1) > 1e-3:
        raise BadInputError(f"wrist has the quaternion {wrist[3:]}, expected length 1")


def _checked(cls: Any, values: Any, prefix: str) -> dict[str, Any]:
    """The values as keyword arguments of a dataclass, lists as tuples; `prefix` precedes names in messages."""
    names = [field.name for field in dataclasses.fields(cls)]
    if not isinstance(values, Mapping):
        raise BadInputError(f"{prefix or 'the file'} is {type(values).__name__}, expected an object with {names}")
    if missing := [prefix + name for name in names if name not in values]:
        raise BadInputError(f"missing: {', '.join(missing)}")
    if unknown := [prefix + name for name in values if name not in names]:
        hint = did_you_mean(unknown[0].removeprefix(prefix), names)
        raise BadInputError(f"unknown: {', '.join(unknown)}{hint}; expected {', '.join(names)}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
