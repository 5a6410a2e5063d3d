"""Video Former on our kernels: in, the exact former; out, the same with its residual sums and norms in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.exact.former import LeanFormer, LeanFrameAttention, Perceiver
from vpp_edge.export.torch_cuda.operations import Operations


class JoinedFormer(nn.Module):
    """LeanFormer on joined operations.

    Args:
        exact: its weights are used in place.
    """

    def __init__(self, exact: LeanFormer, operations: Operations) -> None:
        super().__init__()
        self.exact, self.add = exact, operations["residual_layer_norm"]
        self.perceivers = nn.ModuleList(JoinedPerceiver(p, operations) for p in _list(exact.perceivers))
        self.frame_attentions = nn.ModuleList()
        self.feed_forwards = nn.ModuleList()
        for mix in _list(exact.mixers):
            *attention, feed_forward = mix
            self.frame_attentions.append(JoinedFrameAttention(attention[0], operations) if attention else nn.Identity())
            self.feed_forwards.append(feed_forward)

    def forward(self, hidden: Tensor) -> Tensor:
        """(1, F * q, D) tokens; see LeanFormer.forward."""
        features, queries = self.exact.standard_features(hidden), self.exact.latents
        sides = self.exact.first_carried, self.exact.first_scores, self.exact.first_values
        perceivers = _list(self.perceivers)
        layers = zip(perceivers, self.frame_attentions, _list(self.feed_forwards), strict=True)
        for index, (perceive, mix, (norm, *products)) in enumerate(layers, start=1):
            update = perceive(features, *sides)
            if isinstance(mix, JoinedFrameAttention):
                queries = queries + update
                update = mix(queries)
            queries, update = self._add(queries, update, norm)
            for product in products:
                update = product(update)
            following = perceivers[index].exact if index < len(perceivers) else self.exact
            queries, normed = self._add(queries, update, following.norm)
            if following is not self.exact:
                sides = following.sides(normed)
        return normed.flatten(0, 1)[None]

    def _add(self, queries: Tensor, update: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """The stream and the norm of it, both (F, q, D)."""
        stream, normed = self.add(
            residual=queries[None], update=update[None], weight=norm.weight, bias=norm.bias, eps=norm.eps
        )
        return stream[0], normed[0]


class JoinedPerceiver(nn.Module):
    """Perceiver whose softmax runs over features and queries without putting them together."""

    def __init__(self, exact: Perceiver, operations: Operations) -> None:
        super().__init__()
        self.exact, self.attend = exact, operations["perceiver_attention"]

    def forward(self, features: Tensor, carried: Tensor, scores: Tensor, values: Tensor) -> Tensor:
        """(F, q, D) from standardized features (F, n, D) and what `Perceiver.sides` gave."""
        gathered, weights = self.attend(
            carried=carried.flatten(1, 2), features=features, own_scores=scores.flatten(1, 2)
        )
        heads = (self.exact.heads, -1)
        mixed = torch.matmul(gathered.unflatten(1, heads), self.exact.value)
        mixed = mixed + torch.matmul(weights.unflatten(1, heads), values)
        return self.exact.out(mixed.transpose(1, 2).flatten(2))


class JoinedFrameAttention(nn.Module):
    """LeanFrameAttention whose product is attended to where it lies."""

    def __init__(self, exact: LeanFrameAttention, operations: Operations) -> None:
        super().__init__()
        self.exact, self.attend = exact, operations["temporal_attention"]

    def forward(self, queries: Tensor) -> Tensor:
        """(F, q, D) from (F, q, D)."""
        query, key, value = self.exact.qkv(queries).unflatten(-1, (3, self.exact.heads, -1))[None].unbind(3)
        return self.exact.proj(self.attend(query=query, key=key, value=value, scale=1.0)[0].flatten(2))


def _list(modules: Any) -> list[Any]:
    return list(modules)
