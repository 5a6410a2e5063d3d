"""Read `policy.pt` without executing any code in it: its tensors, and stand-ins for its configuration.

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

from vpp_edge.checkpoint.bounded import shown
from vpp_edge.checkpoint.files import check_file
from vpp_edge.checkpoint.plain_values import ContainerRecord, ValueRecord
from vpp_edge.checkpoint.resave import resave_advice
from vpp_edge.errors import CheckpointError


class _Ignored:
    """Stands in for metadata and type names, which carry no values."""

    def __init__(self, *_: Any) -> None:
        pass


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """Stands in for collections.defaultdict, whose factory is dropped."""
    return {}


_MOST_KEYS = 8
_VALUE_NODES = ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode", "BytesNode", "PathNode")
_STAND_INS: list[Any] = [
    (ContainerRecord, "omegaconf.dictconfig.DictConfig"),
    (ContainerRecord, "omegaconf.listconfig.ListConfig"),
    *((ValueRecord, f"omegaconf.nodes.{name}") for name in _VALUE_NODES),
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


def load_policy_pickle(path: Path) -> dict[Any, Any]:
    """What `policy.pt` holds: `model`, a state dict of tensors; `args`, stand-ins for the configuration; and the rest.

    Raises:
        CheckpointError: the file is missing, truncated, an LFS pointer, holds anything but tensors and
            configuration, or `model` or `args` is missing.
    """
    check_file(path, "the policy (Video Former and action head)")
    content = _load_weights_only(path)
    if not isinstance(content, dict) or not {"model", "args"} <= content.keys():
        raise CheckpointError(
            f"{path}: expected a dict with `model` (state dict) and `args` (configuration), got {_described(content)}. "
            "Pass the file that VPP's training writes; the sizes and the normalization are in its `args`."
        )
    tensors = content["model"]
    if not isinstance(tensors, dict) or not all(
        isinstance(n, str) and isinstance(t, torch.Tensor) for n, t in tensors.items()
    ):
        raise CheckpointError(f"{path}: `model` is not a state dict of tensors")
    return content


def _described(content: Any) -> str:
    """What a file holds instead, in a few words."""
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    tensors = [name for name, value in content.items() if isinstance(value, torch.Tensor)]
    if tensors and len(tensors) == len(content):
        return f"a bare state dict of {len(tensors)} tensors ({shown(tensors[0])}, ...)"
    if "pytorch-lightning_version" in content:
        return "a checkpoint of PyTorch Lightning"
    keys = ", ".join(sorted(map(shown, content))[:_MOST_KEYS])
    return f"a dict with {keys}{', ...' if len(content) > _MOST_KEYS else ''}" if content else "an empty dict"


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
                f"Nothing of it was executed. {resave_advice(path)}"
            ) from error
        except Exception as error:  # a damaged or hostile file can raise almost anything
            first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{path}: truncated or not a PyTorch file ({first_line}). Copy or download it again and compare its "
                "checksum with the original."
            ) from error


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
