"""Residual blocks on our kernels: in, the exact block; out, the same with its biases in the passes that there are.

PyTorch adds the bias of a convolution in a pass of its own, which costs as much as a norm. Here no convolution has one:
the first one's is the norm's shift, the last one's is added with the residual. Images are channels-last on a GPU, so
frames of images and pixels of a video are the same memory in two views.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.exact.convolutions import DoubledConv
from vpp_edge.export.exact.folding import bias_of, conv_from_tensors
from vpp_edge.export.exact.resnet import ImageResnet, VideoResnet
from vpp_edge.export.torch_cuda.operations import Operations


class JoinedImageResnet(nn.Module):
    """ImageResnet on joined operations.

    Args:
        exact: its weights are used in place.
    """

    def __init__(self, exact: ImageResnet, operations: Operations) -> None:
        super().__init__()
        self.operations = operations
        self.pair = _ConvPair(exact.norm1, exact.conv1, exact.norm2, exact.conv2, operations)
        self.shortcut = None if exact.shortcut is None else _without_bias(exact.shortcut)
        bias = bias_of(exact.conv2) + (0 if exact.shortcut is None else bias_of(exact.shortcut))
        self.register_buffer("bias", bias.to(exact.conv2.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C', h, w) from (N, C, h, w)."""
        update = self.pair(x).permute(0, 2, 3, 1)
        return add_rows(self.operations, x if self.shortcut is None else self.shortcut(x), update, self.bias)


class JoinedVideoResnet(nn.Module):
    """VideoResnet on joined operations."""

    def __init__(self, exact: VideoResnet, operations: Operations) -> None:
        super().__init__()
        self.frames, self.operations = exact.frames, operations
        self.image = JoinedImageResnet(exact.image, operations)
        self.pair = _ConvPair(exact.norm1, exact.conv1, exact.norm2, exact.conv2, operations)
        self.register_buffer("bias", bias_of(exact.conv2).to(exact.conv2.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(V * F, C', h, w) from (V * F, C, h, w)."""
        image = self.image(x)
        _, _, height, width = image.shape
        video = image.flatten(2).unflatten(0, (-1, self.frames)).transpose(1, 2)  # (V, C', F, h * w)
        update = self.pair(video).permute(0, 2, 3, 1).flatten(0, 1).unflatten(1, (height, width))
        return add_rows(self.operations, image, update, self.bias)


class _ConvPair(nn.Module):
    """Norm and convolution, twice; without the second convolution's bias."""

    def __init__(
        self, norm1: nn.GroupNorm, conv1: nn.Conv2d, norm2: nn.GroupNorm, conv2: nn.Conv2d, operations: Operations
    ) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm = norm1, norm2, operations["group_norm_silu"]
        self.conv1, self.conv2 = _without_bias(conv1), _without_bias(conv2)
        self.register_buffer("shift", bias_of(conv1).to(conv1.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C', ., .) from (N, C, ., .)."""
        hidden = self.conv1(self._normed(x, self.norm1, None))
        return self.conv2(self._normed(hidden, self.norm2, self.shift.expand(x.shape[0], -1)))

    def _normed(self, x: Tensor, norm: nn.GroupNorm, shift: Tensor | None) -> Tensor:
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
    """DoubledConv as one transposed convolution, which writes every pixel where it belongs.

    Rows 2m of the result read the rows m-1, m through the first row parity's kernel, rows 2m+1 the rows m, m+1 through
    the second's; a transposed convolution of stride 2 and padding 1 does that with rows 3, 1 and 2, 0 of its 4.

    Args:
        exact: of (O, I, 2, 2) kernels by parity.
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
        """(N, 4, O, h, w) from (N, I, h, w), a view: entry 2a + b holds the pixels (2i + a, 2j + b)."""
        (count, _, height, width), doubled = x.shape, self(x)
        split = doubled.view(count, -1, height, 2, width, 2).permute(0, 3, 5, 1, 2, 4)  # (N, a, b, O, h, w)
        return split.flatten(1, 2)


def add_rows(operations: Operations, x: Tensor, update: Tensor, bias: Tensor | None = None) -> Tensor:
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
