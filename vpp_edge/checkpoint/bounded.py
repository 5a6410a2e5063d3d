"""Check the numbers of a checkpoint against their ranges: in, values from a stranger's file; out, ints and floats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vpp_edge.errors import CheckpointError
from vpp_edge.number_range import real, whole
from vpp_edge.number_range import shown as shown_number

LARGEST_SIZE = 65536  # of any one dimension of a policy; the released policies have at most 49,408
MOST_BLOCK_LAYERS = 16  # in one block of UNet or VAE; Stable Video Diffusion has 2
_MOST_SIZES = 8  # of images in a UNet or VAE, one for each block


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


def check_present(config: Mapping[str, Any], path: Path, keys: tuple[str, ...]) -> None:
    """Raises CheckpointError unless all keys are there."""
    missing = [key for key in keys if key not in config]
    if missing:
        raise CheckpointError(f"{path}: misses {', '.join(missing)}. Download or copy it again.")


def check_numbers(config: Mapping[str, Any], path: Path, highest: Mapping[str, int]) -> None:
    """Raises CheckpointError unless these numbers, where they are stated, are from 1 to `highest`."""
    for key, most in highest.items():
        if key in config:
            whole_number(config[key], f"{path}: {key}", 1, most)


def check_lists(config: Mapping[str, Any], path: Path, highest: Mapping[str, int], lowest: int = 1) -> None:
    """The same of every number in lists; `num_attention_heads` and the like may also be one number for all blocks."""
    for key, most in highest.items():
        for value in _leaves(config.get(key, lowest)):
            whole_number(value, f"{path}: {key}", lowest, most)


def count_of_sizes(config: Mapping[str, Any], path: Path, key: str = "block_out_channels") -> int:
    """How many sizes of images a network has: the length of a list with one entry for each.

    Raises:
        CheckpointError: it is no list, or has no usable length.
    """
    channels = config[key]
    if not isinstance(channels, list) or not 1 <= len(channels) <= _MOST_SIZES:
        raise CheckpointError(f"{path}: {key} is {shown(channels)}, expected a list of 1 to {_MOST_SIZES} numbers")
    return len(channels)


def _leaves(value: Any) -> Iterator[Any]:
    """The numbers in a list, or in a list of lists as `transformer_layers_per_block` may be."""
    if not isinstance(value, list):
        yield value
        return
    for inner in value:
        yield from inner if isinstance(inner, list) else (inner,)
