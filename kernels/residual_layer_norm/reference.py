"""Residual sums and LayerNorm in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def reference(
    residual: Tensor, update: Tensor, weight: Tensor | None, bias: Tensor | None,
    positions: Tensor | None = None, keep_positions: bool = False, blended: Tensor | None = None,
    share: float = 0.0, eps: float = 1e-5, inverse_step: float | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The new residual stream, and where there is a weight its LayerNorm, each (B, F, n, C).

    Without `blended` the stream is `residual + update`, with it `share * blended + (1 - share) * residual + update`.

    Args:
        residual, update: (B, F, n, C).
        weight, bias: (C,) of the norm.
        positions: (F, C), the embedding of a frame's number, added before the norm.
        keep_positions: whether they stay in the stream.
        blended: (B, F, n, C), the stream of the pixels, where `residual` is that of the frames.
        share: of `blended`.
        eps: added to the variance.
        inverse_step: steps of an int8 norm per unit.
    """
    if blended is not None:
        residual = share * blended + (1 - share) * residual
    stream = residual + update
    placed = stream if positions is None else stream + positions[:, None]
    kept = placed if keep_positions else stream
    if weight is None:
        return (kept,)
    normed = functional.layer_norm(placed, weight.shape, weight, bias, eps)
    if inverse_step is not None:
        normed = (normed * inverse_step).round().clamp(-128, 127).to(torch.int8)
    return kept, normed
