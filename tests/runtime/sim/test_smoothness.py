"""Jerk and seam jumps of motions with known values."""

from __future__ import annotations

import numpy as np
import pytest

from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.runtime.sim.smoothness import jerks, pose_at, seam_jumps
from vpp_edge.spec.rotation import quaternion_from_rpy

PERIOD_NS = 100_000_000
JOINTS = 3


def pose(x: float, joints: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    return np.array([x, 0, 0, *quaternion_from_rpy(np.array((0, 0, yaw))), *[joints] * JOINTS])


def chunk(*xs: float, observed_ns: int = 0, joints: float = 0.0, yaw: float = 0.0) -> Chunk:
    """A chunk; its first number is the start."""
    poses = [pose(x, joints, yaw) for x in xs]
    return Chunk(np.stack(poses[1:]), poses[0], observed_ns)


def test_the_jerk_of_a_cubic_is_its_third_derivative() -> None:
    times_s = np.arange(20) * 0.01
    commands = np.stack([pose(2 * t**3, joints=-(t**3)) for t in times_s])
    found = jerks(commands, 10_000_000)
    assert found.shape == (17, 2)
    np.testing.assert_allclose(found, np.broadcast_to((12.0, 6.0), found.shape), rtol=1e-6)


def test_an_even_motion_has_no_jerk() -> None:
    commands = np.stack([pose(0.3 * i, joints=0.1 * i) for i in range(8)])
    np.testing.assert_allclose(jerks(commands, 10_000_000), 0, atol=1e-6)


def test_chunks_that_agree_have_no_seam() -> None:
    old, new = chunk(0.0, 0.1, 0.2, 0.3, 0.4), chunk(0.2, 0.3, 0.4, 0.5, 0.6, observed_ns=2 * PERIOD_NS)
    jumps = seam_jumps([(old, 0), (new, 2 * PERIOD_NS + 10)], PERIOD_NS)
    np.testing.assert_allclose(jumps, [[0, 0, 0]], atol=1e-9)


def test_a_jump_is_the_distance_between_two_plans_for_the_next_target() -> None:
    """At the hand-over 250 ms after its observation, the third target of the new chunk is the next one."""
    old = chunk(0.0, *(0.1 * i for i in range(1, 7)))
    new = chunk(0.1, 9.0, 9.0, 0.47, 0.5, observed_ns=PERIOD_NS, joints=0.2, yaw=0.3)
    jumps = seam_jumps([(old, 0), (new, PERIOD_NS + 250_000_000)], PERIOD_NS)
    np.testing.assert_allclose(jumps, [[0.07, 0.3, 0.2]], atol=1e-9)


def test_a_chunk_after_a_pause_makes_no_seam() -> None:
    old, new = chunk(0.0, 0.1, 0.2), chunk(5.0, 5.1, 5.2, observed_ns=3 * PERIOD_NS)
    assert seam_jumps([(old, 0), (new, 3 * PERIOD_NS)], PERIOD_NS).shape == (0, 3)
    assert seam_jumps([], PERIOD_NS).shape == (0, 3)


@pytest.mark.parametrize(("at_ns", "x"), [(-5, 0.0), (0, 0.0), (50_000_000, 0.05), (150_000_000, 0.2), (10**9, 0.3)])
def test_the_pose_of_a_chunk_is_on_its_path(at_ns: int, x: float) -> None:
    found = pose_at(chunk(0.0, 0.1, 0.3), at_ns, PERIOD_NS)
    assert found[0] == pytest.approx(x)
    assert np.linalg.norm(found[3:7]) == pytest.approx(1.0)
