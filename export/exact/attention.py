"""Attention and feed-forward layers of diffusers on tokens, as fewer and larger products.

Everything works on (N, C) tokens, so that a Linear is one product with its bias; heads are split inside attention.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.exact.folding import linear_after_norm, linear_from_tensors, scaled_linear, standardized
from vpp_edge.export.functions.calls import spatial_attention, temporal_attention, text_attention


class SelfAttention(nn.Module):
    """Self-attention along one axis of a (V, F, n) grid of tokens: query, key and value are one product.

    Args:
        attention: diffusers' Attention with `to_q`, `to_k`, `to_v` without bias and `to_out`.
        over_frames: whether a token attends to its pixel in all frames, or to all pixels of its frame.
    """

    def __init__(self, attention: Any, over_frames: bool) -> None:
        super().__init__()
        self.heads, self.over_frames = attention.heads, over_frames
        query = attention.to_q.weight.detach() * attention.scale
        self.qkv = linear_from_tensors(torch.cat([query, attention.to_k.weight, attention.to_v.weight]))
        self.out = attention.to_out[0]

    def forward(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """(V * F * n, C) from (V * F * n, C).

        Args:
            grid: (V, F, n).
        """
        packed, (views, frames, _) = self.qkv(x), grid
        if self.over_frames:
            return self.out(temporal_attention(packed, grid, self.heads))
        return self.out(spatial_attention(packed, views * frames, self.heads))


class TextAttention(nn.Module):
    """Cross-attention of any number of tokens over one short text that they share.

    Neither queries nor values are computed per token. Head h's scores are `(x Wq) (t Wk)^T = x (Wq (t Wk)^T)`: the
    bracket, (C, 20) per head, is computed once per call, and so is `(t Wv) Wo` for the values. A token then costs
    two products of width heads * 20 instead of two of width C and two with 20 keys. The bias of the output layer is
    spread over the values, since the weights of a head sum to one.

    Args:
        attention: diffusers' Attention over text of width S; C = heads * d.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        heads = self.heads = attention.heads

        def by_head(weight: Tensor) -> nn.Parameter:  # (heads, in, d) of (heads * d, in)
            return _constant(weight.detach().unflatten(0, (heads, -1)).transpose(1, 2).contiguous())

        self.key, self.value = by_head(attention.to_k.weight), by_head(attention.to_v.weight)
        query = attention.to_q.weight.detach() * attention.scale
        out = attention.to_out[0]
        self.query = _constant(query.unflatten(0, (heads, -1)))  # (heads, d, C)
        self.out = _constant(out.weight.detach().t().unflatten(0, (heads, -1)).contiguous())  # (heads, d, C)
        self.out_share = _constant(out.bias.detach() / heads)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """(N, C) from tokens (N, C) and text (1, 20, S)."""
        keys, values = self.sides(text)
        return torch.matmul(text_attention(x, keys, self.heads), values)

    def sides(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a text (1, 20, S), both (heads * 20, C)."""
        keys = torch.matmul(torch.matmul(text, self.key), self.query).flatten(0, 1)
        values = torch.matmul(torch.matmul(text, self.value), self.out).flatten(0, 1) + self.out_share
        return keys, values


class GatedFeedForward(nn.Module):
    """`Linear(value * gelu(gate))` after a LayerNorm, whose scale and shift are folded into the weights.

    The two halves are separate products, so the engine does not have to split one large result.

    Args:
        norm: the LayerNorm before it.
        feed_forward: diffusers' FeedForward with GEGLU.
        scale: of the result.
    """

    def __init__(self, norm: nn.LayerNorm, feed_forward: Any, scale: float = 1.0) -> None:
        super().__init__()
        self.norm = norm
        both = linear_after_norm(feed_forward.net[0].proj, norm)
        self.value, self.gate = (
            linear_from_tensors(w, b) for w, b in zip(both.weight.chunk(2), both.bias.chunk(2), strict=True)
        )
        self.out = scaled_linear(feed_forward.net[2], scale) if scale != 1.0 else feed_forward.net[2]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) from (N, C)."""
        standard = standardized(x, self.norm)
        return self.out(self.value(standard) * functional.gelu(self.gate(standard)))


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
