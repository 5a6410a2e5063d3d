"""Random but realistic inputs to compare stages on, from a policy spec and a seed."""

from __future__ import annotations

import numpy as np
import torch

from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample, draw_noise

# One of a few tokens, and one longer than a policy reads; the note about its lost words quotes its beginning.
INSTRUCTIONS = (
    "pick up the red block",
    "a sentence of the parity check, too long on purpose: move the mango to the basket, then press the green button "
    "twice and put the spoon back on the tray it came from",
)


def random_samples(spec: PolicySpec, count: int, seed: int) -> list[Sample]:
    """`count` samples: smooth random images, standard normal noise, states spread over [-1, 1]."""
    generator = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        proprio = None
        if spec.state is not None:
            proprio = generator.uniform(-1, 1, (1, 1, spec.state.dims)).astype(np.float32)
        frames = _smooth_images(generator, spec.frames_shape)
        video_noise, action_noise = draw_noise(spec, generator)
        samples.append(
            Sample(
                instruction=INSTRUCTIONS[i % len(INSTRUCTIONS)],
                frames=frames,
                video_noise=video_noise,
                action_noise=action_noise,
                proprio=proprio,
            )
        )
    return samples


def _smooth_images(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    views, height, width, _ = shape
    coarse = torch.from_numpy(generator.uniform(0, 255, (views, 3, 9, 9)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    grain = torch.from_numpy(generator.normal(0, 8, tuple(smooth.shape)).astype(np.float32))
    return (smooth + grain).clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
