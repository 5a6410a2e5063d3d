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
    """(B, C, S): silu(group_norm(x + shift)), or int8 steps of it.

    Args:
        x: (B, C, S).
        weight, bias: (C,).
        shift: (B, C), the time embedding, where the block adds one.
        groups: of channels.
        eps: added to a group's variance.
        silu: whether the activation follows.
        inverse_step: steps of the int8 result per unit.
    """
    if shift is not None:
        x = x + shift[:, :, None]
    x = functional.group_norm(x, groups, weight, bias, eps)
    x = functional.silu(x) if silu else x
    return x if inverse_step is None else (x * inverse_step).round().clamp(-128, 127).to(torch.int8)
