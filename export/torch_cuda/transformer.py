"""Transformers of the UNet on our kernels: in, the exact transformer; out, the same with one pass between two products.

Between two products lie a residual sum, the embedding of a frame's number, the blend of pixels and frames, and a
LayerNorm: one kernel. Nothing is transposed: attention reads the packed product by stride.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpp_edge.export.exact.attention import GatedFeedForward, SelfAttention, TextAttention
from vpp_edge.export.exact.transformer import TransformerLayer, VideoTransformer
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.export.torch_cuda.resnet import add_rows

Grid = tuple[int, int, int]


class JoinedTransformer(nn.Module):
    """VideoTransformer on joined operations; it remembers its text.

    Args:
        exact: its weights are used in place.
    """

    def __init__(self, exact: VideoTransformer, operations: Operations) -> None:
        super().__init__()
        self.frames, self.operations = exact.frames, operations
        self.groups, self.eps = exact.norm.num_groups, exact.norm.eps
        self.proj_in, self.proj_out = exact.proj_in, exact.proj_out
        self.layers = nn.ModuleList(_Layer(layer, exact.positions[:, 0], operations) for layer in exact.layers)
        self.register_buffer("ones", torch.ones_like(exact.norm.weight), persistent=False)
        self.register_buffer("zeros", torch.zeros_like(exact.norm.weight), persistent=False)

    def remember(self, text: Tensor) -> None:
        """Keys and values of a text (1, 20, S), for every inference from now on."""
        for layer in self.layers:
            layer.spatial_text.remember(text)
            layer.temporal_text.remember(text)

    def forward(self, x: Tensor, text: None = None) -> Tensor:
        """(V * F, C, h, w) from (V * F, C, h, w) and the text that was remembered."""
        images, channels, height, width = x.shape
        grid = (images // self.frames, self.frames, height * width)
        normed = self.operations["group_norm_silu"](
            x=x.flatten(2), weight=self.ones, bias=self.zeros, shift=None, groups=self.groups, eps=self.eps, silu=False
        )
        tokens = self.proj_in(normed.transpose(1, 2).reshape(-1, channels))
        for layer in self.layers:
            tokens = layer(tokens, grid)
        update = self.proj_out(tokens).unflatten(0, (images, height, width))
        return add_rows(self.operations, x, update)


class _Layer(nn.Module):
    def __init__(self, exact: TransformerLayer, positions: Tensor, operations: Operations) -> None:
        super().__init__()
        self.share, self.operations = exact.share, operations
        pixels, frames = exact.spatial, exact.temporal
        self.norm1, self.norm2 = pixels.norm1, pixels.norm2
        self.frames_norm1, self.frames_norm2 = frames.norm1, frames.norm2
        self.spatial, self.temporal = (JoinedSelfAttention(a.attention, operations) for a in (pixels, frames))
        self.spatial_text, self.temporal_text = (RememberedText(a.text, operations) for a in (pixels, frames))
        self.spatial_feed, self.feed_in, self.temporal_feed = (
            JoinedFeedForward(f, operations) for f in (exact.spatial_feed, exact.feed_in, exact.temporal_feed)
        )
        self.register_buffer("positions", positions, persistent=False)  # (F, C)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(V * F * n, C) from (V * F * n, C)."""
        normed = self.norm1(x)
        x, normed = self._norm(x, self.spatial(normed, grid), self.norm2, grid)
        x, normed = self._norm(x, self.spatial_text(normed), self.spatial_feed, grid)
        # The blend at the end wants the pixels' stream without the positions, the frames' stream has them.
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
        norm: nn.LayerNorm | JoinedFeedForward,
        grid: Grid,
        positions: Tensor | None = None,
        keep_positions: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The stream `residual + update`, and the norm of it (plus the positions); both (V * F * n, C)."""
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


class JoinedSelfAttention(nn.Module):
    """SelfAttention whose product is attended to where it lies."""

    def __init__(self, exact: SelfAttention, operations: Operations) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = exact.heads, exact.qkv, exact.out
        self.over_frames = exact.over_frames
        self.attend = operations["temporal_attention" if exact.over_frames else "spatial_attention"]

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(V * F * n, C) from (V * F * n, C); 1 / sqrt(d) is in the weights."""
        views, frames, pixels = grid
        images = grid if self.over_frames else (views * frames, pixels)
        query, key, value = self.qkv(x).view(*images, 3, self.heads, -1).unbind(-3)
        mixed = self.attend(query=query, key=key, value=value, scale=1.0)
        return self.out(mixed.reshape(x.shape[0], -1))


class RememberedText(nn.Module):
    """TextAttention whose keys and values are made once per instruction and stay at one address."""

    def __init__(self, exact: TextAttention, operations: Operations) -> None:
        super().__init__()
        self.exact, self.attend = exact, operations["text_attention"]
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def remember(self, text: Tensor) -> None:
        keys, values = self.exact.sides(text)
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
        else:
            self.keys.copy_(keys)
            self.values.copy_(values)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) from tokens (N, C)."""
        if self.keys is None or self.values is None:
            raise RuntimeError("no text was remembered")
        return torch.matmul(self.attend(tokens=x, keys=self.keys, heads=self.exact.heads), self.values)


class JoinedFeedForward(nn.Module):
    """GatedFeedForward without its LayerNorm, which the residual sum before it computes.

    Attributes:
        weight, bias, eps: of that norm, whose scale and shift are in the products behind it.
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
        """(N, C) from (N, C) behind the norm."""
        return self.out(self.product(value=self.value(normed), gate=self.gate(normed)))
