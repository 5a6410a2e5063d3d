"""Videos as cameras, through the RealSense SDK and without it: pixels, numbers, pace, end, lost frames."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from vpp_edge.errors import EndOfStreamError, HardwareFaultError
from vpp_edge.runtime.cameras.config import camera_from_text
from vpp_edge.runtime.cameras.inbox import CAPACITY
from vpp_edge.runtime.cameras.opening import open_camera
from vpp_edge.runtime.interfaces import CameraStatistics
from vpp_edge.video import read_frames

pytestmark = pytest.mark.live

SECOND_NS = 1_000_000_000
EPISODE = Path(__file__).resolve().parents[4] / "shared/episodes/xhand/videos/val/0/0.mp4"


@pytest.fixture(params=["software", "video"])
def kind(request):
    if request.param == "software":
        request.getfixturevalue("realsense")
    return request.param


def open_text(text):
    return open_camera(camera_from_text(text))


def test_every_frame_is_the_decoded_one_with_increasing_numbers_and_stamps(kind, clip):
    with open_text(f"{kind}:{clip.path}") as camera:
        frames = [camera.read(SECOND_NS) for _ in range(30)]  # two and a half rounds
        statistics = camera.statistics
    for frame in frames:
        expected = clip.images[(frame.number - 1) % len(clip.images)]
        assert frame.image.dtype == np.uint8 and np.array_equal(frame.image, expected)
    numbers, stamps = [f.number for f in frames], [f.stamp_ns for f in frames]
    assert numbers[0] >= 1 and all(np.diff(numbers) >= 1) and all(np.diff(stamps) > 0)
    lost = statistics.dropped + statistics.overwritten
    assert numbers[-1] + statistics.waiting >= 30 + lost - 1 and statistics.delivered == 30


@pytest.mark.parametrize("fps", [20.0, 60.0])
def test_frames_keep_the_requested_rate_without_drift(kind, clip, fps):
    with open_text(f"{kind}:{clip.path}?fps={fps}") as camera:
        frames = [camera.read(SECOND_NS) for _ in range(round(fps))]
        assert time.monotonic_ns() - frames[-1].stamp_ns < SECOND_NS / 2
    first, last = frames[0], frames[-1]
    period_s = (last.stamp_ns - first.stamp_ns) / 1e9 / (last.number - first.number)
    assert period_s == pytest.approx(1 / fps, rel=0.05)


def test_a_recording_without_loop_ends_after_its_last_frame(kind, clip):
    with open_text(f"{kind}:{clip.path}?loop=0&fps=20") as camera:
        numbers = []
        with pytest.raises(EndOfStreamError, match="has ended"):
            while True:
                numbers.append(camera.read(SECOND_NS).number)
        with pytest.raises(EndOfStreamError):
            camera.read(0)
    assert numbers == sorted(set(numbers)) and numbers[-1] == len(clip.images)


def test_unread_frames_are_counted_and_the_newest_are_kept(kind, clip):
    with open_text(f"{kind}:{clip.path}?loop=0&fps=20") as camera:
        time.sleep(len(clip.images) / 20 + 0.3)
        before = camera.statistics
        came = before.overwritten + before.waiting
        assert before == CameraStatistics(0, len(clip.images) - came, came - CAPACITY, CAPACITY)
        kept = [camera.read(0).number for _ in range(CAPACITY)]
        assert kept[-1] == len(clip.images) and len(set(kept)) == CAPACITY
        assert camera.statistics.waiting == 0 and camera.statistics.delivered == CAPACITY


def test_a_silent_camera_is_reported_in_time(kind, clip):
    with open_text(f"{kind}:{clip.path}?fps=0.2") as camera:
        camera.read(5 * SECOND_NS)
        begun_ns = time.monotonic_ns()
        with pytest.raises(HardwareFaultError, match="no frame within 50 ms") as caught:
            camera.read(50_000_000)
        assert not isinstance(caught.value, EndOfStreamError)
        assert 50_000_000 <= time.monotonic_ns() - begun_ns < SECOND_NS


def test_closing_twice_and_reading_after_it(kind, clip):
    camera = open_text(f"{kind}:{clip.path}")
    camera.read(SECOND_NS)
    camera.close()
    camera.close()
    with pytest.raises(HardwareFaultError, match="closed"):
        camera.read(0)


def test_images_are_resized_to_the_requested_size(kind, clip):
    with open_text(f"{kind}:{clip.path}?width=30&height=20") as camera:
        assert camera.read(SECOND_NS).image.shape == (20, 30, 3)


def test_a_recorded_episode_comes_through_unchanged(kind):
    if not EPISODE.is_file():
        pytest.skip(f"no recorded episode at {EPISODE}; it is kept beside the repository")
    expected = list(read_frames(EPISODE))
    with open_text(f"{kind}:{EPISODE}?fps=100") as camera:
        for _ in range(40):
            frame = camera.read(SECOND_NS)
            assert np.array_equal(frame.image, expected[frame.number - 1])
