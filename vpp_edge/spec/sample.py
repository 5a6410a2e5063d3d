"""One observation with its noise, and the only place where noise is drawn.

Calibration, parity checks, benchmarks and the runtime draw video noise first, then action noise, so the same generator
gives the same numbers everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp_edge.spec.normalization import normalized_from_state
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.preprocess import frames_from_images


@dataclass(frozen=True)
class Sample:
    """Everything that one inference needs. Letters as in ARCHITECTURE.md.

    Attributes:
        instruction: text that the policy follows.
        frames: (V, H, W, 3) uint8 RGB at the model's size.
        video_noise: (V, F, 4, h, w) float32, standard normal.
        action_noise: (1, T, A) float32, standard normal.
        proprio: (1, 1, P) float32, normalized; None for policies without a state.
        state: (P,) float64 in physical units; None where it is not known.
    """

    instruction: str
    frames: np.ndarray
    video_noise: np.ndarray
    action_noise: np.ndarray
    proprio: np.ndarray | None
    state: np.ndarray | None = None


def draw_video_noise(spec: PolicySpec, generator: np.random.Generator) -> np.ndarray:
    """(V, F, 4, h, w) float32, standard normal."""
    return generator.standard_normal(spec.video_noise_shape, dtype=np.float32)


def draw_action_noise(spec: PolicySpec, generator: np.random.Generator) -> np.ndarray:
    """(1, T, A) float32, standard normal."""
    return generator.standard_normal((1, *spec.chunk_shape), dtype=np.float32)


def draw_noise(spec: PolicySpec, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Video noise, then action noise, of one inference."""
    video_noise = draw_video_noise(spec, generator)
    return video_noise, draw_action_noise(spec, generator)


def sample_from_images(
    spec: PolicySpec,
    instruction: str,
    images: Sequence[np.ndarray],
    state: np.ndarray | None,
    generator: np.random.Generator,
) -> Sample:
    """A sample from camera images and the state in physical units, (P,); its noise is drawn from `generator`.

    Args:
        images: one per view, uint8 RGB of any size, static camera first.
        state: None for policies without proprioception.

    Raises:
        BadInputError: images or state do not fit the policy.
    """
    frames = frames_from_images(spec, images)
    video_noise, action_noise = draw_noise(spec, generator)
    return Sample(
        instruction=instruction,
        frames=frames,
        video_noise=video_noise,
        action_noise=action_noise,
        proprio=None if state is None else normalized_from_state(spec, state).reshape(1, 1, -1),
        state=state,
    )
