"""The thread behind cameras without hardware: slow sources, failing ones, and the simulator."""

from __future__ import annotations

import time

import numpy as np
import pytest

from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.runtime.cameras.config import CameraConfig
from vpp_edge.runtime.cameras.opening import open_camera
from vpp_edge.runtime.cameras.sources import UNKNOWN_STATE
from vpp_edge.runtime.cameras.video import VideoCamera
from vpp_edge.runtime.interfaces import HandState

pytestmark = pytest.mark.live

SECOND_NS = 1_000_000_000


class Source:
    """Grey images; `cost(moment)` is the time in seconds that each takes; it may raise."""

    width, height, fps = 4, 4, 100.0

    def __init__(self, cost):
        self._cost = cost
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1

    def seconds(self, moment):
        return moment / self.fps

    def image(self, moment):
        time.sleep(self._cost(moment))
        return np.full((4, 4, 3), moment % 256, np.uint8)

    def close(self):
        self.closed += 1


def test_moments_that_a_slow_source_misses_are_skipped_and_counted():
    with VideoCamera("slow", Source(lambda moment: 0.05)) as camera:
        frames = [camera.read(SECOND_NS) for _ in range(8)]
        statistics = camera.statistics
    assert all(frame.image[0, 0, 0] == (frame.number - 1) % 256 for frame in frames)
    numbers = [frame.number for frame in frames]
    assert statistics.dropped >= numbers[-1] - numbers[0] - 7 > 14 and statistics.overwritten == 0
    # still on the grid of 10 ms
    assert (frames[-1].stamp_ns - frames[1].stamp_ns) / (numbers[-1] - numbers[1]) == pytest.approx(10e6, rel=0.2)


def test_a_short_delay_is_caught_up():
    source = Source(lambda moment: 0.06 if moment == 3 else 0)
    source.fps = 20.0
    with VideoCamera("jerky", source) as camera:
        numbers = [camera.read(SECOND_NS).number for _ in range(6)]
    assert numbers == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("error", [BadInputError("a broken file"), ZeroDivisionError("a bug")])
def test_an_error_of_the_source_reaches_the_reader(error):
    def seconds(moment):
        if moment == 2:
            raise error
        return 0

    source = Source(seconds)
    with VideoCamera("broken", source) as camera:
        assert [camera.read(SECOND_NS).number for _ in range(2)] == [1, 2]
        expected = BadInputError if isinstance(error, BadInputError) else HardwareFaultError
        with pytest.raises(expected, match=str(error)):
            camera.read(SECOND_NS)
    assert source.opened == source.closed == 1


def test_a_source_that_cannot_be_opened_is_reported_to_the_reader():
    source = Source(lambda moment: 0)
    source.open = lambda: (_ for _ in ()).throw(BadInputError("no such thing"))
    with VideoCamera("shut", source) as camera, pytest.raises(BadInputError, match="no such thing"):
        camera.read(SECOND_NS)
    assert source.closed == 1


def test_a_view_of_the_simulator_shows_the_latest_state(realsense):
    moved = HandState(UNKNOWN_STATE.vector + 0.1 * (np.arange(19) == 0), 0)
    states = [None, moved]
    config = CameraConfig("software", "sim/top", width=64, height=48, fps=20.0)
    try:
        camera = open_camera(config, lambda: states[0])
    except MissingDependencyError as error:
        pytest.skip(str(error))
    with camera:
        before = [camera.read(20 * SECOND_NS).image for _ in range(3)]
        states[0] = states[1]
        after = [camera.read(20 * SECOND_NS).image for _ in range(8)][-1]
    assert np.array_equal(before[0], before[2]) and before[0].std() > 5
    assert not np.array_equal(before[2], after)
