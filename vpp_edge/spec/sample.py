"""One observation with its noise, as calibration, parity checks and benchmarks pass it around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """Everything that one inference needs. Letters as in ARCHITECTURE.md.

    Attributes:
        instruction: what the policy is told to do.
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
