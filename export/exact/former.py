"""Video Former after its first Linear, from the output of the VideoReader, with fewer operations.

Every layer of the eager former computes keys and values of all features. Here the queries are projected into the space
of the features instead: `q (x Wk)^T = (q Wk^T) x^T`, and `p (x Wv) = (p x) Wv`. A frame has 14 queries and 256
features per view.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.exact.folding import linear_from_tensors, standardized
from vpp_edge.export.functions.calls import attend
from vpp_edge.model.former import FrameAttention, LinearFormer, PerceiverAttention, VideoFormer


def reader_of(former: Any) -> nn.Linear:
    """The Linear of a Video Former that reads the features of the video model."""
    layer: nn.Linear = former if isinstance(former, LinearFormer) else former.goal_emb[0]
    return layer


def exact_former(former: Any) -> nn.Module:
    """The lean form of a Video Former, without the Linear that `reader_of` returns."""
    return LeanLinearFormer(former) if isinstance(former, LinearFormer) else LeanFormer(former)


class LeanFormer(nn.Module):
    """The 3D and 2D variants.

    All layers see the same features, each through its own LayerNorm: standardized once, the rest is in the weights.
    The first layer's queries are constants, and so are their products with the keys.
    """

    def __init__(self, former: VideoFormer) -> None:
        super().__init__()
        second: Any = former.goal_emb[2]
        frames = former.latents.shape[0]
        self.features = linear_from_tensors(second.weight)
        shift = former.time_pos_emb.detach()[:frames] + second.bias.detach()
        self.register_buffer("shift", shift, persistent=False)  # (F, 1, D): bias and time embedding
        self.register_buffer("latents", former.latents.detach(), persistent=False)
        layers: list[Any] = list(former.layers)
        self.standard = layers[0][0].norm_media
        self.perceivers = nn.ModuleList(Perceiver(perceive) for perceive, *_ in layers)
        self.mixers = nn.ModuleList(
            nn.ModuleList(LeanFrameAttention(m) if isinstance(m, FrameAttention) else m for m in mix)
            for _, *mix in layers
        )
        self.norm = former.norm
        with torch.no_grad():
            first = self.perceivers[0]
            sides = first.sides(first.norm(self.latents))
        for name, tensor in zip(("carried", "scores", "values"), sides, strict=True):
            self.register_buffer(f"first_{name}", tensor, persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """(1, F * q, D) tokens from (V, F, P, h', w', K): features are a set here, their order has no meaning.

        With K frames instead, K a divisor of F, each of them is repeated F / K times.
        """
        features, queries = self.standard_features(hidden), self.latents
        sides = (self.first_carried, self.first_scores, self.first_values)
        for index, (perceive, mix) in enumerate(zip(self.perceivers, self.mixers, strict=True)):
            sides = perceive.sides(perceive.norm(queries)) if index else sides
            queries = queries + perceive(features, *sides)
            for module in mix:
                queries = queries + module(queries)
        return self.norm(queries.flatten(0, 1))[None]

    def standard_features(self, hidden: Tensor) -> Tensor:
        """(F, n, D): the features that every perceiver attends to, after a LayerNorm without scale and shift."""
        hidden = hidden.transpose(0, 1).flatten(1, 4)
        features = repeated(self.features(functional.gelu(hidden)), self.shift.shape[0])
        return standardized(features + self.shift, self.standard)


class Perceiver(nn.Module):
    """PerceiverAttention on standardized features: one softmax over two blocks of scores, no wide concatenation.

    The shift of the features' LayerNorm adds `q . b` to the scores of all features. Softmax ignores a constant, so
    it is subtracted on the other side, from the queries' own keys; for values it moves to the output.
    """

    def __init__(self, eager: PerceiverAttention) -> None:
        super().__init__()
        heads = self.heads = eager.heads
        self.norm = eager.norm_latents
        q, k, v, out = (layer.weight.detach() for layer in (eager.to_q, eager.to_k, eager.to_v, eager.to_out))
        gain, shift = eager.norm_media.weight.detach(), eager.norm_media.bias.detach().double()
        key_shift, value_shift = (w.double() @ shift for w in (k, v))
        bias = torch.cat([torch.zeros_like(key_shift), -key_shift, -value_shift]).to(q.dtype)
        self.qkv = linear_from_tensors(torch.cat([q * (q.shape[0] // heads) ** -0.5, k, v]), bias)
        self.out = linear_from_tensors(out, (out.double() @ value_shift).to(q.dtype))
        self.key = nn.Parameter((k * gain).unflatten(0, (heads, -1)), requires_grad=False)  # (heads, d, D)
        values = (v * gain).unflatten(0, (heads, -1)).transpose(1, 2).contiguous()
        self.value = nn.Parameter(values, requires_grad=False)  # (heads, D, d)

    def sides(self, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From queries (F, q, D) behind `norm`: themselves carried to the features (F, heads, q, D), their scores among
        themselves (F, heads, q, q), and their values (F, heads, q, d)."""
        split = self.qkv(queries).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4).flatten(0, 1).chunk(3)
        return torch.matmul(q, self.key), torch.matmul(q, k.transpose(-1, -2)), v

    def forward(self, features: Tensor, carried: Tensor, scores: Tensor, values: Tensor) -> Tensor:
        """(F, q, D) from standardized features (F, n, D) and the result of `sides`."""
        count = features.shape[1]
        seen = self._times(carried, features.transpose(1, 2))
        weights = torch.cat([seen, scores], dim=-1).softmax(dim=-1)  # (F, heads, q, n + q)
        gathered = self._times(weights[..., :count], features)
        mixed = torch.matmul(gathered, self.value) + torch.matmul(weights[..., count:], values)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _times(self, rows: Tensor, matrices: Tensor) -> Tensor:
        """(F, heads, q, m) from (F, heads, q, n) and (F, n, m), as one product per frame.

        With as many frames as heads, onnxscript 0.7.2 removes the reshapes around that product as redundant, and MatMul
        then pairs heads with matrices. So that case broadcasts over the heads explicitly.
        """
        if matrices.shape[0] == self.heads:
            return torch.matmul(rows, matrices[:, None])
        return torch.matmul(rows.flatten(1, 2), matrices).unflatten(1, (self.heads, -1))


