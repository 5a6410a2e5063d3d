"""Read the weights of one model folder with all that a finetune left beside them: EMA weights, a LoRA, other files.

In: a diffusers or transformers folder and the user's choice. Out: float32 tensors and notes about what was found and
used. Nothing that could be the trained weights is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vpp_edge.checkpoint.averaged import averaged_places, is_averaged
from vpp_edge.checkpoint.lora import LORA_NAME, merge_lora
from vpp_edge.checkpoint.training_names import unwrapped
from vpp_edge.checkpoint.weights import Tensors, load_tensor_file, weight_files
from vpp_edge.errors import CheckpointError
from vpp_edge.files.paths import data_files

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_WEIGHTS = (*_PICKLES, ".safetensors")
_MOST_NAMED = 5


@dataclass(frozen=True)
class PartWeights:
    """The tensors of a model; `averaged`: they are the EMA weights; `notes`: one sentence for everything unusual."""

    tensors: Tensors
    averaged: bool
    notes: tuple[str, ...]


@dataclass
class _Found:
    adapters: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)


def read_part_weights(
    folder: Path, stem: str, *, anchors: Sequence[str], weights: str | None, beside: Iterable[Path] = ()
) -> PartWeights:
    """The weights of a model as the user chose them.

    Args:
        folder: of the model.
        stem: of its weight files, `diffusion_pytorch_model` or `model`.
        anchors: names that the model must have (see `unwrapped`).
        weights: `model`: the weights as they are, `ema`: averaged ones where there are some; None: the weights, with
            a LoRA merged into them.
        beside: more folders to look for a LoRA in.

    Raises:
        CheckpointError: weights are missing, damaged or quantized, there are several adapters or averaged weights to
            choose from, or an adapter cannot be merged.
    """
    places = averaged_places(folder)
    averaged = weights == "ema" and bool(places)
    files = _averaged_files(places, stem) if averaged else weight_files(folder, stem)
    stored = {name: tensor for file in files for name, tensor in load_tensor_file(file).items()}
    named = unwrapped(stored, anchors, files[0])
    notes = list(named.note(_shown(files[0])))
    if averaged:
        notes.append(f"{_shown(places[0])}: these averaged weights are used, as --weights ema says")
    elif places and weights is None:
        where = ", ".join(_shown(p) for p in places)
        notes.append(f"{where}: averaged weights, not used; export with --weights ema to use them")
    found = _found(folder, stem, used=files, beside=beside)
    if weights != "model" and found.adapters:
        notes.append(_merge(found.adapters, named.tensors, folder))
    if found.unread:
        more = f" and {len(found.unread) - _MOST_NAMED} more" if len(found.unread) > _MOST_NAMED else ""
        names = ", ".join(p.name for p in found.unread[:_MOST_NAMED])
        notes.append(f"{folder.parent.name}/{folder.name} also holds {names}{more}, which are not read")
    return PartWeights(named.tensors, averaged, tuple(notes))


def _averaged_files(places: Sequence[Path], stem: str) -> list[Path]:
    if len(places) > 1:
        raise CheckpointError(
            f"{places[0].parent}: several averaged weights ({', '.join(_shown(p) for p in places)}). "
            "Keep the one that is meant."
        )
    place = places[0]
    return weight_files(place, stem) if place.is_dir() else [place]


def _merge(adapters: Sequence[Path], tensors: Tensors, folder: Path) -> str:
    if len(adapters) > 1:
        raise CheckpointError(
            f"{folder}: several adapters for it ({', '.join(map(str, adapters))}). Keep the one that is meant, or pass "
            "--weights model to export without any."
        )
    path = adapters[0]
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: an adapter stored as a pickle, which is not opened. Save it with safetensors, or pass --weights "
            "model to export without it."
        )
    merged = merge_lora(path, tensors)
    return f"merged the LoRA {_shown(path)} into {folder.name} ({merged}); --weights model leaves it out"


def _found(folder: Path, stem: str, used: Sequence[Path], beside: Iterable[Path]) -> _Found:
    """Adapters for this model, and weight files in its folder that are neither read nor another format of the same."""
    found = _Found()
    here = data_files(folder, "**/*")
    there = [path for place in beside if place.is_dir() for path in data_files(place, "*")]
    for path in dict.fromkeys((*here, *there)):
        inside = path in here
        if path in used or path.suffix not in _WEIGHTS or is_averaged(path.name):
            continue
        if inside and any(is_averaged(parent.name) for parent in path.relative_to(folder).parents):
            continue
        if _is_adapter(path):
            found.adapters.append(path)
        elif inside and not _is_twin(path, stem):
            found.unread.append(path)
    return found


def _is_adapter(path: Path) -> bool:
    """Whether a file's name, its neighbour or the names of its tensors say that it holds an adapter."""
    if path.name.startswith("adapter_model.") or re.search(
        r"(?<![a-z])(lora|locon|lokr|loha)(?![a-z])", path.name.lower()
    ):
        return True
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return any(LORA_NAME.search(name) for name in file.keys())  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError):
        return False  # not read, so not this check's to report


def _is_twin(path: Path, stem: str) -> bool:
    """Whether it holds the same weights in another format or precision, as model hubs keep them side by side."""
    variant = r"(\.fp16|\.bf16)"
    shard = r"(-\d+-of-\d+)?"
    same = rf"{stem}{variant}{shard}\.safetensors|({stem}|pytorch_model){variant}?{shard}\.bin"
    return bool(re.fullmatch(same, path.name))


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
