"""Attention weights over a short text in plain PyTorch."""

from __future__ import annotations

from torch import Tensor


def reference(tokens: Tensor, keys: Tensor, heads: int) -> Tensor:
    """(N, heads * T): for each token and head, softmax over the T scores `tokens @ keys^T`.

    Args:
        tokens: (N, C).
        keys: (heads * T, C), head by head: the keys of the text, multiplied by the query weights.
        heads: number of heads.
    """
    scores = tokens @ keys.t()
    return scores.unflatten(1, (heads, -1)).softmax(dim=-1).flatten(1)
