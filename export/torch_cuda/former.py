"""Video Former on our kernels: the exact former with residual sums and norms fused into one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.exact.former import LeanFormer, LeanFrameAttention, Perceiver
from vpp_edge.export.torch_cuda.operations import Operations


class FusedFormer(nn.Module):
    """LeanFormer on fused operations.

    Args:
        exact: provides the weights, which are shared, not copied.
    """

    def __init__(self, exact: LeanFormer, operations: Operations) -> None:
        super().__init__()
        self.exact, self.add = exact, operations["residual_layer_norm"]
        self.perceivers = nn.ModuleList(FusedPerceiver(p, operations) for p in _list(exact.perceivers))
        self.frame_attentions = nn.ModuleList()
        self.feed_forwards = nn.ModuleList()
        for mix in _list(exact.mixers):
            *attention, feed_forward = mix
            self.frame_attentions.append(FusedFrameAttention(attention[0], operations) if attention else nn.Identity())
            self.feed_forwards.append(feed_forward)

    def forward(self, hidden: Tensor) -> Tensor:
        """(1, F * q, D) tokens; see LeanFormer.forward."""
        features, queries = self.exact.standard_features(hidden), self.exact.latents
        sides = self.exact.first_carried, self.exact.first_scores, self.exact.first_values
        perceivers = _list(self.perceivers)
        layers = zip(perceivers, self.frame_attentions, _list(self.feed_forwards), strict=True)
        for index, (perceive, mix, (norm, *products)) in enumerate(layers, start=1):
            update = perceive(features, *sides)
            if isinstance(mix, FusedFrameAttention):
                queries = queries + update
                update = mix(queries)
            queries, update = self._add(queries, update, norm)
            for product in products:
                update = product(update)
            successor = perceivers[index].exact if index < len(perceivers) else self.exact
            queries, normed = self._add(queries, update, successor.norm)
            if successor is not self.exact:
                sides = successor.sides(normed)
        return normed.flatten(0, 1)[None]

    def _add(self, queries: Tensor, update: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """The new stream and its norm, both (F, q, D)."""
        stream, normed = self.add(
            residual=queries[None], update=update[None], weight=norm.weight, bias=norm.bias, eps=norm.eps
        )
        return stream[0], normed[0]


class FusedPerceiver(nn.Module):
    """Perceiver whose softmax runs over features and queries without concatenating them."""

    def __init__(self, exact: Perceiver, operations: Operations) -> None:
        super().__init__()
        self.exact, self.attend = exact, operations["perceiver_attention"]

    def forward(self, features: Tensor, carried: Tensor, scores: Tensor, values: Tensor) -> Tensor:
        """(F, q, D) from standardized features (F, n, D) and the results of `Perceiver.sides`."""
        gathered, weights = self.attend(
            carried=carried.flatten(1, 2), features=features, own_scores=scores.flatten(1, 2)
        )
        heads = (self.exact.heads, -1)
        mixed = torch.matmul(gathered.unflatten(1, heads), self.exact.value)
        mixed = mixed + torch.matmul(weights.unflatten(1, heads), values)
        return self.exact.out(mixed.transpose(1, 2).flatten(2))


class FusedFrameAttention(nn.Module):
    """LeanFrameAttention that reads the packed qkv product by stride."""

    def __init__(self, exact: LeanFrameAttention, operations: Operations) -> None:
        super().__init__()
        self.exact, self.attend = exact, operations["temporal_attention"]

    def forward(self, queries: Tensor) -> Tensor:
        """(F, q, D) from (F, q, D)."""
        query, key, value = self.exact.qkv(queries).unflatten(-1, (3, self.exact.heads, -1))[None].unbind(3)
        return self.exact.proj(self.attend(query=query, key=key, value=value, scale=1.0)[0].flatten(2))


def _list(modules: Any) -> list[Any]:
    return list(modules)