class LeanFrameAttention(nn.Module):
    """FrameAttention in the layout of the queries: only the heads are permuted."""

    def __init__(self, eager: FrameAttention) -> None:
        super().__init__()
        self.heads, self.proj = eager.heads, eager.proj
        width = eager.proj.in_features
        scale = torch.ones(3 * width)
        scale[:width] = (width // eager.heads) ** -0.5
        self.qkv = linear_from_tensors(eager.qkv.weight.detach() * scale[:, None], eager.qkv.bias.detach() * scale)

    def forward(self, queries: Tensor) -> Tensor:
        """(F, q, D) from (F, q, D)."""
        split = self.qkv(queries).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 1, 3, 0, 4).flatten(0, 1).chunk(3)  # (q, heads, F, d)
        return self.proj(attend(q, k, v).permute(2, 0, 1, 3).flatten(2))


class LeanLinearFormer(nn.Module):
    """The `linear` variant: the reader has computed the tokens, which are reordered to the order of the pixels."""

    def __init__(self, former: LinearFormer) -> None:
        super().__init__()
        self.frames = former.frames

    def forward(self, hidden: Tensor) -> Tensor:
        """(1, F * V * h' * w', D) tokens from (V, F, P, h', w', D), or from a divisor of F frames."""
        factor = 2 if hidden.shape[2] == 4 else 1
        grid = hidden[:, : self.frames].unflatten(2, (factor, factor))  # (V, F, a, b, h, w, D)
        tokens = grid.permute(1, 0, 4, 2, 5, 3, 6).flatten(1, 5)
        return repeated(tokens, self.frames).flatten(0, 1)[None]


def repeated(features: Tensor, frames: int) -> Tensor:
    """(frames, n, D) from (K, n, D): each frame frames / K times in a row. A no-op if K = frames."""
    computed, count, width = features.shape
    if computed == frames:
        return features
    return features[:, None].expand(-1, frames // computed, -1, -1).reshape(frames, count, width)
