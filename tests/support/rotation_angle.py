"""The angle between orientations, to compare quaternions whatever their sign."""

from __future__ import annotations

import numpy as np


def rotation_angle_rad(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(...): the angle between two orientations, 0 to pi."""
    return 2 * np.arccos(np.clip(np.abs(np.sum(a * b, axis=-1)), 0.0, 1.0))
