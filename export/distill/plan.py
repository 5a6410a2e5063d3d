"""What a distillation will take, before it is taken: disk for the teacher's outputs, memory for the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.distill.video import VideoStudent
from vpp_edge.spec.policy import PolicySpec

# Copies of every trained weight besides itself: gradient, two moments, moving average, the best one so far.
_COPIES = {"adamw": 5.0, "adamw8bit": 3.5}


def bytes_of_observation(spec: PolicySpec, text_width: int, features: tuple[int, int, int, int, int] | None) -> int:
    """Disk that the teacher's outputs for one observation take.

    Args:
        features: (V, F', C, h', w') that a student of the video model learns from; None: only the head is distilled.
    """
    length, width = spec.tokens
    horizon, actions = spec.chunk_shape
    total = 2 * (length * width + horizon * actions)
    if features is not None:
        views, frames, channels, height, side = features
        count, rows, columns, colors = spec.frames_shape
        latent, tall, wide = spec.latent
        total += views * frames * channels * height * side + 4 * channels + count * rows * columns * colors
        total += 2 * (spec.text_lengths[0] * text_width + views * latent * tall * wide)
    return total


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
