"""Perceiver attention in plain PyTorch, on queries that are already multiplied by the key weights."""

from __future__ import annotations

import torch
from torch import Tensor


def reference(carried: Tensor, features: Tensor, own_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sum of the features for each row (F, R, D), and the weights of the queries among themselves (F, R, Q).

    One softmax over both: `[carried @ features^T ; own_scores]`.

    Args:
        carried: (F, R, D), R = heads * Q queries, each multiplied by the key weights of its head.
        features: (F, n, D), keys and values of all heads.
        own_scores: (F, R, Q), scores of the queries among themselves.
    """
    scores = torch.bmm(carried, features.transpose(1, 2))
    weights = torch.cat([scores, own_scores], dim=-1).softmax(dim=-1)
    count = features.shape[1]
    return torch.bmm(weights[..., :count], features), weights[..., count:].contiguous()
