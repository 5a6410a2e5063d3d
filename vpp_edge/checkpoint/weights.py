"""Load the weights of a diffusers or transformers folder as float32 tensors by name."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from vpp_edge.checkpoint.files import check_file, read_json
from vpp_edge.errors import CheckpointError


def load_tensors(folder: Path, stem: str) -> dict[str, torch.Tensor]:
    """Every tensor of `<stem>.safetensors`, of its shards, or of its `.fp16` variant, as float32.

    Args:
        folder: the model's folder.
        stem: `diffusion_pytorch_model` (diffusers) or `model` (transformers).

    Raises:
        CheckpointError: a file is missing, truncated or an LFS pointer, or the weights exist only as pickle.
    """
    for variant in ("", ".fp16"):
        index = folder / f"{stem}.safetensors.index{variant}.json"
        if index.exists():
            return {k: v for shard in _shards(index) for k, v in load_tensor_file(_inside(folder, shard)).items()}
        path = folder / f"{stem}{variant}.safetensors"
        if path.exists():
            return load_tensor_file(path)
    pickles = sorted(p.name for p in folder.glob("*.bin"))
    if pickles:
        raise CheckpointError(
            f"{folder}: weights only as pickle ({', '.join(pickles)}). Save the model again with "
            "`save_pretrained(folder, safe_serialization=True)`."
        )
    check_file(folder / f"{stem}.safetensors", "the weights")
    raise AssertionError("unreachable: check_file raises for a missing file")


def _shards(index: Path) -> list[str]:
    files = read_json(index, "the list of weight shards").get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise CheckpointError(f"{index}: has no `weight_map` from tensor to file. Download or copy it again.")
    return sorted(set(files.values()))


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise CheckpointError(f"{folder}: weight index names {name!r}, which is not a file of this folder")
    return folder / name


def load_tensor_file(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a safetensors file, as float32. Raises CheckpointError where it is missing or damaged."""
    check_file(path, "the weights")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: _float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or damaged ({error}). Download or copy it again.") from error


def _float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def tensor_problems(
    part: str,
    found: dict[str, torch.Tensor],
    expected: dict[str, tuple[int, ...]],
    optional: frozenset[str] = frozenset(),
) -> list[str]:
    """One line for every missing, extra or misshapen tensor of a part; `optional` ones may be absent."""
    lines = [f"{part}: missing {n} {expected[n]}" for n in expected if n not in found and n not in optional]
    lines += [f"{part}: extra {n} {tuple(found[n].shape)}" for n in found if n not in expected]
    lines += [
        f"{part}: misshapen {n}: expected {shape}, got {tuple(found[n].shape)}"
        for n, shape in expected.items()
        if n in found and tuple(found[n].shape) != shape
    ]
    return lines
