"""Read `policy.pt` without executing any code in it: its tensors, and its arguments as plain values.

`torch.load(weights_only=True)` interprets the pickle and builds nothing but tensors and containers. The OmegaConf
classes that a trained policy carries are mapped by name to inert records here, so not even OmegaConf's own code
runs. Every other name in the pickle is refused; there is no fallback to an unsafe loader.
"""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from vpp_edge.checkpoint.files import check_file
from vpp_edge.errors import CheckpointError


class _Record:
    """Stands in for an OmegaConf node or container: holds the pickled attributes, has no behaviour."""

    _content: Any
    _val: Any


class _DictRecord(_Record):
    pass


class _ListRecord(_Record):
    pass


class _ValueRecord(_Record):
    pass


class _Ignored:
    """Stands in for metadata and type names, which carry no values."""

    def __init__(self, *_: Any) -> None:
        pass


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """Stands in for collections.defaultdict, whose factory is dropped."""
    return {}


_VALUE_NODES = ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode", "BytesNode", "PathNode")
_STAND_INS: list[Any] = [
    (_DictRecord, "omegaconf.dictconfig.DictConfig"),
    (_ListRecord, "omegaconf.listconfig.ListConfig"),
    *((_ValueRecord, f"omegaconf.nodes.{name}") for name in _VALUE_NODES),
    (_Ignored, "omegaconf.base.ContainerMetadata"),
    (_Ignored, "omegaconf.base.Metadata"),
    (_Ignored, "typing.Any"),
    (_plain_dict, "collections.defaultdict"),
    *((kind, f"{module}.{kind.__name__}") for kind in (dict, list) for module in ("__builtin__", "builtins")),
    *(
        (_Ignored, f"{module}.{name}")
        for name in ("long", "int", "float", "str", "bool")
        for module in ("__builtin__", "builtins")
    ),
]


def load_policy_pickle(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors by name and the arguments (nested dicts, lists and scalars; interpolations unresolved) of `policy.pt`.

    Raises:
        CheckpointError: the file is missing, truncated, an LFS pointer, holds anything but tensors and
            configuration, or `model` or `args` is missing.
    """
    check_file(path, "the policy (Video Former and action head)")
    content = _load_weights_only(path)
    if not isinstance(content, dict) or not {"model", "args"} <= content.keys():
        got = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: expected a dict with `model` (state dict) and `args` (configuration), got {got}. "
            "Pass the file that VPP's training writes, not a bare state dict."
        )
    tensors = content["model"]
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise CheckpointError(f"{path}: `model` is not a state dict of tensors")
    arguments = plain_from_record(content["args"])
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{path}: `args` is a {type(arguments).__name__}, expected a configuration with `model`")
    return dict(tensors), arguments


def _load_weights_only(path: Path) -> Any:
    with torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # about pickle protocols; a file that cannot be read is an error below
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        except pickle.UnpicklingError as error:
            asked_for = re.search(r"GLOBAL (\S+)", str(error))
            what = f"it asks for {asked_for[1]}" if asked_for else "unknown instructions"
            raise CheckpointError(
                f"{path}: refused, because its pickle holds more than tensors and configuration ({what}). "
                "Nothing of it was executed. Obtain the checkpoint from its author again, or have it re-saved as "
                '{"model": state_dict, "args": OmegaConf config}.'
            ) from error
        except (
            RuntimeError,
            EOFError,
            ValueError,
            KeyError,
            AttributeError,
            TypeError,
            AssertionError,
            IndexError,
            OSError,
        ) as error:
            first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{path}: truncated or not a PyTorch file ({first_line}). Copy or download it again and compare its "
                "checksum with the original."
            ) from error


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def plain_from_record(value: Any) -> Any:
    """Nested dicts, lists and scalars from the stand-ins; a value of any other type becomes its type's name."""
    if isinstance(value, _DictRecord):
        return plain_from_record(value.__dict__.get("_content"))
    if isinstance(value, _ListRecord):
        return plain_from_record(value.__dict__.get("_content"))
    if isinstance(value, _ValueRecord):
        return plain_from_record(value.__dict__.get("_val"))
    if isinstance(value, dict):
        return {str(plain_from_record(k)): plain_from_record(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_from_record(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"<{type(value).__name__}>"
