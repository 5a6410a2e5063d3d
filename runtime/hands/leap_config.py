"""Configuration of one LEAP hand: limits, calibration and bus settings, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import real, whole
from vpp_edge.runtime.hands.config import BAUD, check_numbers, check_wrist
from vpp_edge.runtime.hands.dynamixel_registers import RAD_PER_COUNT, WATCHDOG_UNIT_MS
from vpp_edge.spec.hand_limits import HandLimits

COUNTS = 4096


@dataclass(frozen=True)
class LeapConfig:
    """One hand of J XL330 or XC330 servos.

    Attributes:
        limits: of the J joints.
        wrist: pose of the fixed wrist: xyz in m, quaternion (xyzw).
        servo_ids: (J,) bus numbers, in the order of the joints.
        zero_rad: (J,) angle of the servo where its joint is at 0; pi for the usual assembly.
        direction: (J,) 1 or -1: sense of rotation of the servo when its joint angle increases.
        current_limit_ma: current limit of a servo in motion.
        hold_current_ma: current limit of a servo that holds after a fault.
        hottest_celsius: temperature of a servo that stops the hand; below `cooled_celsius` it may be armed again.
        watchdog_ms: silence on the bus after which servos stop by themselves, a multiple of 20.
        baud: rate of the bus in bits per second.
        read_ms: time limit for reading all servos, retries included.
        torque_off_at_close: whether the hand goes limp at the end of a run instead of holding.
    """

    limits: HandLimits
    wrist: tuple[float, ...]
    servo_ids: tuple[int, ...]
    zero_rad: tuple[float, ...]
    direction: tuple[int, ...]
    current_limit_ma: int
    hold_current_ma: int
    hottest_celsius: int
    cooled_celsius: int
    watchdog_ms: int
    baud: int
    read_ms: float
    torque_off_at_close: bool

    def __post_init__(self) -> None:
        joints = len(self.limits.joint_names)
        check_wrist(self.wrist, self.limits)
        for name in ("servo_ids", "zero_rad", "direction"):
            check_numbers(name, getattr(self, name), joints)
        if len(set(self.servo_ids)) != joints or not all(type(n) is int and 0 <= n <= 252 for n in self.servo_ids):
            raise BadInputError(f"servo_ids are {self.servo_ids}, expected distinct integers from 0 to 252")
        if not set(self.direction) <= {1, -1}:
            raise BadInputError(f"direction is {self.direction}, expected 1 or -1 for each joint")
        whole(1, 1750).check("current_limit_ma", self.current_limit_ma)
        whole(1, self.current_limit_ma).check("hold_current_ma", self.hold_current_ma)
        whole(30, 70).check("hottest_celsius", self.hottest_celsius)
        whole(20, self.hottest_celsius - 1).check("cooled_celsius", self.cooled_celsius)
        whole(WATCHDOG_UNIT_MS, 500).check("watchdog_ms", self.watchdog_ms)
        BAUD.check("baud", self.baud)
        real(1, 50).check("read_ms", self.read_ms)
        if self.watchdog_ms % WATCHDOG_UNIT_MS:
            raise BadInputError(f"watchdog_ms is {self.watchdog_ms}, expected a multiple of {WATCHDOG_UNIT_MS}")
        if type(self.torque_off_at_close) is not bool:
            raise BadInputError(f"torque_off_at_close is {self.torque_off_at_close}, expected true or false")
        for ends in (self.limits.joint_lower_rad, self.limits.joint_upper_rad):
            counts = self.counts_from_joints(np.array(ends))
            if (outside := np.flatnonzero((counts < 0) | (counts >= COUNTS))).size:
                name = self.limits.joint_names[outside[0]]
                raise BadInputError(
                    f"{name}: with this zero_rad and direction, its limits exceed the servo's single turn"
                )

    def counts_from_joints(self, joints_rad: np.ndarray) -> np.ndarray:
        """(J,) goal positions of the servos for (J,) joint angles."""
        motor_rad = np.asarray(self.zero_rad) + np.asarray(self.direction) * joints_rad
        return np.rint(motor_rad / RAD_PER_COUNT).astype(np.int64)

    def joints_from_counts(self, counts: np.ndarray) -> np.ndarray:
        """(J,) joint angles in rad; the inverse of `counts_from_joints`, up to rounding."""
        return (counts * RAD_PER_COUNT - np.asarray(self.zero_rad)) * np.asarray(self.direction)
