"""Video model together with the first Linear of the Video Former: frames, text and noise to that layer's output.

The features of a full-size model are never computed: the convolution that would produce them and the Linear that reads
them are one convolution with the smaller width of the Linear (docs/vpp.md, exact savings).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.exact.convolutions import DoubledConv, SharedImageConv
from vpp_edge.export.exact.folding import bias_of, linear_from_tensors
from vpp_edge.export.exact.image import exact_encoder
from vpp_edge.export.exact.resnet import VideoResnet
from vpp_edge.export.exact.transformer import VideoTransformer
from vpp_edge.model.tvp import VideoPredictionModel

_Step = Callable[[Tensor], Tensor]


class VideoReader(nn.Module):
    """Image encoder, UNet up to the extracted block, and the Linear that reads its features.

    Args:
        video: the eager model.
        reader: (C -> K) Linear of the Video Former on the features.
        stride: only every `stride`-th frame of the noise is computed; these keep their frame numbers.
    """

    def __init__(self, video: VideoPredictionModel, reader: nn.Linear, stride: int = 1) -> None:
        super().__init__()
        unet: Any = video.unet
        self.stride, frames = stride, video.frames // stride
        with torch.no_grad():
            embedding = video.time_embedding(reader.weight.dtype)
        self.encoder = exact_encoder(video.encoder)
        self.conv_in = SharedImageConv(unet.conv_in, video.init_noise_sigma * video.input_scale)
        self.down = nn.ModuleList(_Block(block, embedding, frames, stride) for block in unet.down_blocks)
        self.downsamplers = nn.ModuleList(nn.Sequential(*(b.downsamplers or ())) for b in unet.down_blocks)
        self.middle = _Block(unet.mid_block, embedding, frames, stride)
        read = unet.up_blocks[: video.extract_layer + 1]
        self.up = nn.ModuleList(_Block(block, embedding, frames, stride) for block in read)
        self.upsamplers = nn.ModuleList(
            DoubledConv(b.upsamplers[0].conv.weight, b.upsamplers[0].conv.bias) for b in read[:-1]
        )
        self.features = FeatureReader(read, reader, video.all_layers)

    def forward(self, frames: Tensor, text_hidden: Tensor | None, video_noise: Tensor) -> Tensor:
        """(V, F / stride, P, h', w', K): the features' pixels by parity P (DoubledConv.parities), read by the Linear.

        Args:
            frames: (V, H, W, 3) uint8 RGB.
            text_hidden: (1, 20, S), shared by the views; None if the transformers cache it (`torch_cuda`).
            video_noise: (V, F, c, h, w), standard normal.
        """
        if self.stride > 1:
            video_noise = video_noise[:, :: self.stride]
        hidden = self.conv_in(video_noise, self.encoder(frames))
        residuals = [hidden]
        for block, downsampler in zip(self.down, self.downsamplers, strict=True):
            for step in block.steps(text_hidden):
                hidden = step(hidden)
                residuals.append(hidden)
            if len(downsampler):
                hidden = downsampler(hidden)
                residuals.append(hidden)
        for step in self.middle.steps(text_hidden):
            hidden = step(hidden)
        outputs = []
        for index, block in enumerate(self.up):
            for step in block.steps(text_hidden):
                hidden = step(torch.cat([hidden, residuals.pop()], dim=1))
            if index < len(self.upsamplers):
                hidden = self.upsamplers[index](hidden)
                outputs.append(hidden)
        return self.features(hidden, outputs).unflatten(0, video_noise.shape[:2])


class FeatureReader(nn.Module):
    """Upsampling convolution of the extracted block, concatenation with the blocks before it and a Linear, fused.

    A Linear commutes with nearest-neighbour upsampling, so the earlier blocks are read at their own size.

    Args:
        blocks: eager up blocks, the last one the extracted one.
        reader: (C -> K) Linear on their concatenated channels, or on those of the last block.
        all_layers: whether the earlier blocks are concatenated.
    """

    def __init__(self, blocks: Any, reader: nn.Linear, all_layers: bool) -> None:
        super().__init__()
        widths = [b.resnets[-1].spatial_res_block.out_channels for b in (blocks if all_layers else blocks[-1:])]
        weights = list(reader.weight.detach().split(widths, dim=1))
        last, dtype, bias = weights.pop(), reader.weight.dtype, bias_of(reader)
        self.doubled: DoubledConv | None = None
        self.last: nn.Linear | None = None
        conv = None if blocks[-1].upsamplers is None else blocks[-1].upsamplers[0].conv
        if conv is not None and composing_saves(last, conv):
            composed = torch.einsum("ko,oihw->kihw", last.double(), conv.weight.detach().double())
            bias = bias + last.double() @ bias_of(conv)
            self.doubled = DoubledConv(composed.to(dtype), bias.to(dtype))
        else:
            self.doubled = None if conv is None else DoubledConv(conv.weight, conv.bias)
            self.last = linear_from_tensors(last, bias.to(dtype))
        self.before = nn.ModuleList(linear_from_tensors(weight) for weight in weights)

    def forward(self, hidden: Tensor, outputs: list[Tensor]) -> Tensor:
        """(N, P, h', w', K) from the last block (N, C, h', w'), before its upsampler, and the outputs before it.

        P is 4 if the last block has an upsampler, otherwise 1.
        """
        result = hidden[:, None] if self.doubled is None else self.doubled.parities(hidden)
        result = result.permute(0, 1, 3, 4, 2)
        if self.last is not None:
            result = self.last(result)
        for read, output in zip(self.before, outputs, strict=False):
            factor = hidden.shape[-1] // output.shape[-1]
            small = read(output.permute(0, 2, 3, 1))
            if factor > 1:
                small = small.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
            result = result + small[:, None]
        return result


def composing_saves(linear: Tensor, conv: nn.Conv2d) -> bool:
    """Whether four 2x2 convolutions to the Linear's width K cost less than to C channels followed by a C x K product.

    Args:
        linear: (K, C).
        conv: of I to C channels.
    """
    (width, channels), inputs = linear.shape, conv.in_channels
    return 4 * inputs * width < 4 * inputs * channels + channels * width


class _Block(nn.Module):
    """Residual blocks of a UNet block, each followed by its transformer if the block has any.

    The middle block has one residual block more than transformers, which comes first.
    """

    def __init__(self, block: Any, embedding: Tensor, frames: int, stride: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(VideoResnet(r, embedding, frames) for r in block.resnets)
        attentions = getattr(block, "attentions", ())
        self.transformers = nn.ModuleList(VideoTransformer(t, frames, stride) for t in attentions)

    def steps(self, text: Tensor | None) -> list[_Step]:
        """The steps between residual connections, each from and to (N, C, h, w)."""
        resnets, transformers = list(self.resnets), [partial(t, text=text) for t in self.transformers]
        if transformers and len(resnets) > len(transformers):  # the middle block: these come before a residual block
            first, *others = resnets
            return [first, *(_behind(t, r) for t, r in zip(transformers, others, strict=True))]
        if not transformers:
            return resnets
        return [_behind(r, t) for r, t in zip(resnets, transformers, strict=True)]


def _behind(first: _Step, second: _Step) -> _Step:
    return lambda x: second(first(x))
