"""Crop and resize camera images, uint8 RGB of any size, to the frames that the policy expects.

The one definition of cropping and resizing, for calibration, verification and the robot alike: crop the middle
square, then bilinear resize with antialiasing, as `torch.nn.functional.interpolate(mode="bilinear",
antialias=True)` does it (the training code's torchvision Resize), rounded to the nearest level.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.wording import counted


def frames_from_images(spec: PolicySpec, images: Sequence[np.ndarray]) -> np.ndarray:
    """(V, H, W, 3) uint8 from one image per view, static camera first.

    Args:
        images: V arrays (height, width, 3) uint8 RGB, each of any size.

    Raises:
        BadInputError: wrong number of images, or an image is not uint8 RGB.
    """
    names = ", ".join(c.name for c in spec.cameras)
    try:
        count = len(images)
    except TypeError:
        raise BadInputError(f"got {type(images).__name__}, expected {len(spec.cameras)} images ({names})") from None
    if count != len(spec.cameras):
        raise BadInputError(f"got {counted(count, 'image')}, expected {len(spec.cameras)} ({names})")
    return np.stack([resized_square(image, c.height) for image, c in zip(images, spec.cameras, strict=True)])


def resized_square(image: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) uint8: the middle square of an image, resized."""
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or 0 in image.shape
    ):
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise BadInputError(f"an image must be uint8 RGB (height, width, 3), got {got}")
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    weights = _resize_weights(side, size)
    rows = (weights @ square.reshape(side, -1).astype(np.float32)).reshape(size, side, 3)
    both = np.matmul(weights, rows)  # broadcasts over the rows: (size, side) @ (size, side, 3)
    return np.clip(np.rint(both), 0, 255).astype(np.uint8)


@lru_cache(maxsize=16)
def _resize_weights(source: int, target: int) -> np.ndarray:
    """(target, source) float32 weights of antialiased linear interpolation (triangle filter, half-pixel centres)."""
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distances = (np.arange(source)[None, :] + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - np.abs(distances), 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
