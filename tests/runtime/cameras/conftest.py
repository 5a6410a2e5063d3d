"""Fixtures of the camera tests: the RealSense SDK, and a clip whose frames are distinguishable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vpp_edge.errors import MissingDependencyError
from vpp_edge.runtime.cameras.sdk import load_realsense
from vpp_edge.video import load_av, read_frames, write_video

FPS = 50.0


@dataclass(frozen=True)
class Clip:
    """A video, and its frames decoded without a camera."""

    path: Path
    images: list[np.ndarray]
    fps: float = FPS


@pytest.fixture(scope="session")
def realsense():
    try:
        return load_realsense()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Clip:
    """12 frames of 64 x 48; frame n has a white bar at column 5 n on its own shade of grey."""
    try:
        load_av()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    frames = []
    for n in range(12):
        frame = np.full((48, 64, 3), (20 * n, 128, 255 - 20 * n), np.uint8)
        frame[:, 5 * n : 5 * n + 4] = 255
        frames.append(frame)
    path = write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, FPS)
    images = list(read_frames(path))
    assert len({image.tobytes() for image in images}) == len(frames)
    return Clip(path, images)
