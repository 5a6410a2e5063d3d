"""Videos that are to be shown turned or mirrored are read as players show them; other angles are refused."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from made_datasets import number_in, painted, write_lerobot, write_trajectories
from made_videos import ORIENTATIONS, turn, write_at

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import camera_from_text
from vpp_edge.runtime.cameras.sources import VideoSource
from vpp_edge.video import read_frames, video_info, write_video

pytest.importorskip("av")


def picture() -> np.ndarray:
    """(48, 64, 3): every corner and side differs."""
    image = np.full((48, 64, 3), 128, np.uint8)
    image[:16, :16], image[:16, -16:], image[-16:, :16] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return image


def like(one: np.ndarray, other: np.ndarray) -> bool:
    """The same picture through a codec."""
    return one.shape == other.shape and float(np.abs(one.astype(int) - other).mean()) < 12


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_matrix_is_applied_to_frames_sizes_and_cameras(tmp_path: Path, name: str) -> None:
    matrix, shown = ORIENTATIONS[name]
    expected = shown(picture())
    path = turn(write_video(tmp_path / "a.mp4", [picture()] * 2, 10), matrix)
    image = next(read_frames(path))
    assert like(image, expected) and image.flags.c_contiguous and image.flags.writeable
    info = video_info(path)
    assert (info.height, info.width) == expected.shape[:2]
    source = VideoSource(path, loop=False)
    assert (source.height, source.width) == expected.shape[:2]
    played = source.image(0)
    assert played is not None and like(played, expected)
    small = VideoSource(path, loop=False, size=(32, 20)).image(1)
    assert small is not None and like(small, next(read_frames(path, (32, 20)))) and small.shape == (20, 32, 3)


@pytest.mark.parametrize("name", ["a quarter clockwise", "three quarters clockwise", "half"])
@pytest.mark.parametrize("layout", ["trajectories", "lerobot"])
def test_a_matrix_is_applied_to_data_sets(tmp_path: Path, layout: str, name: str) -> None:
    root = write_trajectories(tmp_path, (3,)) if layout == "trajectories" else write_lerobot(tmp_path, (3,))
    matrix, _ = ORIENTATIONS[name]
    back = {"half": "half", "a quarter clockwise": "three quarters clockwise"}.get(name, "a quarter clockwise")
    for view, video in enumerate(sorted(root.rglob("*.mp4"))):
        turn(write_video(video, (ORIENTATIONS[back][1](painted(view, n)) for n in range(3)), 10), matrix)
    (recording,) = open_dataset(root).recordings
    assert [[number_in(i) for i in row] for row in recording.images([0, 2], 2)] == [[(0, 0), (1, 0)], [(0, 2), (1, 2)]]


@pytest.mark.parametrize(
    ("angle", "name"),
    [
        ("90", "a quarter clockwise"),
        ("-90", "three quarters clockwise"),
        ("180", "half"),
        ("0", "as it is"),
        ("450", "a quarter clockwise"),
    ],
)
def test_the_older_tag_is_applied(tmp_path: Path, angle: str, name: str) -> None:
    path = write_at(tmp_path / "a.mkv", [picture()] * 2, (0, 0.1), {"rotate": angle})
    assert like(next(read_frames(path)), ORIENTATIONS[name][1](picture()))


def slanted(degrees: float) -> tuple[float, float, float, float]:
    angle = math.radians(degrees)
    return math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)


@pytest.mark.parametrize("matrix", [slanted(45), slanted(10), slanted(91), (0, 0, 0, 0), (1, 0.5, 0, 1)])
def test_other_matrices_are_refused_with_the_remedy(tmp_path: Path, matrix: tuple[float, float, float, float]) -> None:
    path = turn(write_video(tmp_path / "a.mp4", [picture()] * 2, 10), matrix)
    for use in (lambda: next(read_frames(path)), lambda: camera_from_text(f"video:{path}")):
        with pytest.raises(
            BadInputError, match=r"a\.mp4: has a display matrix that .*; only quarter turns .*ffmpeg -i"
        ):
            use()


@pytest.mark.parametrize("angle", ["45", "upside down", "nan", "inf", "1e999"])
def test_other_tags_are_refused_with_the_remedy(tmp_path: Path, angle: str) -> None:
    path = write_at(tmp_path / "a.mkv", [picture()], (0,), {"rotate": angle})
    with pytest.raises(BadInputError, match=rf"a\.mkv: has the tag rotate={angle}; only quarter turns"):
        next(read_frames(path))


def test_a_scaled_matrix_turns_without_scaling(tmp_path: Path) -> None:
    path = turn(write_video(tmp_path / "a.mp4", [picture()] * 2, 10), (0, 2, -0.5, 0))
    assert like(next(read_frames(path)), np.rot90(picture(), -1))


def test_notes_that_pyav_cannot_read_are_refused(tmp_path: Path) -> None:
    """An Exif orientation turns a JPEG, and PyAV shows a frame that has one no notes at all."""
    images = pytest.importorskip("PIL.Image")
    image = images.fromarray(picture())
    turned = image.getexif()
    turned[0x112] = 6  # the tag Orientation: a quarter clockwise
    image.save(tmp_path / "a.jpg", exif=turned)
    try:
        shown = next(read_frames(tmp_path / "a.jpg"))
    except BadInputError as error:
        assert re.search(r"a\.jpg: has notes .* PyAV cannot read .*ffmpeg -i", str(error))
    else:
        assert like(shown, np.rot90(picture(), -1))
