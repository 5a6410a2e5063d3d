"""The picture of a run: in, snapshots of the cameras and the hand; out, a video with the views side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError

_GAP = 8
_BACKGROUND = 24


class PictureMaker:
    """Keeps snapshots of a running session as small images and writes them as a video when the run is over."""

    def __init__(self) -> None:
        self._frames: list[np.ndarray] = []
        self._seconds: list[float] = []

    def add(self, snapshot: Any) -> None:
        """Takes a `Snapshot` of the supervisor; those before the first image of every view are left out."""
        if any(image is None for image in snapshot.images):
            return
        self._frames.append(side_by_side([np.asarray(image) for image in snapshot.images]))
        self._seconds.append(snapshot.seconds)

    def write(self, path: Path) -> Path:
        """Writes the video at the pace of the snapshots.

        Raises:
            BadInputError: there was no snapshot.
        """
        from vpp_edge.video import write_video

        if len(self._frames) < 2:
            raise BadInputError(
                "the cameras gave no frames to make a picture of; `vpp-edge doctor` tells what is missing"
            )
        rate_hz = (len(self._seconds) - 1) / max(self._seconds[-1] - self._seconds[0], 1e-3)
        write_video(path, self._frames, round(max(rate_hz, 1)))
        return path


def side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """(height, width, 3) uint8: RGB images of any sizes in a row on a dark ground, even sides as video codecs want."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + _GAP * (len(images) - 1)
    sheet = np.full((height + height % 2, width + width % 2, 3), _BACKGROUND, dtype=np.uint8)
    left = 0
    for image in images:
        sheet[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + _GAP
    return sheet
