"""Whether commands kept the limits: every command of a run in, the largest share of a limit that they used out."""

from __future__ import annotations

import itertools

import numpy as np

from vpp_edge.runtime.control.scalar_rotation import difference
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout


def largest_limit_usage(commands: np.ndarray, period_ns: int, limits: HandLimits) -> tuple[float, str]:
    """Of commands (n, 7 + J), one period apart and starting from rest.

    Returns:
        the largest value over its limit, and which it was; for positions, how far outside they were in m or rad, plus 1
        (1 or less: inside). At most 1 when every limit was kept.
    """
    dt, joints, wrist = period_ns / 1e9, commands[:, PoseLayout.JOINTS], commands[:, PoseLayout.POSITION]
    turns = [difference(a[PoseLayout.QUATERNION], b[PoseLayout.QUATERNION]) for a, b in itertools.pairwise(commands)]
    shares = {
        "joint position": 1 + _outside(joints, limits.joint_lower_rad, limits.joint_upper_rad),
        "wrist position": 1 + _outside(wrist, limits.wrist_lower_m, limits.wrist_upper_m),
    }
    motions = (
        ("joint", np.diff(joints, axis=0), (
            limits.joint_speed_rad_s, limits.joint_acceleration_rad_s2, limits.joint_jerk_rad_s3)),
        ("wrist", np.diff(wrist, axis=0), (
            limits.wrist_speed_m_s, limits.wrist_acceleration_m_s2, limits.wrist_jerk_m_s3)),
        ("wrist turn", np.array(turns).reshape(-1, 3), (
            limits.wrist_turn_rad_s, limits.wrist_turn_acceleration_rad_s2, limits.wrist_turn_jerk_rad_s3)),
    )  # fmt: skip
    for name, steps, tops in motions:
        for order, (values, top) in enumerate(zip(_derivatives(steps, dt), tops, strict=True)):
            size = np.abs(values) if name == "joint" else np.linalg.norm(values, axis=1)
            shares[f"{name} {('speed', 'acceleration', 'jerk')[order]}"] = float((size / np.array(top)).max(initial=0))
    worst = max(shares, key=lambda name: shares[name])
    return shares[worst], worst


def _outside(values: np.ndarray, lower: tuple[float, ...], upper: tuple[float, ...]) -> float:
    return float(np.maximum(np.array(lower) - values, values - np.array(upper)).max(initial=-1))


def _derivatives(steps: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    speed = steps / dt
    acceleration = np.diff(speed, axis=0, prepend=0 * speed[:1]) / dt
    return speed, acceleration, np.diff(acceleration, axis=0, prepend=0 * acceleration[:1]) / dt
