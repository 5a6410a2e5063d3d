"""Whether the commands of a run kept the limits: the largest share of any limit that they used."""

from __future__ import annotations

import itertools

import numpy as np

from vpp_edge.runtime.control.scalar_rotation import difference
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout

QUANTITIES = ("speed", "acceleration", "jerk")
ROUNDING = 1e-4  # a share of up to 1 + ROUNDING counts as within the limit


def largest_limit_usage(commands: np.ndarray, period_ns: int, limits: HandLimits) -> tuple[float, str]:
    """The largest ratio of a value to its limit.

    Args:
        commands: (n, 7 + J), one period apart, starting from rest.

    Returns:
        The ratio and the name of the limit; at most 1 when every limit was kept. The ratio of a position is 1 plus how
        far it was outside its limits, in m or rad (negative inside).
    """
    dt, joints, wrist = period_ns / 1e9, commands[:, PoseLayout.JOINTS], commands[:, PoseLayout.POSITION]
    turns = [difference(a[PoseLayout.QUATERNION], b[PoseLayout.QUATERNION]) for a, b in itertools.pairwise(commands)]
    shares = {
        "joint position": 1 + _outside(joints, limits.joint_lower_rad, limits.joint_upper_rad),
        "wrist position": 1 + _outside(wrist, limits.wrist_lower_m, limits.wrist_upper_m),
    }
    joint_limits = (limits.joint_speed_rad_s, limits.joint_acceleration_rad_s2, limits.joint_jerk_rad_s3)
    wrist_limits = (limits.wrist_speed_m_s, limits.wrist_acceleration_m_s2, limits.wrist_jerk_m_s3)
    turn_limits = (limits.wrist_turn_rad_s, limits.wrist_turn_acceleration_rad_s2, limits.wrist_turn_jerk_rad_s3)
    motions = (
        ("joint", np.diff(joints, axis=0), joint_limits),
        ("wrist", np.diff(wrist, axis=0), wrist_limits),
        ("wrist turn", np.array(turns).reshape(-1, 3), turn_limits),
    )
    for name, steps, maxima in motions:
        for quantity, values, maximum in zip(QUANTITIES, _derivatives(steps, dt), maxima, strict=True):
            size = np.abs(values) if name == "joint" else np.linalg.norm(values, axis=1)
            shares[f"{name} {quantity}"] = float((size / np.array(maximum)).max(initial=0))
    worst = max(shares, key=lambda name: shares[name])
    return shares[worst], worst


def _outside(values: np.ndarray, lower: tuple[float, ...], upper: tuple[float, ...]) -> float:
    """The largest distance outside the limits; negative inside."""
    return float(np.maximum(np.array(lower) - values, values - np.array(upper)).max(initial=-1))


def _derivatives(steps: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Speed, acceleration and jerk of a motion that starts from rest, from its steps per period."""
    speed = steps / dt
    acceleration = np.diff(speed, axis=0, prepend=0 * speed[:1]) / dt
    return speed, acceleration, np.diff(acceleration, axis=0, prepend=0 * acceleration[:1]) / dt
