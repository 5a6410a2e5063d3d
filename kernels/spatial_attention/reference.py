"""Spatial attention in plain PyTorch."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def reference(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """(B, n, heads, d): softmax(scale * q k^T) v for each image and head.

    Args:
        query, key, value: (B, n, heads, d).
        scale: factor of the scores.
    """
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)
