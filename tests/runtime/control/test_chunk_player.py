"""Chunks play as paths in time, drop what has passed, and hand over without a jump."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hands_under_test import HOME, LIMITS
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge.runtime.control.chunk_player import ChunkPlayer, chunk_fault, chunk_to_play, pose_at
from vpp_edge.runtime.control.limits import Limiter
from vpp_edge.runtime.control.scalar_rotation import difference, quaternion_from_vector, slerp
from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.runtime.ipc.loop_state import LoopState

MS = 1_000_000
PERIOD_NS = 100 * MS
REST = np.zeros(9)


def chunk_of(slope, observed_ns=0, horizon=4, request=1, turn=(0.0, 0.0, 0.0)):
    targets = HOME + np.arange(1, horizon + 1)[:, None] * np.asarray(slope)
    for i in range(horizon):
        targets[i, 3:7] = quaternion_from_vector(np.array(turn) * (i + 1))
    return Chunk(targets, HOME.copy(), observed_ns, request)


SLOPE = np.array([0.01, 0, 0, 0, 0, 0, 0, 0.1, 0.05, 0])


def sampled(player, now_ns):
    out = np.full(10, np.nan)
    return out if player.sample(now_ns, out) else None


def test_path_runs_through_the_anchor_and_every_target_at_its_time():
    player, chunk = ChunkPlayer(4, 10, PERIOD_NS), chunk_of(SLOPE, turn=(0, 0, 0.2))
    start_speed = np.concatenate([SLOPE[:3] * 10, [0, 0, 2.0], SLOPE[7:] * 10])
    assert player.accept(chunk, 0, HOME, start_speed) == 0
    np.testing.assert_allclose(sampled(player, 0), HOME, atol=1e-12)
    for i in range(4):
        np.testing.assert_allclose(sampled(player, (i + 1) * PERIOD_NS), chunk.targets[i], atol=1e-12)
    middle = sampled(player, 150 * MS)
    np.testing.assert_allclose(middle[7:], HOME[7:] + 1.5 * SLOPE[7:], atol=1e-12)
    np.testing.assert_allclose(middle[3:7], quaternion_from_vector((0, 0, 0.3)), atol=1e-12)


def test_late_chunk_starts_where_it_would_be_by_now_and_an_expired_one_changes_nothing():
    player = ChunkPlayer(4, 10, PERIOD_NS)
    assert player.accept(chunk_of(SLOPE), 250 * MS, HOME, REST) == 2
    np.testing.assert_allclose(sampled(player, 250 * MS), HOME, atol=1e-12)
    np.testing.assert_allclose(sampled(player, 360 * MS), HOME + 3.6 * SLOPE, atol=1e-12)
    before = sampled(player, 300 * MS)
    assert player.accept(chunk_of(-SLOPE, observed_ns=-200 * MS), 300 * MS, HOME, REST) is None
    np.testing.assert_array_equal(sampled(player, 300 * MS), before)


def test_targets_that_outlive_the_images_are_not_played():
    player, aged = ChunkPlayer(4, 10, PERIOD_NS), replace(chunk_of(SLOPE), image_age_ns=150 * MS)
    assert aged.seen_ns == -150 * MS and aged.end_ns(PERIOD_NS) == 250 * MS
    assert player.accept(aged, 100 * MS, HOME, REST) == 1
    assert sampled(player, 250 * MS) is not None and sampled(player, 251 * MS) is None
    assert player.accept(aged, 249 * MS, HOME, REST) == 2 and player.accept(aged, 250 * MS, HOME, REST) is None
    assert "newer than the pose" in chunk_fault(replace(aged, image_age_ns=-1), 4, 10)


def test_a_chunk_waits_for_a_hand_that_has_rested_since_its_images():
    aged = replace(chunk_of(SLOPE, observed_ns=500 * MS), image_age_ns=450 * MS)
    since_images, since_pose = (LoopState(resting_since_ns=at_ns * MS) for at_ns in (50, 400))
    played = chunk_to_play(aged, 900 * MS, since_images)
    assert (played.observed_ns, played.image_age_ns) == (900 * MS, 0)  # nothing has moved since the images either
    assert chunk_to_play(aged, 900 * MS, since_pose) is aged


def test_nothing_is_played_before_the_first_and_after_the_last_target():
    player = ChunkPlayer(4, 10, PERIOD_NS)
    assert sampled(player, 0) is None
    player.accept(chunk_of(SLOPE), 0, HOME, REST)
    assert sampled(player, 400 * MS) is not None and sampled(player, 400 * MS + 1) is None
    player.clear()
    assert sampled(player, 0) is None


def test_what_must_not_be_executed_is_told():
    good = chunk_of(SLOPE)
    assert chunk_fault(good, 4, 10) is None
    assert "expected (5, 10)" in chunk_fault(good, 5, 10)
    broken = chunk_of(SLOPE)
    broken.targets[2, 9] = np.inf
    assert "NaN or Inf" in chunk_fault(broken, 4, 10)
    broken = chunk_of(SLOPE)
    broken.targets[1, 3:7] = 0
    assert "quaternions of length 0.000" in chunk_fault(broken, 4, 10)


STEP = st.floats(-0.08, 0.08)


@settings(deadline=None, max_examples=80)
@given(st.lists(STEP, min_size=10, max_size=10), st.lists(STEP, min_size=10, max_size=10), st.integers(0, 380))
def test_seam_is_continuous_in_position_and_speed(old, new, switch_ms):
    player = ChunkPlayer(4, 10, PERIOD_NS)
    player.accept(chunk_of(np.array(old), turn=old[:3]), 0, HOME, REST)
    now_ns, step_ns = switch_ms * MS, MS // 100
    before, earlier = sampled(player, now_ns), sampled(player, max(0, now_ns - step_ns))
    dt = max(step_ns / 1e9, 1e-9)
    speed = np.concatenate(
        [
            (before[:3] - earlier[:3]) / dt,
            np.array(difference(earlier[3:7], before[3:7])) / dt,
            (before[7:] - earlier[7:]) / dt,
        ]
    )
    chunk = chunk_of(np.array(new), observed_ns=now_ns - 50 * MS, turn=new[:3])
    assert player.accept(chunk, now_ns, before, speed) == 0
    after, later = sampled(player, now_ns), sampled(player, now_ns + step_ns)
    np.testing.assert_allclose(after[7:], before[7:], atol=1e-9)
    np.testing.assert_allclose(difference(before[3:7], after[3:7]), 0, atol=1e-9)
    np.testing.assert_allclose((later[7:] - after[7:]) / dt, speed[6:], atol=0.02)
    # Of the turning speed, to first order in the mismatch m: what is left is m times the path's own turning speed, half
    # of m times the difference to it, and terms of m squared.
    path = [pose_at(chunk, at_ns, PERIOD_NS)[3:7] for at_ns in (now_ns, now_ns + step_ns)]
    turning = np.array(difference(*path)) / dt
    mismatch = float(np.linalg.norm(difference(path[0], before[3:7])))
    left = mismatch * (1 + mismatch) * (np.linalg.norm(turning) + np.linalg.norm(speed[3:6] - turning) / 2)
    found = np.array(difference(after[3:7], later[3:7])) / dt
    assert np.linalg.norm(found - speed[3:6]) <= left + 0.02
    seam_end = sampled(player, now_ns + PERIOD_NS)
    path = HOME + np.array(new) * 1.5
    np.testing.assert_allclose(seam_end[7:], path[7:], atol=1e-9)


def test_random_chunks_through_the_limiter_leave_little_to_clamp():
    """Chunks of an 8 Hz policy whose deltas are feasible: the limiter only rounds off the corners."""
    random = np.random.default_rng(3)
    player, limiter, command = ChunkPlayer(8, 10, PERIOD_NS), Limiter(LIMITS, 10 * MS), np.zeros(10)
    limiter.reset(HOME)
    jump = 0.0
    for tick in range(500):
        now_ns = tick * 10 * MS
        if tick % 12 == 0:
            steps = np.cumsum(random.uniform(-0.03, 0.03, (8, 10)), axis=0)
            steps[:, 3:7] = 0
            anchor = limiter.command.copy()
            player.accept(Chunk(anchor + steps, anchor, now_ns - 80 * MS), now_ns, limiter.ahead, limiter.speed)
        assert player.sample(now_ns, command)
        previous = limiter.command.copy()
        limiter.step(command)
        jump = max(jump, np.abs(limiter.command - previous)[7:].max())
    assert jump < 0.02
    assert limiter.counts.position < 200 and limiter.counts.rejected == 0


def test_slerp_is_the_short_way_at_constant_speed():
    a, b = quaternion_from_vector((0, 0, 0.2)), quaternion_from_vector((0, 0, 1.0))
    minus_b = tuple(-v for v in b)
    np.testing.assert_allclose(slerp(a, minus_b, 0.25), quaternion_from_vector((0, 0, 0.4)), atol=1e-12)
