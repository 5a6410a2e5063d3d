"""No target, and no order of targets, makes the limiter break a limit; feasible targets pass unchanged."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hands_under_test import HOME, LIMITS, assert_within_limits
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.control.limits import Limiter
from vpp_edge.runtime.control.speed_limits import braking_speed

pytestmark = pytest.mark.live

PERIOD_NS = 10_000_000


def limiter_at(pose=HOME, period_ns=PERIOD_NS):
    limiter = Limiter(LIMITS, period_ns)
    limiter.reset(np.asarray(pose))
    return limiter


ANY = st.one_of(st.floats(-2, 2), st.floats(), st.sampled_from([0.0, 1e300, -1e300, float("nan"), float("inf")]))
TARGET = st.one_of(
    st.none(),
    st.lists(ANY, min_size=10, max_size=10),
    st.lists(st.floats(-2, 2), min_size=10, max_size=10),
)
RUN = st.tuples(TARGET, st.integers(1, 30))  # a target, and for how many ticks


@settings(deadline=None, max_examples=150)
@given(st.lists(RUN, min_size=1, max_size=12), st.sampled_from([2_000_000, PERIOD_NS, 33_333_333]))
def test_no_stream_of_targets_breaks_a_limit(runs, period_ns):
    limiter = limiter_at(period_ns=period_ns)
    poses = [limiter.command.copy()]
    for target, ticks in runs:
        for _ in range(ticks):
            poses.append(limiter.step(None if target is None else np.array(target)).copy())
    assert_within_limits(poses, period_ns)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_random_walks_stay_within_the_limits(seed):
    random = np.random.default_rng(seed)
    limiter = limiter_at()
    poses, target = [limiter.command.copy()], HOME.copy()
    for _ in range(300):
        target += random.normal(0, random.choice([0.001, 0.03, 0.5]), 10)
        poses.append(limiter.step(target).copy())
    assert_within_limits(poses, PERIOD_NS)


def test_feasible_targets_pass_as_their_moving_average_and_are_not_counted():
    limiter, given = limiter_at(), [HOME] * 3
    assert limiter.smoothing == 3
    for tick in range(400):
        target = HOME.copy()
        swing = 1 - np.cos(2 * np.pi * tick / 200)
        target[:3] += 0.05 * swing * np.array([1, -1, 0.5])
        target[3:7] = [np.sin(0.1 * swing), 0, 0, np.cos(0.1 * swing)]
        target[7:] += 0.1 * swing
        given.append(target)
        np.testing.assert_allclose(
            limiter.step(target), np.mean(given[-3:], axis=0), atol=1e-5
        )  # its quaternion brought to length 1
        np.testing.assert_allclose(limiter.ahead, target, atol=1e-9)
    assert vars(limiter.counts) == {"position": 0, "speed": 0, "acceleration": 0, "rejected": 0, "jerk": 0}


def test_a_jump_is_followed_to_its_end_without_passing_it():
    limiter = limiter_at()
    target = HOME + np.array([0.2, 0.1, -0.1, 0, 0, 0, 0, 0.5, 1.0, -0.2])
    target[3:7] = [0, 0, np.sin(0.4), np.cos(0.4)]
    path = np.array([limiter.step(target).copy() for _ in range(200)])
    np.testing.assert_allclose(path[-1], target, atol=1e-6)
    assert (path[:, 8] <= target[8] + 1e-9).all() and (path[:, 9] >= target[9] - 1e-9).all()
    counts = limiter.counts
    assert counts.speed > 0 and counts.acceleration > 0 and counts.jerk > 0 and counts.position == 0


def test_the_stop_is_at_rest_within_100_ms():
    limiter = limiter_at()
    for tick in range(60):
        limiter.step(HOME + np.array([0.004, 0, 0, 0, 0, 0, 0, 0.015, 0.03, 0.009]) * tick)
    assert not limiter.at_rest
    for _ in range(10):
        held = limiter.step(None).copy()
    assert limiter.at_rest
    np.testing.assert_array_equal(limiter.step(None), held)


def test_a_jerk_limit_that_makes_the_hand_answer_too_late_is_refused_by_name():
    soft = dataclasses.replace(LIMITS, joint_jerk_rad_s3=(4000.0, 500.0, 1500.0))
    with pytest.raises(BadInputError, match=r"index takes 0\.24 s to reverse its acceleration"):
        Limiter(soft, PERIOD_NS)
    assert Limiter(LIMITS, 2_000_000).smoothing == 15  # as long as three periods of 10 ms
    assert Limiter(LIMITS, 33_333_333).smoothing == 1


def test_a_target_with_nan_is_a_stop_and_counted():
    limiter = limiter_at()
    broken = HOME.copy()
    broken[8] = np.nan
    np.testing.assert_array_equal(limiter.step(broken), HOME)
    assert limiter.counts.rejected == 1


def test_a_hand_outside_its_limits_is_refused_by_name():
    with pytest.raises(HardwareFaultError, match=r"index is at 2.5.*limits 0.000 to 1.900"):
        limiter_at([*HOME[:8], 2.5, 0.3])
    with pytest.raises(HardwareFaultError, match="finite: False"):
        limiter_at([*HOME[:8], np.nan, 0.3])


@given(st.floats(0, 10), st.floats(1e-6, 0.1))
def test_braking_speed_stops_exactly_at_the_distance(distance, quantum):
    step, covered = braking_speed(distance, quantum, 1.0), 0.0
    while step > 0 and covered < 20:
        covered, step = covered + step, step - quantum
    assert covered == pytest.approx(distance, abs=1e-6)


def test_a_step_takes_a_small_part_of_the_period():
    limiter = limiter_at()
    targets = HOME + np.random.default_rng(0).normal(0, 0.05, (500, 10))
    start_ns = time.thread_time_ns()
    for target in targets:
        limiter.step(target)
    assert (time.thread_time_ns() - start_ns) / len(targets) < 1_000_000  # typically 0.1 ms of a period of 10
