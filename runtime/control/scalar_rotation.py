"""Single rotations in plain floats: quaternions (x, y, z, w) and rotation vectors in rad, as tuples.

The control loop handles one rotation at a time, and numpy is ten times slower on four numbers. Arrays of rotations are
in `vpp_edge.spec.rotation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Quaternion = tuple[float, float, float, float]
Vector = tuple[float, float, float]
Numbers = Sequence[float] | np.ndarray


def multiply(a: Numbers, b: Numbers) -> Quaternion:
    """The rotation `b` followed by `a` (Hamilton product)."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q: Numbers) -> Quaternion:
    """The inverse rotation of a unit quaternion."""
    return (-q[0], -q[1], -q[2], q[3])


def normalized(q: Numbers) -> Quaternion:
    """`q` scaled to length 1; the identity where it is (almost) zero."""
    x, y, z, w = q
    length = math.hypot(x, y, z, w)
    return (x / length, y / length, z / length, w / length) if length > 1e-12 else (0.0, 0.0, 0.0, 1.0)


def quaternion_from_vector(v: Numbers) -> Quaternion:
    """The rotation by |v| rad about v."""
    x, y, z = v
    angle = math.sqrt(x * x + y * y + z * z)
    scale = math.sin(angle / 2) / angle if angle > 1e-9 else 0.5
    return (x * scale, y * scale, z * scale, math.cos(angle / 2))


def vector_from_quaternion(q: Numbers) -> Vector:
    """The rotation vector of a unit quaternion, the shorter way (at most pi)."""
    x, y, z, w = q if q[3] >= 0 else (-q[0], -q[1], -q[2], -q[3])
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2 * math.atan2(sine, w) / sine if sine > 1e-12 else 2.0
    return (x * scale, y * scale, z * scale)


def difference(a: Numbers, b: Numbers) -> Vector:
    """The rotation vector, in the frame of `a`, that turns `a` into `b` the shorter way."""
    return vector_from_quaternion(multiply(conjugate(a), b))


def turned(q: Numbers, v: Numbers, scale: float = 1.0) -> Quaternion:
    """`q` rotated by `v * scale` in its own frame, at length 1."""
    return normalized(multiply(q, quaternion_from_vector((v[0] * scale, v[1] * scale, v[2] * scale))))


def slerp(a: Numbers, b: Numbers, weight: float) -> Quaternion:
    """The rotation at `weight` (0 is `a`, 1 is `b`) on the shorter way between the two, at constant speed."""
    return turned(a, difference(a, b), weight)
