"""Rotations as quaternions (xyzw, unit length): the operations that actions and hands need, on (..., 4) arrays."""

from __future__ import annotations

import numpy as np


def quaternion_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 4): the rotation b followed by a, as in matrix products R(a) R(b)."""
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    vector = aw * bv + bw * av + np.cross(av, bv)
    scalar = aw * bw - np.sum(av * bv, axis=-1, keepdims=True)
    return np.concatenate([vector, scalar], axis=-1)


def quaternion_from_rpy(rpy: np.ndarray) -> np.ndarray:
    """(..., 4) from (..., 3) roll, pitch, yaw in rad about the fixed axes x, y, z: R = Rz(yaw) Ry(pitch) Rx(roll)."""
    half = np.asarray(rpy, dtype=np.float64) / 2
    (cr, cp, cy), (sr, sp, sy) = np.moveaxis(np.cos(half), -1, 0), np.moveaxis(np.sin(half), -1, 0)
    return np.stack(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ],
        axis=-1,
    )


def conjugate_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4): the inverse of a rotation of length 1."""
    return quaternion * np.array([-1.0, -1.0, -1.0, 1.0])


def rpy_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """(..., 3) roll, pitch, yaw in rad from (..., 4) (length 1); inverts `quaternion_from_rpy`, pitch within +-pi/2."""
    x, y, z, w = np.moveaxis(np.asarray(quaternion, dtype=np.float64), -1, 0)
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1, 1))
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.stack([roll, pitch, yaw], axis=-1)


def unit_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4) scaled to length 1; a zero quaternion becomes the identity."""
    length = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    return np.where(length > 1e-9, quaternion / np.maximum(length, 1e-9), identity)


def xyzw_from(quaternion: np.ndarray, order: str) -> np.ndarray:
    """(..., 4) in xyzw order from one stored as `order` (`xyzw` or `wxyz`)."""
    return quaternion if order == "xyzw" else np.roll(quaternion, -1, axis=-1)


def stored_from_xyzw(quaternion: np.ndarray, order: str) -> np.ndarray:
    """(..., 4) in the stored order from xyzw."""
    return quaternion if order == "xyzw" else np.roll(quaternion, 1, axis=-1)
