"""The image encoder with less work: a KL VAE's, reduced to the mode of its posterior, or a tiny one's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.exact.folding import (
    bias_of,
    conv_from_tensors,
    grouped,
    linear_after_norm,
    linear_from_tensors,
)
from vpp_edge.export.exact.resnet import ImageResnet
from vpp_edge.export.functions.calls import group_norm_silu, spatial_attention
from vpp_edge.model.images import KLEncoder, TinyEncoder, pixels


def exact_encoder(encoder: KLEncoder | TinyEncoder) -> nn.Module:
    """The lean form of an image encoder: (V, 4, h, w) latents from (V, H, W, 3) uint8 frames."""
    return LeanTinyEncoder(encoder) if isinstance(encoder, TinyEncoder) else LeanKLEncoder(encoder)


class LeanTinyEncoder(nn.Module):
    """An AutoencoderTiny's encoder, with the scaling of pixels folded into the first convolution.

    Pixels are scaled to [0, 1], where black and the padding stay 0.
    """

    def __init__(self, encoder: TinyEncoder) -> None:
        super().__init__()
        first, *others = encoder.network
        self.layers = nn.Sequential(conv_from_tensors(first.weight.detach() / 255, first.bias, padding=1), *others)

    def forward(self, frames: Tensor) -> Tensor:
        latents: Tensor = self.layers(pixels(frames))
        return latents


class LeanKLEncoder(nn.Module):
    """A KL VAE's encoder.

    The scaling of pixels is folded into the first convolution. Its padding is 0 after the scaling, so the middle of the
    range is subtracted before it. The last convolution is composed with the 1x1 one after it, without the half that
    computes variances.
    """

    def __init__(self, whole: KLEncoder) -> None:
        super().__init__()
        encoder: Any = whole.network
        first = encoder.conv_in
        self.conv_in = conv_from_tensors(first.weight.detach() / 127.5, first.bias, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(*(ImageResnet(r) for r in b.resnets)) for b in encoder.down_blocks)
        self.downsamplers = nn.ModuleList(nn.Sequential(*(block.downsamplers or ())) for block in encoder.down_blocks)
        middle = encoder.mid_block
        self.middle = nn.Sequential(ImageResnet(middle.resnets[0]))
        for attention, resnet in zip(middle.attentions, middle.resnets[1:], strict=True):
            if attention is not None:
                self.middle.append(PixelAttention(attention))
            self.middle.append(ImageResnet(resnet))
        self.norm_out, self.conv_out = encoder.conv_norm_out, mean_conv(encoder.conv_out, whole.quant_conv)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.conv_in(pixels(frames) - 127.5)
        for block, downsampler in zip(self.blocks, self.downsamplers, strict=True):
            x = downsampler(block(x))
        return self.conv_out(group_norm_silu(self.middle(x), self.norm_out))


def mean_conv(conv: nn.Conv2d, quant_conv: nn.Conv2d | None) -> nn.Conv2d:
    """`conv`, then `quant_conv`, then the first half of the channels, as one convolution: Q (K x + k) + q."""
    weight, bias = conv.weight.detach().double(), bias_of(conv)
    if quant_conv is not None:
        mix = quant_conv.weight.detach().double()[..., 0, 0]
        weight, bias = torch.einsum("om,mihw->oihw", mix, weight), mix @ bias + bias_of(quant_conv)
    half, dtype = weight.shape[0] // 2, conv.weight.dtype
    return conv_from_tensors(weight[:half].to(dtype), bias[:half].to(dtype), padding=conv.padding)


class PixelAttention(nn.Module):
    """The VAE's attention over all pixels: one product for query, key and value that includes the GroupNorm's scale.

    The bias of the keys adds the same to all scores of a query, so softmax cancels it; that of the values passes
    through the weights, which sum to one, into the bias of the output.

    Args:
        attention: diffusers' Attention with a GroupNorm, biases and a residual connection.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.norm, self.heads = attention.group_norm, attention.heads
        q, k, v = (linear_after_norm(layer, self.norm) for layer in (attention.to_q, attention.to_k, attention.to_v))
        bias = torch.cat([q.bias * attention.scale, torch.zeros_like(k.bias), torch.zeros_like(v.bias)])
        self.qkv = linear_from_tensors(torch.cat([q.weight * attention.scale, k.weight, v.weight]), bias)
        out, scale = attention.to_out[0], 1 / attention.rescale_output_factor
        out_bias = bias_of(out) + out.weight.detach().double() @ v.bias.double()
        self.out = linear_from_tensors(out.weight.detach() * scale, (out_bias * scale).to(out.weight.dtype))
        self.residual_scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(V, C, h, w) from (V, C, h, w)."""
        images, channels = x.shape[:2]
        tokens = grouped(x, self.norm).flatten(2).transpose(1, 2).reshape(-1, channels)
        mixed = self.out(spatial_attention(self.qkv(tokens), images, self.heads))
        result = mixed.reshape(images, -1, channels).transpose(1, 2).reshape(x.shape)
        return result + (x if self.residual_scale == 1 else x * self.residual_scale)
