"""Quaternions against rotation matrices written out from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rotation_angle import rotation_angle_rad

from vpp_edge.spec.rotation import (
    conjugate_quaternion,
    quaternion_from_rpy,
    quaternion_product,
    rpy_from_quaternion,
    stored_from_xyzw,
    unit_quaternion,
    xyzw_from,
)


def matrix(quaternion: np.ndarray) -> np.ndarray:
    """The rotation matrix of a unit quaternion (xyzw): Rodrigues' formula about its axis."""
    vector, w = quaternion[:3], quaternion[3]
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def about(axis: int, angle: float) -> np.ndarray:
    """The rotation matrix about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turned = np.eye(3)
    turned[i, i] = turned[j, j] = math.cos(angle)
    turned[j, i], turned[i, j] = math.sin(angle), -math.sin(angle)
    return turned


def random_quaternions(count: int) -> np.ndarray:
    return unit_quaternion(np.random.default_rng(0).standard_normal((count, 4)))


def test_a_product_is_the_product_of_matrices() -> None:
    a, b = random_quaternions(20), random_quaternions(40)[20:]
    for i, product in enumerate(quaternion_product(a, b)):
        np.testing.assert_allclose(matrix(product), matrix(a[i]) @ matrix(b[i]), atol=1e-12)


@pytest.mark.parametrize("rpy", [(0, 0, 0), (0.3, 0, 0), (0, -1.2, 0), (0, 0, 3), (0.4, 1.5, -2.9), (-3, 0.1, 7)])
def test_roll_pitch_yaw_turn_about_fixed_axes(rpy: tuple[float, float, float]) -> None:
    roll, pitch, yaw = rpy
    expected = about(2, yaw) @ about(1, pitch) @ about(0, roll)
    np.testing.assert_allclose(matrix(quaternion_from_rpy(np.array(rpy))), expected, atol=1e-12)


def test_arrays_of_any_shape_are_turned_at_once() -> None:
    rpy = np.random.default_rng(1).uniform(-3, 3, (2, 5, 3))
    turned = quaternion_from_rpy(rpy)
    assert turned.shape == (2, 5, 4)
    np.testing.assert_allclose(turned[1, 3], quaternion_from_rpy(rpy[1, 3]))


@pytest.mark.parametrize("angle", [0.0, 1e-4, 1.0, math.pi - 1e-3])
def test_the_angle_between_orientations(angle: float) -> None:
    a = random_quaternions(1)[0]
    b = quaternion_product(a, quaternion_from_rpy(np.array([0, angle, 0])))
    assert rotation_angle_rad(a, b) == pytest.approx(angle, abs=1e-7)
    assert rotation_angle_rad(a, -b) == pytest.approx(angle, abs=1e-7)


def test_storage_orders() -> None:
    xyzw = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(stored_from_xyzw(xyzw, "wxyz"), [[4, 1, 2, 3], [8, 5, 6, 7]])
    np.testing.assert_array_equal(stored_from_xyzw(xyzw, "xyzw"), xyzw)
    for order in ("xyzw", "wxyz"):
        np.testing.assert_array_equal(xyzw_from(stored_from_xyzw(xyzw, order), order), xyzw)


def test_a_zero_quaternion_is_no_rotation() -> None:
    np.testing.assert_array_equal(unit_quaternion(np.zeros((2, 4))), [[0, 0, 0, 1]] * 2)
    np.testing.assert_allclose(np.linalg.norm(random_quaternions(9), axis=1), 1)


def test_roll_pitch_yaw_come_back_within_half_a_turn() -> None:
    rpy = np.random.default_rng(3).uniform([-3.1, -1.5, -3.1], [3.1, 1.5, 3.1], (200, 3))
    np.testing.assert_allclose(rpy_from_quaternion(quaternion_from_rpy(rpy)), rpy, atol=1e-9)
    np.testing.assert_allclose(rpy_from_quaternion(-quaternion_from_rpy(rpy)), rpy, atol=1e-9)


def test_a_conjugate_undoes_its_rotation() -> None:
    quaternion = quaternion_from_rpy(np.random.default_rng(4).uniform(-1, 1, (10, 3)))
    identity = quaternion_product(conjugate_quaternion(quaternion), quaternion)
    np.testing.assert_allclose(identity, np.tile([0, 0, 0, 1.0], (10, 1)), atol=1e-12)
