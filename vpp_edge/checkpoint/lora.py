"""Merge a LoRA into the weights that it was trained for: W + scale * B @ A (arXiv 2106.09685, section 4.1).

Reads the safetensors files of diffusers (`pytorch_lora_weights.safetensors`) and PEFT (`adapter_model.safetensors` with
`adapter_config.json`). What it does not know to the last key is refused, with the way to merge it where it was trained.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vpp_edge.checkpoint.bounded import LARGEST_SIZE, real_number, whole_number
from vpp_edge.checkpoint.files import check_file, read_json
from vpp_edge.checkpoint.weights import Tensors, load_tensor_file
from vpp_edge.errors import CheckpointError

LORA_NAME = re.compile(r"lora[._]?(a|b|up|down|embedding|magnitude)", re.IGNORECASE)
_FACTORS = re.compile(
    r"(?P<module>.+?)(?P<old>_lora)?\.(?P<factor>lora_A|lora_B|lora\.down|lora\.up|down|up)(\.default)?\.weight"
)
_PREFIXES = ("base_model.model.", "unet.", "text_encoder.", "transformer.")
_DOWN = ("lora_A", "lora.down", "down")
_LARGEST_SCALE = 1e4
# Fields of a PEFT configuration whose effect is not a plain product, and the value that means "off".
_OFF: dict[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "bias": (None, "none"),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "fan_in_fan_out": (None, False),
    "lora_bias": (None, False),
    "trainable_token_indices": (None,),
    "target_parameters": (None, []),
}


@dataclass
class _Pair:
    down: torch.Tensor | None = None
    up: torch.Tensor | None = None
    alpha: float | None = None


def merge_lora(path: Path, tensors: Tensors) -> str:
    """Adds the LoRA in `path` to `tensors`, in place.

    Args:
        tensors: float32 weights of the model, by name.

    Returns:
        What was merged, for a note: `32 layers of rank 8`.

    Raises:
        CheckpointError: the file is damaged, is of another model, or holds more than a plain LoRA.
    """
    stored = load_tensor_file(path)
    config = _config(path)
    pairs = _pairs(path, stored, tensors)
    for name, pair in pairs.items():
        weight = tensors[f"{name}.weight"]
        if pair.down is None or pair.up is None:
            raise _refused(path, f"{name} has only one of its two factors")
        rank = pair.down.shape[0]
        shape = (pair.up.shape[0], *pair.down.shape[1:])
        if pair.up.flatten(1).shape[1] != rank or shape != tuple(weight.shape):
            raise CheckpointError(
                f"{path}: the LoRA of {name} gives {shape}, the model has {tuple(weight.shape)}. Is it of this model?"
            )
        product = pair.up.flatten(1) @ pair.down.flatten(1)
        tensors[f"{name}.weight"] = weight + _scale(path, config, rank, pair.alpha) * product.reshape(weight.shape)
    ranks = sorted({pair.down.shape[0] for pair in pairs.values() if pair.down is not None})
    layers = "1 layer" if len(pairs) == 1 else f"{len(pairs)} layers"
    return f"{layers} of rank {', '.join(map(str, ranks))}"


def _pairs(path: Path, stored: Tensors, tensors: Tensors) -> dict[str, _Pair]:
    """The two factors of every layer, by its name in the model."""
    pairs: dict[str, _Pair] = {}
    for key, tensor in stored.items():
        alpha = key.removesuffix(".alpha")
        match = _FACTORS.fullmatch(key)
        if match is None and alpha == key:
            raise _refused(path, f"it holds {key}")
        old = match is not None and match["old"]
        module = _module(path, match["module"] if match else alpha, bool(old))
        if f"{module}.weight" not in tensors:
            raise CheckpointError(f"{path}: holds a LoRA for {module}, which this model does not have")
        pair = pairs.setdefault(module, _Pair())
        if match is None:
            pair.alpha = real_number(float(tensor), f"{path}: {key}", 0, LARGEST_SIZE)
        elif match["factor"] in _DOWN:
            pair.down = tensor
        else:
            pair.up = tensor
    if not pairs:
        raise _refused(path, "it holds no layers")
    return pairs


def _module(path: Path, name: str, old: bool) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if old:  # attention processors, before diffusers 0.22
        name = name.replace(".processor.", ".")
        name = f"{name}.0" if name.endswith(".to_out") else name
    return name


def _config(path: Path) -> dict[str, Any]:
    """The adapter's settings, from `adapter_config.json` or the file's own metadata; {} where a file has neither."""
    beside = path.with_name("adapter_config.json")
    if beside.exists():
        config, where = read_json(beside, "the configuration of a PEFT adapter"), beside
        if config.get("peft_type", "LORA") != "LORA":
            raise _refused(path, f"{beside.name} says it is a {config['peft_type']} adapter")
    else:
        config, where = _metadata(path), path
    for key, off in _OFF.items():
        if config.get(key) not in off:
            raise _refused(where, f"{key} is {json.dumps(config[key])[:60]}")
    return config


def _metadata(path: Path) -> dict[str, Any]:
    """The settings that diffusers writes into the file, without the prefix of the model."""
    check_file(path, "a LoRA")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("lora_adapter_metadata")
        settings = json.loads(text) if text else {}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its LoRA metadata is not readable ({error})") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path}: its LoRA metadata is no JSON object")
    return {str(key).removeprefix("unet."): value for key, value in settings.items()}


def _scale(path: Path, config: dict[str, Any], rank: int, alpha: float | None) -> float:
    """alpha / rank; alpha / sqrt(rank) with rsLoRA; 1 where no alpha is given, as diffusers does."""
    if alpha is None:
        if "lora_alpha" not in config:
            return 1.0
        alpha = real_number(config["lora_alpha"], f"{path}: lora_alpha", 0, _LARGEST_SCALE)
    if "r" in config and whole_number(config["r"], f"{path}: r") != rank:
        raise _refused(path, f"r is {config['r']}, a layer has rank {rank}")
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _refused(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: an adapter that cannot be merged here ({why}). Merge it where it was trained "
        "(PEFT: `merge_and_unload()`, diffusers: `fuse_lora()`) and save the model, or pass --weights model to export "
        "without it."
    )
