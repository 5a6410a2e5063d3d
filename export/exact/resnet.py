"""Residual blocks of the UNet and the VAE, with time embedding and blending folded into their weights.

Sources: diffusers' SpatioTemporalResBlock and ResnetBlock2D.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.exact.convolutions import frame_conv
from vpp_edge.export.exact.folding import bias_of, conv_from_tensors
from vpp_edge.export.functions.calls import group_norm_silu


class ImageResnet(nn.Module):
    """ResnetBlock2D whose constant time embedding is folded into the bias of its first convolution.

    Args:
        block: the eager block.
        embedding: (1, E), None for blocks without one.
    """

    def __init__(self, block: Any, embedding: Tensor | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2, self.conv2, self.shortcut = block.norm1, block.norm2, block.conv2, block.conv_shortcut
        self.conv1 = _shifted(block.conv1, embedded(block, embedding))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C', h, w) from (N, C, h, w)."""
        hidden = self.conv1(group_norm_silu(x, self.norm1))
        hidden = self.conv2(group_norm_silu(hidden, self.norm2))
        return hidden + (x if self.shortcut is None else self.shortcut(x))


class VideoResnet(nn.Module):
    """SpatioTemporalResBlock: an image block, then one over the frames with its share of the blend in its weights.

    With s the image block's result and t(s) = s + r(s) that of the block over the frames, the eager blend
    `alpha * s + (1 - alpha) * t(s)` is `s + (1 - alpha) * r(s)`, and r ends in a convolution.

    Args:
        block: the eager block.
        embedding: (1, E), the constant time embedding.
        frames: F.
    """

    def __init__(self, block: Any, embedding: Tensor, frames: int) -> None:
        super().__init__()
        self.frames, self.image = frames, ImageResnet(block.spatial_res_block, embedding)
        temporal = block.temporal_res_block
        self.norm1, self.norm2 = temporal.norm1, temporal.norm2
        self.conv1 = frame_conv(temporal.conv1, shift=embedded(temporal, embedding))
        self.conv2 = frame_conv(temporal.conv2, scale=1 - spatial_share(block.time_mixer))

    def forward(self, x: Tensor) -> Tensor:
        """(V * F, C', h, w) from (V * F, C, h, w)."""
        image = self.image(x)
        hidden = image.flatten(2).unflatten(0, (-1, self.frames)).transpose(1, 2)  # (V, C', F, h * w)
        hidden = self.conv1(group_norm_silu(hidden, self.norm1))
        hidden = self.conv2(group_norm_silu(hidden, self.norm2))
        return image + hidden.transpose(1, 2).reshape(image.shape)


def embedded(block: Any, embedding: Tensor | None) -> Tensor | None:
    """(C,): the time embedding that the block adds to the result of its first convolution."""
    if block.time_emb_proj is None or embedding is None:
        return None
    with torch.no_grad():
        shift: Tensor = block.time_emb_proj(functional.silu(embedding))[0]
    return shift


def spatial_share(mixer: Any) -> float:
    """alpha of diffusers' AlphaBlender for videos (no frame is image-only)."""
    mix = mixer.mix_factor.detach().double()
    alpha = float(mix if mixer.merge_strategy == "fixed" else mix.sigmoid())
    return 1 - alpha if mixer.switch_spatial_to_temporal_mix else alpha


def _shifted(conv: nn.Conv2d, shift: Tensor | None) -> nn.Conv2d:
    if shift is None:
        return conv
    return conv_from_tensors(conv.weight, (bias_of(conv) + shift.double()).to(conv.weight.dtype), padding=1)
