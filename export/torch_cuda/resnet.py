"""Residual blocks on our kernels: the exact block with its biases fused into other passes.

PyTorch adds the bias of a convolution in a separate pass, which costs as much as a norm. Here convolutions have no
bias: that of the first becomes the shift of the norm after it, that of the last is added with the residual. Images are
channels-last on a GPU, so the frames and the pixels of a video are two views of the same memory.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.exact.convolutions import DoubledConv
from vpp_edge.export.exact.folding import bias_of, conv_from_tensors
from vpp_edge.export.exact.resnet import ImageResnet, VideoResnet
from vpp_edge.export.torch_cuda.operations import Operations


class FusedImageResnet(nn.Module):
    """ImageResnet on fused operations.

    Args:
        exact: provides the weights, which are shared, not copied.
    """

    def __init__(self, exact: ImageResnet, operations: Operations) -> None:
        super().__init__()
        self.operations = operations
        self.pair = _ConvPair(exact, operations)
        self.shortcut = None if exact.shortcut is None else _without_bias(exact.shortcut)
        bias = bias_of(exact.conv2) + (0 if exact.shortcut is None else bias_of(exact.shortcut))
        self.register_buffer("bias", bias.to(exact.conv2.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C', h, w) from (N, C, h, w)."""
        update = self.pair(x).permute(0, 2, 3, 1)
        return add_residual(self.operations, x if self.shortcut is None else self.shortcut(x), update, self.bias)


class FusedVideoResnet(nn.Module):
    """VideoResnet on fused operations."""

    def __init__(self, exact: VideoResnet, operations: Operations) -> None:
        super().__init__()
        self.frames, self.operations = exact.frames, operations
        self.image = FusedImageResnet(exact.image, operations)
        self.pair = _ConvPair(exact, operations)
        self.register_buffer("bias", bias_of(exact.conv2).to(exact.conv2.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(V * F, C', h, w) from (V * F, C, h, w)."""
        image = self.image(x)
        _, _, height, width = image.shape
        video = image.flatten(2).unflatten(0, (-1, self.frames)).transpose(1, 2)  # (V, C', F, h * w)
        update = self.pair(video).permute(0, 2, 3, 1).flatten(0, 1).unflatten(1, (height, width))
        return add_residual(self.operations, image, update, self.bias)


class _ConvPair(nn.Module):
    """Norm and convolution, twice, without the bias of the second convolution."""

    def __init__(self, exact: ImageResnet | VideoResnet, operations: Operations) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm = exact.norm1, exact.norm2, operations["group_norm_silu"]
        self.conv1, self.conv2 = _without_bias(exact.conv1), _without_bias(exact.conv2)
        self.register_buffer("shift", bias_of(exact.conv1).to(exact.conv1.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C', ., .) from (N, C, ., .)."""
        hidden = self.conv1(self._norm(x, self.norm1, None))
        return self.conv2(self._norm(hidden, self.norm2, self.shift.expand(x.shape[0], -1)))

    def _norm(self, x: Tensor, norm: nn.GroupNorm, shift: Tensor | None) -> Tensor:
        normed = self.norm(
            x=x.flatten(2),
            weight=norm.weight,
            bias=norm.bias,
            shift=shift,
            groups=norm.num_groups,
            eps=norm.eps,
            silu=True,
        )
        return normed.unflatten(2, x.shape[2:])


class TransposedConv(nn.Module):
    """DoubledConv as one transposed convolution, which writes every pixel to its final position.

    Row 2m of the result reads rows m-1 and m through the kernel of the first row parity, row 2m+1 rows m and m+1
    through that of the second; a transposed convolution with stride 2 and padding 1 does so with rows 3, 1 and 2, 0 of
    its 4 kernel rows.

    Args:
        exact: has one (O, I, 2, 2) kernel per parity.
    """

    def __init__(self, exact: DoubledConv) -> None:
        super().__init__()
        phases = [conv.weight.detach() for conv in exact.phases]
        outputs, inputs = phases[0].shape[:2]
        weight = phases[0].new_empty(inputs, outputs, 4, 4)
        for index, phase in enumerate(phases):
            a, b = divmod(index, 2)
            weight[:, :, 1 - a :: 2, 1 - b :: 2] = phase.flip(2, 3).transpose(0, 1)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = exact.phases[0].bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, O, 2h, 2w) from (N, I, h, w)."""
        return functional.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)

    def parities(self, x: Tensor) -> Tensor:
        """(N, 4, O, h, w) from (N, I, h, w), a view: entry 2a + b has the pixels (2i + a, 2j + b)."""
        (count, _, height, width), doubled = x.shape, self(x)
        split = doubled.view(count, -1, height, 2, width, 2).permute(0, 3, 5, 1, 2, 4)  # (N, a, b, O, h, w)
        return split.flatten(1, 2)


def add_residual(operations: Operations, x: Tensor, update: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, C, h, w): `x + update + bias` in one pass, channels-last.

    Args:
        x: (N, C, h, w).
        update: (N, h, w, C).
        bias: (C,).
    """
    (total,) = operations["residual_layer_norm"](
        residual=x.permute(0, 2, 3, 1),
        update=update,
        weight=None,
        bias=None,
        positions=None if bias is None else bias.expand(x.shape[2], -1),
        keep_positions=bias is not None,
    )
    return total.permute(0, 3, 1, 2)


def _without_bias(conv: nn.Conv2d) -> nn.Conv2d:
    return conv_from_tensors(conv.weight, None, padding=conv.padding)
