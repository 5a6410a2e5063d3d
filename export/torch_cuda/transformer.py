"""Transformers of the UNet on our kernels: the exact transformer with one pass between two matrix products.

One kernel fuses what is between two products: residual sum, frame position embedding, blend of the spatial and temporal
streams, and LayerNorm. Nothing is transposed: attention reads the packed product by stride.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpp_edge.export.exact.attention import GatedFeedForward, SelfAttention, TextAttention
from vpp_edge.export.exact.transformer import TransformerLayer, VideoTransformer
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.export.torch_cuda.resnet import add_residual

Grid = tuple[int, int, int]


class FusedTransformer(nn.Module):
    """VideoTransformer on fused operations, with cached text.

    Args:
        exact: provides the weights, which are shared, not copied.
    """

    def __init__(self, exact: VideoTransformer, operations: Operations) -> None:
        super().__init__()
        self.frames, self.operations = exact.frames, operations
        self.groups, self.eps = exact.norm.num_groups, exact.norm.eps
        self.proj_in, self.proj_out = exact.proj_in, exact.proj_out
        self.layers = nn.ModuleList(_Layer(layer, exact.positions[:, 0], operations) for layer in exact.layers)
        self.register_buffer("ones", torch.ones_like(exact.norm.weight), persistent=False)
        self.register_buffer("zeros", torch.zeros_like(exact.norm.weight), persistent=False)

    def cache_text(self, text: Tensor) -> None:
        """Compute and keep keys and values of a text (1, 20, S) for all following inferences."""
        for layer in self.layers:
            layer.spatial_text.cache_text(text)
            layer.temporal_text.cache_text(text)

    def forward(self, x: Tensor, text: None = None) -> Tensor:
        """(V * F, C, h, w) from (V * F, C, h, w) and the cached text."""
        images, channels, height, width = x.shape
        grid = (images // self.frames, self.frames, height * width)
        normed = self.operations["group_norm_silu"](
            x=x.flatten(2), weight=self.ones, bias=self.zeros, shift=None, groups=self.groups, eps=self.eps, silu=False
        )
        tokens = self.proj_in(normed.transpose(1, 2).reshape(-1, channels))
        for layer in self.layers:
            tokens = layer(tokens, grid)
        update = self.proj_out(tokens).unflatten(0, (images, height, width))
        return add_residual(self.operations, x, update)


class _Layer(nn.Module):
    def __init__(self, exact: TransformerLayer, positions: Tensor, operations: Operations) -> None:
        super().__init__()
        self.share, self.operations = exact.share, operations
        pixels, frames = exact.spatial, exact.temporal
        self.norm1, self.norm2 = pixels.norm1, pixels.norm2
        self.frames_norm1, self.frames_norm2 = frames.norm1, frames.norm2
        self.spatial, self.temporal = (FusedSelfAttention(a.attention, operations) for a in (pixels, frames))
        self.spatial_text, self.temporal_text = (CachedTextAttention(a.text, operations) for a in (pixels, frames))
        self.spatial_feed, self.feed_in, self.temporal_feed = (
            FusedFeedForward(f, operations) for f in (exact.spatial_feed, exact.feed_in, exact.temporal_feed)
        )
        self.register_buffer("positions", positions, persistent=False)  # (F, C)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(V * F * n, C) from (V * F * n, C)."""
        normed = self.norm1(x)
        x, normed = self._norm(x, self.spatial(normed, grid), self.norm2, grid)
        x, normed = self._norm(x, self.spatial_text(normed), self.spatial_feed, grid)
        # The final blend needs the spatial stream without the positions; the temporal stream includes them.
        x, normed = self._norm(x, self.spatial_feed(normed), self.feed_in, grid, positions=self.positions)
        update = self.feed_in(normed)
        y, normed = self._norm(x, update, self.frames_norm1, grid, positions=self.positions, keep_positions=True)
        y, normed = self._norm(y, self.temporal(normed, grid), self.frames_norm2, grid)
        y, normed = self._norm(y, self.temporal_text(normed), self.temporal_feed, grid)
        (blend,) = self.operations["residual_layer_norm"](
            residual=y.view(*grid, -1),
            update=self.temporal_feed(normed).view(*grid, -1),
            weight=None,
            bias=None,
            blended=x.view(*grid, -1),
            share=self.share,
        )
        return blend.view(x.shape)

    def _norm(
        self,
        residual: Tensor,
        update: Tensor,
        norm: nn.LayerNorm | FusedFeedForward,
        grid: Grid,
        positions: Tensor | None = None,
        keep_positions: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The stream `residual + update`, and its norm (with the positions); both (V * F * n, C)."""
        stream, normed = self.operations["residual_layer_norm"](
            residual=residual.view(*grid, -1),
            update=update.view(*grid, -1),
            weight=norm.weight,
            bias=norm.bias,
            positions=positions,
            keep_positions=keep_positions,
            eps=norm.eps,
        )
        return stream.view(residual.shape), normed.view(residual.shape)


class FusedSelfAttention(nn.Module):
    """SelfAttention that reads the packed qkv product by stride."""

    def __init__(self, exact: SelfAttention, operations: Operations) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = exact.heads, exact.qkv, exact.out
        self.over_frames = exact.over_frames
        self.attend = operations["temporal_attention" if exact.over_frames else "spatial_attention"]

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(V * F * n, C) from (V * F * n, C); the weights include 1 / sqrt(d)."""
        views, frames, pixels = grid
        images = grid if self.over_frames else (views * frames, pixels)
        query, key, value = self.qkv(x).view(*images, 3, self.heads, -1).unbind(-3)
        mixed = self.attend(query=query, key=key, value=value, scale=1.0)
        return self.out(mixed.reshape(x.shape[0], -1))


class CachedTextAttention(nn.Module):
    """TextAttention whose keys and values are computed once per instruction and keep their addresses."""

    def __init__(self, exact: TextAttention, operations: Operations) -> None:
        super().__init__()
        self.exact, self.attend = exact, operations["text_attention"]
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def cache_text(self, text: Tensor) -> None:
        keys, values = self.exact.sides(text)
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
        else:
            self.keys.copy_(keys)
            self.values.copy_(values)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) from tokens (N, C)."""
        if self.keys is None or self.values is None:
            raise RuntimeError("no text is cached: call cache_text first")
        return torch.matmul(self.attend(tokens=x, keys=self.keys, heads=self.exact.heads), self.values)


class FusedFeedForward(nn.Module):
    """GatedFeedForward without its LayerNorm, which is fused with the residual sum before it.

    Attributes:
        weight, bias, eps: of that norm; 1 and 0, because its scale and shift are folded into the following products.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, exact: GatedFeedForward, operations: Operations) -> None:
        super().__init__()
        self.value, self.gate, self.out, self.eps = exact.value, exact.gate, exact.out, exact.norm.eps
        self.product = operations["geglu"]
        like = exact.value.weight[0]  # (C,)
        self.register_buffer("weight", torch.ones_like(like), persistent=False)
        self.register_buffer("bias", torch.zeros_like(like), persistent=False)

    def forward(self, normed: Tensor) -> Tensor:
        """(N, C) from normalized (N, C)."""
        return self.out(self.product(value=self.value(normed), gate=self.gate(normed)))
