"""GEGLU in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def reference(value: Tensor, gate: Tensor, inverse_step: float | None = None) -> Tensor:
    """(N, H): `value * gelu(gate)` with the exact GELU, or int8 steps of it.

    Args:
        value, gate: (N, H).
        inverse_step: steps of the int8 result per unit.
    """
    result = value * functional.gelu(gate)
    return result if inverse_step is None else (result * inverse_step).round().clamp(-128, 127).to(torch.int8)
