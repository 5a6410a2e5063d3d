"""How strongly real-time chunking pulls each action of a chunk to its prefix.

Source: arXiv 2506.07339 (real-time chunking), equation 5.
"""

from __future__ import annotations

import math

import numpy as np


def prefix_weights(horizon: int, frozen: int, covered: int) -> np.ndarray:
    """(T,) float32: 1 for the first `frozen` actions, falling to 0 at `covered`, the end of the present chunk."""
    steps = np.arange(horizon)
    share = np.clip((covered - steps) / (covered - frozen + 1), 0, 1) if covered > frozen else np.zeros(horizon)
    falling = share * np.expm1(share) / math.expm1(1)
    return np.where(steps < min(frozen, covered), 1.0, falling).astype(np.float32)
