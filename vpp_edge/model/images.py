"""The image encoder of the video model: RGB frames to latents, by the VAE that the checkpoint has.

Source: docs/vpp.md, step 2. The networks are diffusers'; only their encoders are used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class KLEncoder(nn.Module):
    """The mode of the posterior of a diffusers AutoencoderKLTemporalDecoder, without scaling factor."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.network, self.quant_conv = vae.encoder, vae.quant_conv

    def forward(self, frames: Tensor) -> Tensor:
        """(V, 4, h, w) float32 latents from (V, H, W, 3) uint8 RGB."""
        images = pixels(frames) / 255 * 2 - 1
        moments = self.quant_conv(self.network(images)) if self.quant_conv is not None else self.network(images)
        return moments.chunk(2, dim=1)[0]

    def vae_tensors(self) -> dict[str, Tensor]:
        """Its weights under their names in the VAE."""
        return _named("encoder.", self.network) | _named("quant_conv.", self.quant_conv)


class TinyEncoder(nn.Module):
    """The latents of a diffusers AutoencoderTiny, as its encoder gives them.

    Its convolutions see pixels from 0 to 1. diffusers' EncoderTiny takes them from -1 to 1 and scales them, but not
    where it checkpoints gradients, so the convolutions are called directly.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.network = vae.encoder.layers

    def forward(self, frames: Tensor) -> Tensor:
        """(V, 4, h, w) float32 latents from (V, H, W, 3) uint8 RGB."""
        latents: Tensor = self.network(pixels(frames) / 255)
        return latents

    def vae_tensors(self) -> dict[str, Tensor]:
        """Its weights under their names in the VAE."""
        return _named("encoder.layers.", self.network)


def _named(prefix: str, module: nn.Module | None) -> dict[str, Tensor]:
    return {} if module is None else {prefix + name: tensor for name, tensor in module.state_dict().items()}


_ENCODERS: dict[str, type[KLEncoder] | type[TinyEncoder]] = {
    "AutoencoderKLTemporalDecoder": KLEncoder,
    "AutoencoderTiny": TinyEncoder,
}


def image_encoder(vae: nn.Module) -> KLEncoder | TinyEncoder:
    """The encoder of a VAE of one of the two classes of diffusers."""
    return _ENCODERS[type(vae).__name__](vae)


def pixels(frames: Tensor) -> Tensor:
    """(V, 3, H, W) float32 from (V, H, W, 3) uint8, with the same values."""
    # Contiguous: on channels-last images oneDNN's convolutions lose a digit and a half (4e-5 against 2e-6).
    # Converted before the permutation: TensorRT accepts uint8 only as an input of the network.
    return frames.to(torch.float32).permute(0, 3, 1, 2).contiguous()
