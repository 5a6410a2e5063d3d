"""Temporal attention in plain PyTorch: permute so that a pixel's frames are adjacent, attend, permute back."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def reference(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """(B, F, n, heads, d): for each pixel and head, softmax(scale * q k^T) v over the F frames.

    Args:
        query, key, value: (B, F, n, heads, d), n positions per frame.
        scale: factor of the scores.
    """
    batch, frames, positions, heads, width = query.shape
    query, key, value = (
        x.permute(0, 2, 3, 1, 4).reshape(batch * positions, heads, frames, width) for x in (query, key, value)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=scale)
    return mixed.reshape(batch, positions, heads, frames, width).permute(0, 3, 1, 2, 4).contiguous()
