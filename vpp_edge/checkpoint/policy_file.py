"""Read and write the file of Video Former and action head, `policy.pt` or `policy.safetensors`.

VPP's training writes `policy.pt`, a pickle. `policy.safetensors` holds the same content without a pickle: the tensors,
and the arguments as JSON in the metadata `args`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.averaged import averaged_in_content, split_averaged
from vpp_edge.checkpoint.plain_values import plain_values
from vpp_edge.checkpoint.safe_pickle import load_policy_pickle
from vpp_edge.checkpoint.training_names import unwrapped
from vpp_edge.checkpoint.weights import Tensors, checked_weights, load_tensor_file
from vpp_edge.errors import CheckpointError
from vpp_edge.files.writing import write_whole

_ANCHORS = (f"{names.HEAD_PREFIX}action_pred.bias", f"{names.FORMER_PREFIX}latents", f"{names.FORMER_PREFIX}weight")
_TRAINED = (names.HEAD_PREFIX, names.FORMER_PREFIX)


@dataclass(frozen=True)
class PolicyFile:
    """What a policy's file holds.

    Attributes:
        tensors: by name; those of Video Former and action head checked, as float32.
        arguments: nested dicts, lists and scalars; interpolations unresolved.
        averaged: the tensors are the averaged (EMA) weights.
        notes: what was found beside the weights or taken from their names, one sentence each.
    """

    tensors: Tensors
    arguments: dict[str, Any]
    averaged: bool
    notes: tuple[str, ...]


def load_policy_file(path: Path, weights: str | None = None) -> PolicyFile:
    """The weights that the user chose, under VPP's names, and the arguments.

    Args:
        weights: `ema`: averaged weights where the file has some; None or `model`: the weights that were trained.

    Raises:
        CheckpointError: the file is missing, truncated, an LFS pointer, holds anything but tensors and
            configuration, one of the two is missing, a weight is quantized, NaN or infinite, or there are several
            averaged weights to choose from.
    """
    if path.suffix == ".safetensors":
        stored, arguments = _load_safetensors(path)
        averaged: dict[str, Tensors] = {}
    else:
        content = load_policy_pickle(path)
        stored, arguments = content["model"], plain_values(content["args"], path)
        averaged = averaged_in_content(content, path)
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{path}: `args` is a {type(arguments).__name__}, expected a configuration with `model`")
    plain, inner = split_averaged(stored)
    chosen, used, notes = _choose(path, plain, averaged | inner, weights)
    named = unwrapped(chosen, _ANCHORS, path)
    tensors = named.tensors
    if path.suffix != ".safetensors":  # whose tensors were checked when they were read
        trained = {n: t for n, t in tensors.items() if n.startswith(_TRAINED) and n not in names.UNUSED_IN_FILE}
        tensors = tensors | checked_weights(path, trained)
    return PolicyFile(tensors=tensors, arguments=arguments, averaged=used, notes=(*notes, *named.note(path.name)))


def save_policy_file(path: Path, tensors: dict[str, torch.Tensor], arguments: dict[str, Any]) -> None:
    """Writes `policy.safetensors` atomically; an existing file is replaced."""
    own = {
        name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()
    }  # safetensors stores no views
    write_whole(path, save(own, metadata={"args": json.dumps(arguments)}))


def _load_safetensors(path: Path) -> tuple[Tensors, Any]:
    tensors = load_tensor_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return tensors, plain_values(json.loads((file.metadata() or {}).get("args", "")), path)
    except (ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: its metadata `args` is not JSON ({error}). Write the file with the policy's arguments."
        ) from error


def _choose(
    path: Path, plain: Tensors, averaged: dict[str, Tensors], weights: str | None
) -> tuple[Tensors, bool, tuple[str, ...]]:
    """The tensors to use, whether they are averaged ones, and the notes about it."""
    places = ", ".join(f"`{place}`" for place in averaged)
    if not averaged:
        return plain, False, ()
    if weights != "ema" and plain:
        note = f"{path.name} holds averaged weights too ({places}): not used; export with --weights ema to use them"
        return plain, False, (note,) if weights is None else ()
    if len(averaged) > 1:
        raise CheckpointError(f"{path}: several averaged weights ({places}). Keep the one that is meant.")
    place, tensors = next(iter(averaged.items()))
    tensors = unwrapped(tensors, _ANCHORS, path).tensors
    trained = [name for name in unwrapped(plain, _ANCHORS, path).tensors if name.startswith(_TRAINED)]
    missing = [name for name in trained if name not in tensors]
    if missing:
        raise CheckpointError(
            f"{path}: the averaged weights `{place}` lack {len(missing)} of {len(trained)} weights of the policy, "
            f"{missing[0]} among them. Export without --weights ema."
        )
    return plain | tensors, True, (f"the averaged weights `{place}` of {path.name} are used",)
