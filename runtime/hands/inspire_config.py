"""Configuration of one Inspire RH56 hand: limits, calibration and bus settings, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import real, whole
from vpp_edge.runtime.hands.config import BAUD, check_numbers, check_wrist
from vpp_edge.spec.hand_limits import HandLimits

JOINTS = 6
LARGEST_RAW = 1000


@dataclass(frozen=True)
class InspireConfig:
    """One RH56 hand of six joints, in the order of its registers.

    Attributes:
        limits: of the six joints.
        wrist: pose of the fixed wrist: xyz in m, quaternion (xyzw).
        raw_at_lower: (6,) measured values of the angle registers at `limits.joint_lower_rad`, 0 to 1000.
        raw_at_upper: (6,) the same at `limits.joint_upper_rad`; the two also define the counting direction.
        speed: (6,) speed registers, 1 to 1000.
        force: (6,) force registers, 1 to 1000: the force at which a finger stops by itself.
        unit: Modbus address of the hand.
        baud: of a serial line; unused over TCP.
        timeout_ms: time limit of one request.
        hottest_celsius, cooled_celsius: temperature of a joint that stops the hand, and below which it may be armed
            again.
    """

    limits: HandLimits
    wrist: tuple[float, ...]
    raw_at_lower: tuple[int, ...]
    raw_at_upper: tuple[int, ...]
    speed: tuple[int, ...]
    force: tuple[int, ...]
    unit: int
    baud: int
    timeout_ms: float
    hottest_celsius: int
    cooled_celsius: int

    def __post_init__(self) -> None:
        if len(self.limits.joint_names) != JOINTS:
            raise BadInputError(f"an RH56 has {JOINTS} joints, got limits of {len(self.limits.joint_names)}")
        check_wrist(self.wrist, self.limits)
        for name, least in (("raw_at_lower", 0), ("raw_at_upper", 0), ("speed", 1), ("force", 1)):
            values = getattr(self, name)
            check_numbers(name, values, JOINTS)
            for value in values:
                whole(least, LARGEST_RAW).check(name, value)
        if any(abs(a - b) < 10 for a, b in zip(self.raw_at_lower, self.raw_at_upper, strict=True)):
            raise BadInputError(
                "raw_at_lower and raw_at_upper of a joint differ by less than 10: not a valid calibration"
            )
        whole(1, 247).check("unit", self.unit)
        BAUD.check("baud", self.baud)
        real(1, 1000).check("timeout_ms", self.timeout_ms)
        whole(30, 80).check("hottest_celsius", self.hottest_celsius)
        whole(20, self.hottest_celsius - 1).check("cooled_celsius", self.cooled_celsius)

    def raw_from_joints(self, joints_rad: np.ndarray) -> list[int]:
        """Six angle registers, 0 to 1000, for six joint angles."""
        lower, upper = np.asarray(self.limits.joint_lower_rad), np.asarray(self.limits.joint_upper_rad)
        low, high = np.asarray(self.raw_at_lower), np.asarray(self.raw_at_upper)
        raw = low + (joints_rad - lower) / (upper - lower) * (high - low)
        return [int(value) for value in np.clip(np.rint(raw), 0, LARGEST_RAW)]

    def joints_from_raw(self, raw: np.ndarray) -> np.ndarray:
        """Six joint angles in rad; the inverse of `raw_from_joints`, up to rounding."""
        lower, upper = np.asarray(self.limits.joint_lower_rad), np.asarray(self.limits.joint_upper_rad)
        low, high = np.asarray(self.raw_at_lower), np.asarray(self.raw_at_upper)
        return lower + (raw - low) / (high - low) * (upper - lower)
