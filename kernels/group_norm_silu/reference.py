"""GroupNorm and SiLU in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    shift: Tensor | None,
    groups: int,
    eps: float,
    silu: bool,
    inverse_step: float | None = None,
) -> Tensor:
    """(B, C, S): silu(group_norm(x + shift)), or the same quantized to int8.

    Args:
        x: (B, C, S).
        weight, bias: (C,).
        shift: (B, C), the time embedding, or None for blocks without one.
        groups: number of groups.
        eps: added to the variance of a group.
        silu: whether to apply the activation.
        inverse_step: 1 / quantization step of an int8 result.
    """
    if shift is not None:
        x = x + shift[:, :, None]
    x = functional.group_norm(x, groups, weight=weight, bias=bias, eps=eps)
    x = functional.silu(x) if silu else x
    return x if inverse_step is None else (x * inverse_step).round().clamp(-128, 127).to(torch.int8)
