"""The video of a run: snapshots of all views, side by side, written as MP4 and as animated WebP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.demo.bitmap_font import HEIGHT, ink_of
from vpp_edge.errors import BadInputError
from vpp_edge.video import write_animation, write_video

_GAP = 8
_BACKGROUND, _INK = 24, 235
_LETTER_SCALE, _MARGIN = 2, 6
_MAX_FRAMES = 600  # a minute, which takes 280 MB
_JITTER_S = 0.02  # of the snapshots; one that is this little late counts as in time
MAX_ANIMATION_BYTES = 3_000_000
_FRAME_STEPS = (1, 2, 4, 8)


class RunVideo:
    """Collects snapshots of a running session and writes them when the run is over."""

    def __init__(self) -> None:
        self._frames: list[np.ndarray] = []
        self._captions: list[str] = []
        self._seconds: list[float] = []

    def add(self, snapshot: Any, caption: str = "") -> None:
        """Adds a `Snapshot` of the supervisor; skipped until every view has an image, and once the video is full."""
        if any(image is None for image in snapshot.images) or len(self._frames) == _MAX_FRAMES:
            return
        self._frames.append(side_by_side([np.asarray(image) for image in snapshot.images]))
        self._captions.append(caption)
        self._seconds.append(snapshot.seconds)

    def write(self, path: Path) -> Path:
        """Writes the video at the average rate of the snapshots, each shown from its own time on.

        Raises:
            BadInputError: there are fewer than two snapshots.
        """
        rate_hz = max(round(self._rate_hz()), 1)
        return write_video(path, self._captioned(rate_hz), rate_hz)

    def write_animation(self, path: Path) -> Path:
        """Writes an animated WebP of at most MAX_ANIMATION_BYTES, at a lower frame rate if needed.

        Raises:
            BadInputError: there are fewer than two snapshots.
        """
        rate_hz = self._rate_hz()
        for step in _FRAME_STEPS:
            write_animation(path, list(self._captioned(rate_hz / step)), rate_hz / step)
            if path.stat().st_size <= MAX_ANIMATION_BYTES:
                break
        return path

    def _captioned(self, rate_hz: float) -> Iterator[np.ndarray]:
        """At a constant rate the newest snapshot: they come late where the machine was busy."""
        seconds = np.array(self._seconds) - self._seconds[0]
        for moment_s in np.arange(0, seconds[-1] + 1 / rate_hz, 1 / rate_hz):
            newest = int(np.searchsorted(seconds, moment_s + _JITTER_S, side="right")) - 1
            yield captioned(self._frames[newest], self._captions[newest])

    def _rate_hz(self) -> float:
        if len(self._frames) < 2:
            raise BadInputError("the cameras delivered no frames for a video; `vpp-edge doctor` shows what is missing")
        return (len(self._seconds) - 1) / max(self._seconds[-1] - self._seconds[0], 1e-3)


def side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """(height, width, 3) uint8: RGB images in a row on a dark background, with even sides as video codecs need."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + _GAP * (len(images) - 1)
    sheet = np.full((height + height % 2, width + width % 2, 3), _BACKGROUND, dtype=np.uint8)
    left = 0
    for image in images:
        sheet[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + _GAP
    return sheet


def captioned(image: np.ndarray, caption: str) -> np.ndarray:
    """The image with the caption in a dark strip below it, cut if it is too long."""
    height, width = image.shape[:2]
    sheet = np.full((height + _LETTER_SCALE * HEIGHT + 2 * _MARGIN, width, 3), _BACKGROUND, dtype=np.uint8)
    sheet[:height] = image
    ink = ink_of(caption, _LETTER_SCALE)[:, : width - 2 * _MARGIN]
    top = height + _MARGIN
    sheet[top : top + ink.shape[0], _MARGIN : _MARGIN + ink.shape[1]][ink] = _INK
    return sheet
