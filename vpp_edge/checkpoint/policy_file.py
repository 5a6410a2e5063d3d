"""Read and write the file of Video Former and action head, `policy.pt` or `policy.safetensors`.

VPP's training writes `policy.pt`, a pickle. `policy.safetensors` holds the same content without a pickle: the tensors,
and the arguments as JSON in the metadata `args`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vpp_edge.checkpoint.safe_pickle import load_policy_pickle
from vpp_edge.checkpoint.weights import load_tensor_file
from vpp_edge.errors import CheckpointError
from vpp_edge.files import write_whole


def load_policy_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors by name and the arguments (nested dicts, lists and scalars; interpolations unresolved).

    Raises:
        CheckpointError: the file is missing, truncated, an LFS pointer, holds anything but tensors and
            configuration, or one of the two is missing.
    """
    if path.suffix != ".safetensors":
        return load_policy_pickle(path)
    tensors = load_tensor_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            arguments = json.loads((file.metadata() or {}).get("args", ""))
    except (ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: its metadata `args` is not JSON ({error}). Write the file with the policy's arguments."
        ) from error
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{path}: metadata `args` is a {type(arguments).__name__}, expected an object")
    return tensors, arguments


def save_policy_file(path: Path, tensors: dict[str, torch.Tensor], arguments: dict[str, Any]) -> None:
    """Writes `policy.safetensors` atomically; an existing file is replaced."""
    own = {
        name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()
    }  # safetensors stores no views
    write_whole(path, save(own, metadata={"args": json.dumps(arguments)}))
