"""A plate turns at constant speed, carries what is on it in circles, and reverses without a jump."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.runtime.sim.worlds.turning import AT_REST, STANDING, Plate, Turning

CENTRE_M = (0.46, -0.05)
speeds = st.floats(-3, 3)
times = st.floats(0, 10)
coordinates = st.floats(-1, 1)


@given(speeds, times, times, times)
def test_it_keeps_its_speed_until_it_reverses(speed: float, reverses_s: float, one_s: float, more_s: float) -> None:
    turning = Turning(speed, reverses_s)
    before, later = turning.plate_at(one_s), turning.plate_at(one_s + more_s)
    assert abs(later.angle_rad - before.angle_rad) <= abs(speed) * more_s + 1e-9
    assert before.speed_rad_s == (speed if one_s <= reverses_s else -speed)
    if one_s + more_s <= reverses_s or one_s > reverses_s:
        assert later.angle_rad == pytest.approx(before.after(more_s).angle_rad, abs=1e-9)
    assert turning.plate_at(2 * reverses_s).angle_rad == pytest.approx(0, abs=1e-9), "it comes back the way it went"


@given(st.floats(-10, 10), coordinates, coordinates)
def test_what_is_on_it_stays_as_far_from_the_centre(angle: float, x: float, y: float) -> None:
    carried = Plate(angle).carried((x, y), CENTRE_M)
    assert math.dist(carried, CENTRE_M) == pytest.approx(math.dist((x, y), CENTRE_M), abs=1e-9)
    back = Plate(-angle).carried(carried, CENTRE_M)
    np.testing.assert_allclose(back, (x, y), atol=1e-9)


def test_positive_angles_are_counter_clockwise_from_above_and_rest_changes_nothing() -> None:
    np.testing.assert_allclose(Plate(math.pi / 2).carried((1.0, 0.0), (0.0, 0.0)), (0, 1), atol=1e-12)
    assert STANDING.plate_at(7.0) == AT_REST and AT_REST.carried((0.1, 0.3), CENTRE_M) == (0.1, 0.3)
