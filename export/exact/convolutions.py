"""Convolutions with fewer operations: the sums of the eager ones in another order."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.exact.folding import bias_of, conv_from_tensors

# Rows of a 3-row kernel that fall onto the same input row of a doubled input, for even and odd output rows:
# row 2i reads the rows i-1, i, i of the input, row 2i+1 the rows i, i, i+1.
_ROWS = (torch.tensor([[1.0, 0, 0], [0, 1, 1]]), torch.tensor([[1.0, 1, 0], [0, 0, 1]]))
_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


class DoubledConv(nn.Module):
    """Nearest-neighbour upsampling by two and a 3x3 convolution, as four 2x2 convolutions of the small image.

    Each pixel parity (a, b) of the result has its own 2x2 kernel: 16 products instead of 36 per input pixel.

    Args:
        weight: (O, I, 3, 3) of a convolution with padding 1.
        bias: (O,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        wide = weight.detach().double()
        self.phases = nn.ModuleList(
            conv_from_tensors(
                torch.einsum("ar,oirc,bc->oiab", _ROWS[a].double(), wide, _ROWS[b].double()).to(weight.dtype), bias
            )
            for a, b in _PHASES
        )

    def parities(self, x: Tensor) -> Tensor:
        """(N, 4, O, h, w) from (N, I, h, w): entry 2a + b holds the pixels (2i + a, 2j + b)."""
        results = [
            phase(functional.pad(x, (1 - b, b, 1 - a, a))) for (a, b), phase in zip(_PHASES, self.phases, strict=True)
        ]
        return torch.stack(results, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, O, 2h, 2w) from (N, I, h, w)."""
        count, _, height, width = x.shape
        split = self.parities(x).unflatten(1, (2, 2))  # (N, a, b, O, h, w)
        return split.permute(0, 3, 4, 1, 5, 2).reshape(count, -1, 2 * height, 2 * width)


def frame_conv(conv: nn.Conv3d, scale: float = 1.0, shift: Tensor | None = None) -> nn.Conv2d:
    """A (3, 1, 1) convolution of (V, C, F, h, w) as a (3, 1) one of (V, C, F, h * w): `scale * (conv(x) + shift)`.

    Args:
        shift: (C,), added to every pixel of the result.
    """
    bias = bias_of(conv) if shift is None else bias_of(conv) + shift.double()
    weight = conv.weight.detach()[..., 0]
    if scale != 1.0:
        weight, bias = weight * scale, bias * scale
    return conv_from_tensors(weight, bias.to(weight.dtype), padding=(1, 0))


class SharedImageConv(nn.Module):
    """The UNet's first convolution of [noise ; image latents], with the image part computed once for all frames.

    Args:
        conv: of 2c channels, the first c of them noise.
        noise_scale: factor of the noise, folded into the weights.
    """

    def __init__(self, conv: nn.Conv2d, noise_scale: float) -> None:
        super().__init__()
        noise, image = conv.weight.detach().chunk(2, dim=1)
        self.noise = conv_from_tensors(noise * noise_scale, None, padding=1)
        self.image = conv_from_tensors(image.contiguous(), conv.bias, padding=1)

    def forward(self, noise: Tensor, latents: Tensor) -> Tensor:
        """(V * F, C, h, w) from noise (V, F, c, h, w) and latents (V, c, h, w)."""
        frames = self.noise(noise.flatten(0, 1)).unflatten(0, noise.shape[:2])
        return (frames + self.image(latents)[:, None]).flatten(0, 1)
