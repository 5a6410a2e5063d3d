"""Load the weight files of a diffusers or transformers model as float32 tensors by name, and check every number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from vpp_edge.checkpoint.files import check_file, read_json
from vpp_edge.errors import CheckpointError

Tensors = dict[str, torch.Tensor]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_INTEGERS = (
    torch.int64,
    torch.int32,
    torch.bool,
    torch.uint8,
)  # of counters and position ids, in at most one dimension
# Last parts of the names of scales and packed weights of bitsandbytes, torchao, GPTQ, AWQ and compressed-tensors.
_QUANTIZED_NAMES = frozenset(
    (
        *("SCB", "absmax", "quant_map", "nested_absmax", "qweight", "qzeros", "scales", "g_idx"),
        *("weight_scale", "weight_scale_inv", "weight_zero_point", "weight_packed", "input_scale"),
    )
)


def weight_files(folder: Path, stem: str) -> list[Path]:
    """The files of a model's weights: `<stem>.safetensors`, its shards, or its `.fp16` variant.

    Args:
        folder: the model's folder.
        stem: `diffusion_pytorch_model` (diffusers) or `model` (transformers).

    Raises:
        CheckpointError: there are none, or only as pickle.
    """
    for variant in ("", ".fp16"):
        index = folder / f"{stem}.safetensors.index{variant}.json"
        if index.exists():
            return [_inside(folder, shard) for shard in _shards(index)]
        path = folder / f"{stem}{variant}.safetensors"
        if path.exists():
            return [path]
    pickles = sorted(p.name for p in folder.glob("*.bin"))
    if pickles:
        raise CheckpointError(
            f"{folder}: weights only as pickle ({', '.join(pickles)}). Save the model again with "
            "`save_pretrained(folder, safe_serialization=True)`."
        )
    path = folder / f"{stem}.safetensors"
    check_file(path, "the weights")
    return [path]


def _shards(index: Path) -> list[str]:
    files = read_json(index, "the list of weight shards").get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise CheckpointError(f"{index}: has no `weight_map` from tensor to file. Download or copy it again.")
    return sorted(set(files.values()))


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise CheckpointError(f"{folder}: weight index names {name!r}, which is not a file of this folder")
    return folder / name


def load_tensor_file(path: Path) -> Tensors:
    """Every tensor of a safetensors file, checked, as float32 (integers as they are).

    Raises:
        CheckpointError: the file is missing or damaged, or a weight is quantized, NaN or infinite.
    """
    check_file(path, "the weights")
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: truncated or damaged ({error}). Download or copy it again.") from error
    return checked_weights(path, stored)


def checked_weights(where: Path | str, stored: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors as float32 (integers as they are), after a look at every number.

    Args:
        where: file that they were read from, for the error.

    Raises:
        CheckpointError: a weight is quantized or of no usable type, or holds NaN or infinity.
    """
    refuse_quantized(where, stored)
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
    bad = [name for name, t in tensors.items() if t.is_floating_point() and not _is_finite(t)]
    if bad:
        first = tensors[bad[0]]
        count = int((~torch.isfinite(first)).sum())
        more = f", and {len(bad) - 1} more tensors hold some" if len(bad) > 1 else ""
        raise CheckpointError(
            f"{where}: {bad[0]} holds {count} NaN or infinite of {first.numel()} numbers{more}. The training diverged, "
            "or the file is damaged: compare its checksum with the original, or take an earlier checkpoint."
        )
    return tensors


def refuse_quantized(where: Path | str, stored: Mapping[str, torch.Tensor]) -> None:
    """Raises CheckpointError where weights are stored as integers or 8-bit floats, meaningless without their scales."""
    scales = [name for name in stored if name.rsplit(".", 1)[-1] in _QUANTIZED_NAMES]
    odd = [name for name, tensor in stored.items() if not _is_plain(name, tensor)]
    if scales or odd:
        name = (odd or scales)[0]
        tensor = stored[name]
        kind = "without data" if tensor.is_meta else str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{where}: {name} is stored as {kind}; {len({*scales, *odd})} tensors look quantized. "
            "Export starts from the trained weights in float32, float16 or bfloat16: load the model where it was "
            "quantized, call `dequantize()` and save it again, or pass the checkpoint from before the quantization."
        )


def _is_plain(name: str, tensor: torch.Tensor) -> bool:
    """Whether it is a float weight, or a counter or table of positions as modules keep them."""
    if tensor.is_meta or tensor.layout != torch.strided:
        return False
    return tensor.dtype in _FLOATS or (
        tensor.dtype in _INTEGERS and (tensor.ndim <= 1 or name.endswith("position_ids"))
    )


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all numbers are finite, in one pass without a temporary copy: the extremes of NaN are NaN."""
    if tensor.numel() == 0:
        return True
    lowest, highest = torch.aminmax(tensor)
    return bool(torch.isfinite(lowest)) and bool(torch.isfinite(highest))


def tensor_problems(
    part: str,
    found: Tensors,
    expected: dict[str, tuple[int, ...]],
    optional: frozenset[str] = frozenset(),
) -> list[str]:
    """One line for every missing, extra, misshapen or integer tensor of a part; `optional` ones may be absent."""
    lines = [f"{part}: missing {n} {expected[n]}" for n in expected if n not in found and n not in optional]
    lines += [f"{part}: extra {n} {tuple(found[n].shape)}" for n in found if n not in expected]
    lines += [
        f"{part}: misshapen {n}: expected {shape}, got {tuple(found[n].shape)}"
        for n, shape in expected.items()
        if n in found and tuple(found[n].shape) != shape
    ]
    lines += [
        f"{part}: {n} is stored as {str(found[n].dtype).removeprefix('torch.')}, expected a float"
        for n in expected
        if n in found and not found[n].is_floating_point()
    ]
    return lines
