"""A video as a camera is played at its own times, faster or slower where another rate is asked for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made_datasets import number_in, painted
from made_videos import write_at

from vpp_edge.runtime.cameras.config import camera_from_text
from vpp_edge.runtime.cameras.opening import open_camera
from vpp_edge.runtime.cameras.sources import VideoSource
from vpp_edge.video import load_av, timeline, video_info, write_video

pytest.importorskip("av")
SECONDS = (0.0, 0.05, 0.3, 0.35, 0.4)


@pytest.fixture(params=[".mp4", ".mkv", ".ts"])
def uneven(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Five frames, of which the third comes late; a .ts does not begin at 0."""
    return write_at(tmp_path / f"a{request.param}", (painted(0, n) for n in range(5)), SECONDS)


def test_every_frame_is_due_at_its_own_time_in_every_round(uneven: Path) -> None:
    source = VideoSource(uneven, loop=True)
    assert source.fps == pytest.approx(10) and video_info(uneven).frames == 5
    due = [source.seconds(moment) for moment in range(12)]
    assert due[:5] == pytest.approx(SECONDS, abs=1e-3)
    assert due[5:10] == pytest.approx([s + 0.5 for s in SECONDS], abs=2e-3)
    assert np.all(np.diff(due) > 0)


def test_another_rate_keeps_the_proportions(uneven: Path) -> None:
    source = VideoSource(uneven, loop=False, fps=20.0)
    assert [source.seconds(moment) for moment in range(5)] == pytest.approx([s / 2 for s in SECONDS], abs=1e-3)


def test_a_constant_rate_stays_exact(tmp_path: Path) -> None:
    source = VideoSource(write_video(tmp_path / "a.mp4", [painted(0, 0)] * 7, 30), loop=True)
    assert source.fps == 30.0
    assert [source.seconds(moment) for moment in range(20)] == pytest.approx([n / 30 for n in range(20)])


def test_a_file_without_times_has_those_of_its_rate(tmp_path: Path) -> None:
    if "libx264" not in load_av().codecs_available:
        pytest.skip("this PyAV writes no H.264")
    path = write_at(tmp_path / "a.h264", (painted(0, n) for n in range(5)), SECONDS, codec="libx264")
    times = timeline(path)
    assert not times.stamped and len(times.seconds) == 5
    assert np.diff(times.seconds) == pytest.approx(1 / times.fps)


@pytest.mark.live
@pytest.mark.parametrize("fps", ["", "&fps=20"])
def test_a_camera_delivers_the_frames_at_their_times(uneven: Path, fps: str) -> None:
    with open_camera(camera_from_text(f"video:{uneven}?loop=1{fps}")) as camera:
        frames = [camera.read(2_000_000_000) for _ in range(10)]
    assert all(number_in(frame.image)[1] == (frame.number - 1) % 5 for frame in frames)
    pauses_s = [
        (after.stamp_ns - before.stamp_ns) / 1e9
        for before, after in pairwise(frames)
        if (before.number, after.number) in ((2, 3), (7, 8))
    ]
    expected_s = 0.125 if fps else 0.25  # at an even pace: 0.05 and 0.1
    assert max(pauses_s) > 0.75 * expected_s
