"""The training configuration as plain values: in, what the pickle's stand-ins hold; out, dicts, lists and scalars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpp_edge.errors import CheckpointError

_DEEPEST = 64  # a real configuration is nested about 5 deep


class Record:
    """Stands in for an OmegaConf node or container: holds the pickled attributes, has no behaviour."""

    _content: Any
    _val: Any


class ContainerRecord(Record):
    """A DictConfig or ListConfig."""


class ValueRecord(Record):
    """An AnyNode, StringNode and the like."""


def plain_values(value: Any, path: Path, depth: int = 0) -> Any:
    """Nested dicts, lists and scalars from the stand-ins; a value of any other type becomes its type's name.

    Raises:
        CheckpointError: they are nested deeper than any real configuration, or contain themselves.
    """
    if depth > _DEEPEST:
        raise CheckpointError(f"{path}: `args` is nested more than {_DEEPEST} deep. Is this a VPP policy?")
    if isinstance(value, ContainerRecord):
        return plain_values(value.__dict__.get("_content"), path, depth + 1)
    if isinstance(value, ValueRecord):
        return plain_values(value.__dict__.get("_val"), path, depth + 1)
    if isinstance(value, dict):
        return {str(plain_values(k, path, depth + 1)): plain_values(v, path, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(v, path, depth + 1) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"<{type(value).__name__}>"
