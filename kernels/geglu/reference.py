"""GEGLU in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def reference(value: Tensor, gate: Tensor, inverse_step: float | None = None) -> Tensor:
    """(N, H): `value * gelu(gate)` with the exact GELU, or the same quantized to int8.

    Args:
        value, gate: (N, H).
        inverse_step: 1 / quantization step of an int8 result.
    """
    result = value * functional.gelu(gate)
    return result if inverse_step is None else (result * inverse_step).round().clamp(-128, 127).to(torch.int8)
