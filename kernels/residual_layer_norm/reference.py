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
    """The new residual stream and, if there is a weight, its LayerNorm; each (B, F, n, C).

    Without `blended` the stream is `residual + update`, with it `share * blended + (1 - share) * residual + update`.

    Args:
        residual, update: (B, F, n, C).
        weight, bias: (C,) of the norm, or None for no norm.
        positions: (F, C), the embedding of the frame index, added before the norm.
        keep_positions: whether the stream includes the positions.
        blended: (B, F, n, C), the spatial stream; `residual` is then the temporal one.
        share: weight of `blended`.
        eps: added to the variance.
        inverse_step: 1 / quantization step of an int8 norm.
    """
    if blended is not None:
        residual = share * blended + (1 - share) * residual
    stream = residual + update
    positioned = stream if positions is None else stream + positions[:, None]
    stream = positioned if keep_positions else stream
    if weight is None:
        return (stream,)
    normed = functional.layer_norm(positioned, weight.shape, weight=weight, bias=bias, eps=eps)
    if inverse_step is not None:
        normed = (normed * inverse_step).round().clamp(-128, 127).to(torch.int8)
    return stream, normed
