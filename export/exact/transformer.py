"""Lean form of the UNet's transformers over pixels and frames (diffusers' TransformerSpatioTemporalModel)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.exact.attention import GatedFeedForward, SelfAttention, TextAttention
from vpp_edge.export.exact.folding import grouped, linear_after_norm
from vpp_edge.export.exact.resnet import spatial_share


class VideoTransformer(nn.Module):
    """Pixels attend within their frame and to the text, then along the frames and to the text; both are blended.

    Tokens keep the order (V, F, h * w) throughout. The embedding of a frame number is a constant.

    Args:
        model: the eager transformer.
        frames: F.
        stride: difference of two consecutive frame numbers.
    """

    def __init__(self, model: Any, frames: int, stride: int = 1) -> None:
        super().__init__()
        self.frames, self.norm = frames, model.norm
        self.proj_in, self.proj_out = linear_after_norm(model.proj_in, model.norm), model.proj_out
        share = spatial_share(model.time_mixer)
        self.layers = nn.ModuleList(
            TransformerLayer(spatial, temporal, share)
            for spatial, temporal in zip(model.transformer_blocks, model.temporal_transformer_blocks, strict=True)
        )
        with torch.no_grad():
            numbers = model.time_proj(torch.arange(frames) * stride).to(model.proj_in.weight.dtype)
            positions = model.time_pos_embed(numbers)
        self.register_buffer("positions", positions[:, None], persistent=False)  # (F, 1, C)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """(V * F, C, h, w) from (V * F, C, h, w) and text (1, 20, S)."""
        images, channels, height, width = x.shape
        grid = (images // self.frames, self.frames, height * width)
        tokens = self.proj_in(grouped(x, self.norm).flatten(2).transpose(1, 2).reshape(-1, channels))
        for layer in self.layers:
            tokens = layer(tokens, text, self.positions, grid)
        tokens = self.proj_out(tokens).reshape(images, height * width, channels)
        return x + tokens.transpose(1, 2).reshape(x.shape)


class TransformerLayer(nn.Module):
    """One block over pixels and one over frames: `a * s + (1 - a) * t(s)`, the last product of t scaled by 1 - a."""

    def __init__(self, spatial: Any, temporal: Any, share: float) -> None:
        super().__init__()
        self.share = share
        self.spatial = _Attentions(spatial, over_frames=False)
        self.spatial_feed = GatedFeedForward(spatial.norm3, spatial.ff)
        self.feed_in = GatedFeedForward(temporal.norm_in, temporal.ff_in)
        self.temporal = _Attentions(temporal, over_frames=True)
        self.temporal_feed = GatedFeedForward(temporal.norm3, temporal.ff, 1 - share)

    def forward(self, x: Tensor, text: Tensor, positions: Tensor, grid: tuple[int, int, int]) -> Tensor:
        x = self.spatial(x, text, grid)
        x = x + self.spatial_feed(x)
        y = (x.reshape(*grid, -1) + positions).reshape(x.shape)
        y = y + self.feed_in(y)
        y = self.temporal(y, text, grid)
        return self.share * x + (1 - self.share) * y + self.temporal_feed(y)


class _Attentions(nn.Module):
    """Self-attention and text attention, each after its LayerNorm, which costs an engine nothing extra."""

    def __init__(self, block: Any, over_frames: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention, self.text = SelfAttention(block.attn1, over_frames), TextAttention(block.attn2)

    def forward(self, x: Tensor, text: Tensor, grid: tuple[int, int, int]) -> Tensor:
        x = x + self.attention(self.norm1(x), grid)
        return x + self.text(self.norm2(x), text)
