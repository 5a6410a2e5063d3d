"""Find the averaged (EMA) weights that training keeps beside the weights it trains.

In: what policy.pt holds, or the folder of a model. Out: the averaged weights, and which place they are in. Whether they
are used is the user's choice (`--weights ema`); that they are there is always said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vpp_edge.checkpoint.weights import Tensors
from vpp_edge.errors import CheckpointError
from vpp_edge.files.paths import is_left_behind

_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|shadow)(?![a-z])", re.IGNORECASE)
_NOT_AVERAGED = re.compile(r"(?<![a-z])non[_-]?(ema|swa)(?![a-z])", re.IGNORECASE)
_DEEPEST = 4  # Lightning keeps them in callbacks > EMA > ema_weights


def is_averaged(name: str) -> bool:
    """Whether a key, a file or a folder is called as averaged weights are: `ema_model`, `unet_ema`, `swa`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return bool(_AVERAGED.search(words)) and not _NOT_AVERAGED.search(words)


def averaged_in_content(content: Mapping[Any, Any], path: Path) -> dict[str, Tensors]:
    """The averaged weights in a file beside its `model`: by their place in it, such as `ema` or `callbacks.EMA`.

    Args:
        content: what the file holds.
        path: of the file, for the error.

    Raises:
        CheckpointError: they are a list without names, as the EMAModel of diffusers keeps them.
    """
    found: dict[str, Tensors] = {}
    for place, value in _averaged_values(content):
        tensors = _state_dict(value)
        if tensors:
            found[place] = tensors
        elif _is_list_of_tensors(value):
            raise CheckpointError(
                f"{path}: {place} holds averaged weights as a list without names. Re-save the file with `model` and, "
                f"in `{place.split('.')[0]}`, a state dict; or without them."
            )
    return found


def split_averaged(tensors: Tensors) -> tuple[Tensors, dict[str, Tensors]]:
    """A state dict without the tensors under `ema_model.` and the like, and those by their prefix."""
    plain: Tensors = {}
    averaged: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if rest and is_averaged(first):
            averaged.setdefault(f"{first}.", {})[rest] = tensor
        else:
            plain[name] = tensor
    return plain, averaged


def averaged_places(folder: Path) -> list[Path]:
    """Files in a model's folder, and folders beside it, with averaged weights: `unet_ema/`, `*.ema.safetensors`."""
    inside = [p for p in folder.iterdir() if is_averaged(p.name)]
    beside = [p for p in folder.parent.iterdir() if p.is_dir() and folder.name in p.name and is_averaged(p.name)]
    found = (p for p in (*inside, *beside) if p.is_dir() or p.suffix == ".safetensors")
    return sorted(p for p in found if not is_left_behind(Path(p.name)))


def _averaged_values(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, Mapping) or depth == _DEEPEST:
        return
    for key, value in content.items():
        here = f"{place}.{key}" if place else str(key)
        if depth == 0 and key in ("model", "args"):
            continue
        if is_averaged(str(key)) and (_state_dict(value) or _is_list_of_tensors(value)):
            yield here, value
        else:
            yield from _averaged_values(value, here, depth + 1)


def _state_dict(value: Any) -> Tensors:
    """The tensors of `value`, or of the first state dict in it, without decay rates and counters; {} if it has none."""
    if not isinstance(value, Mapping):
        return {}
    tensors = {str(n): t for n, t in value.items() if isinstance(t, torch.Tensor)}
    if any(t.ndim for t in tensors.values()):
        return tensors
    return next((found for inner in value.values() if (found := _state_dict(inner))), {})


def _is_list_of_tensors(value: Any) -> bool:
    values = value.get("shadow_params") if isinstance(value, Mapping) else value
    return isinstance(values, list) and bool(values) and all(isinstance(v, torch.Tensor) for v in values)
