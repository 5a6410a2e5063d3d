"""What a distillation will take, before it is taken: disk for the teacher's outputs, memory for the training."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.checkpoint.model_configs import feature_pixels
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.video import VideoStudent

# Copies of every trained weight besides itself: gradient, two moments, moving average, the best one so far.
_COPIES = {"adamw": 5.0, "adamw8bit": 3.5}


def bytes_of_observation(teacher: Checkpoint, stride: int | None) -> int:
    """Disk that the teacher's outputs for one observation take.

    Args:
        stride: a student of the video model computes every `stride`-th frame; None: only the head is distilled.
    """
    spec, former = teacher.spec, teacher.config.former
    total = 2 * (math.prod(spec.tokens) + math.prod(spec.chunk_shape)) + 4 * teacher.config.head.goal_width
    if stride is not None:
        views = len(spec.cameras)
        pixels = feature_pixels(teacher.unet.config, spec.latent[-1], teacher.config.extract_layer)
        total += views * (former.frames // stride) * former.channels * pixels + 4 * former.channels
        total += math.prod(spec.frames_shape) + 2 * views * math.prod(spec.latent)
        total += 2 * spec.text_lengths[0] * teacher.unet.config["cross_attention_dim"]
    return total


def check_room(folder: Path, needed: int, limit_gib: float) -> None:
    """Raises BadInputError, with the numbers, where the teacher's outputs take more disk than is free or allowed.

    Args:
        folder: for the outputs, absolute; what an interrupted run left in it is taken already.
        needed: bytes of all of them.
    """
    free = shutil.disk_usage(next(parent for parent in folder.parents if parent.exists())).free
    kept = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    takes = f"{folder}: the teacher's outputs take {needed / 2**30:.2f} GiB"
    if needed > free + kept:
        there = f"{kept / 2**30:.2f} GiB are there already, {free / 2**30:.2f} GiB are free"
        raise BadInputError(f"{takes}, {there}; use fewer --observations, or another disk for -o")
    if needed > limit_gib * 2**30:
        raise BadInputError(
            f"{takes}; use fewer --observations, or allow it with --disk-limit {math.ceil(needed / 2**30)}"
        )


def bytes_of_training(student: VideoStudent, activations: int, batch: int, optimizer: str) -> int:
    """Memory of a training step.

    Args:
        activations: bytes that one row of the batch keeps for its gradient (`activation_bytes`).
        batch: rows that are computed at once on one device.
    """
    weights = sum(p.nbytes for p in student.parameters())
    trained = sum(p.nbytes for p in student.parameters() if p.requires_grad)
    return int(weights + _COPIES[optimizer] * trained + activations * batch)


def activation_bytes(compute: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes that a computation keeps for its gradient, besides the weights of `module`.

    On the meta device nothing is computed and nothing is taken.
    """
    weights = {p.untyped_storage()._cdata for p in (*module.parameters(), *module.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = compute()
    total = sum(storage.nbytes() for storage in kept.values())
    del result
    return total
