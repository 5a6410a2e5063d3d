"""Perceiver attention in plain PyTorch, on queries that were carried to the features."""

from __future__ import annotations

import torch
from torch import Tensor


def reference(carried: Tensor, features: Tensor, own_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Features gathered for each row (F, R, D), and the weights of the queries among themselves (F, R, Q).

    One softmax runs over both: `[carried @ features^T ; own_scores]`.

    Args:
        carried: (F, R, D): R = heads * Q queries, each taken through its head's key layer back to the features.
        features: (F, n, D), keys and values of all heads.
        own_scores: (F, R, Q) of the queries' own keys.
    """
    seen = torch.bmm(carried, features.transpose(1, 2))
    weights = torch.cat([seen, own_scores], dim=-1).softmax(dim=-1)
    count = features.shape[1]
    return torch.bmm(weights[..., :count], features), weights[..., count:].contiguous()
