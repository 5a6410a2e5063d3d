"""An untrained policy as small as the format allows, for tests that must run everywhere."""

from __future__ import annotations

from dataclasses import replace

from vpp_edge.checkpoint.untrained import UntrainedSizes

# On images of 64 pixels the UNet's lowest level is one pixel, and TensorRT refuses to normalize a single number.
SMALL = UntrainedSizes(
    image=128, channels=(32, 32, 32, 32), width=32, queries=2, depth=1, horizon=4, steps=3, text_width=32
)
TINY_VAE = replace(SMALL, vae="tiny", tiny_blocks=(0, 1, 1, 2))
