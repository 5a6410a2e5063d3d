"""Steps within the limits of position, speed and acceleration: where to go in, how far to move in one period out.

The speed towards a limit, and towards the target, is never higher than what the allowed deceleration can still stop in
time, computed exactly for discrete steps. So all limits hold at once and always.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vpp_edge.runtime.control.scalar_rotation import difference, normalized, turned
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout, TwistLayout

SAME = 1e-9  # a command this close to its target was not clamped


class Clamped(NamedTuple):
    """Which limits changed what a step would have been."""

    position: bool
    speed: bool
    acceleration: bool


def braking_speed(distance: float, quantum: float, period_s: float) -> float:
    """The highest speed from which steps that slow down by `quantum / period_s` each still end within `distance`.

    With y the first step, the steps y, y - q, y - 2 q ... cover `n y - q n (n - 1) / 2`, where n is how many are
    positive; this solves for y.
    """
    if distance <= 0:
        return 0.0
    n = math.floor((1 + math.sqrt(1 + 8 * distance / quantum)) / 2)
    return (distance / n + quantum * (n - 1) / 2) / period_s


class JointSteps:
    """Takes all joints from command to command. Works in preallocated arrays, so that a step allocates nothing.

    Args:
        position: (J,) the commanded angles, a view that is changed in place.
        speed: (J,) their speed in rad/s, changed in place too.
    """

    def __init__(self, limits: HandLimits, period_s: float, position: np.ndarray, speed: np.ndarray) -> None:
        self._position, self._speed, self._dt = position, speed, period_s
        self._lower, self._upper = np.array(limits.joint_lower_rad), np.array(limits.joint_upper_rad)
        self._top_speed = np.array(limits.joint_speed_rad_s)
        self._top_change = np.array(limits.joint_acceleration_rad_s2) * period_s  # of the speed, per step
        self._quantum = self._top_change * period_s
        joints = len(position)
        self._wanted = np.zeros(joints)  # the speed of this step, in rad/s, as it is being limited
        self._inside = np.zeros(joints)  # the target within the position limits
        # Intermediate results, each named after the one thing it holds.
        self._gap, self._distance, self._stopping = np.zeros(joints), np.zeros(joints), np.zeros(joints)
        self._target_speed, self._steps_to_stop = np.zeros(joints), np.zeros(joints)
        self._lowest, self._highest, self._excess = np.zeros(joints), np.zeros(joints), np.zeros(joints)

    def step(self, target: np.ndarray | None, previous: np.ndarray) -> Clamped:
        """One step towards `target` (J,), or to rest for None.

        Args:
            previous: (J,) target of the step before, within the limits; this step's target is written there.
        """
        outside = False
        if target is None:
            self._wanted[:] = 0
        else:
            outside = self._follow(target, previous)
        fast = self._clip_speed()
        hasty = self._clip_acceleration()
        self._brake_before_limits()
        np.multiply(self._wanted, self._dt, out=self._distance)
        self._position += self._distance
        np.clip(self._position, self._lower, self._upper, out=self._position)  # by rounding only
        self._speed[:] = self._wanted
        return Clamped(outside, fast, hasty)

    def _follow(self, target: np.ndarray, previous: np.ndarray) -> bool:
        """Wants the target's own speed, plus the highest speed that closes the gap to it and can still be stopped.

        Returns:
            whether the target was outside the position limits.
        """
        np.clip(target, self._lower, self._upper, out=self._inside)
        np.subtract(target, self._inside, out=self._excess)
        outside = bool(np.abs(self._excess, out=self._excess).max(initial=0.0) > SAME)
        np.subtract(previous, self._position, out=self._gap)
        np.abs(self._gap, out=self._distance)
        self._braking_speed(self._distance, out=self._stopping)
        np.copysign(self._stopping, self._gap, out=self._wanted)
        np.subtract(self._inside, previous, out=self._target_speed)
        self._target_speed /= self._dt
        self._wanted += self._target_speed
        previous[:] = self._inside
        return outside

    def _clip_speed(self) -> bool:
        """Keeps the wanted speed within +- top speed; whether that changed it."""
        np.negative(self._top_speed, out=self._lowest)
        self._highest[:] = self._top_speed
        return self._clip_wanted()

    def _clip_acceleration(self) -> bool:
        """Keeps the wanted speed within one step's change of the present speed; whether that changed it."""
        np.subtract(self._speed, self._top_change, out=self._lowest)
        np.add(self._speed, self._top_change, out=self._highest)
        return self._clip_wanted()

    def _clip_wanted(self) -> bool:
        np.clip(self._wanted, self._lowest, self._highest, out=self._lowest)
        np.subtract(self._wanted, self._lowest, out=self._excess)
        changed = bool(np.abs(self._excess, out=self._excess).max(initial=0.0) > SAME)
        self._wanted[:] = self._lowest
        return changed

    def _brake_before_limits(self) -> None:
        """Keeps the wanted speed at what still stops before the upper and the lower position limit."""
        np.subtract(self._upper, self._position, out=self._distance)
        self._braking_speed(self._distance, out=self._stopping)
        np.minimum(self._wanted, self._stopping, out=self._wanted)
        np.subtract(self._position, self._lower, out=self._distance)
        self._braking_speed(self._distance, out=self._stopping)
        np.negative(self._stopping, out=self._stopping)
        np.maximum(self._wanted, self._stopping, out=self._wanted)

    def _braking_speed(self, distance: np.ndarray, out: np.ndarray) -> None:
        """`braking_speed` of every joint; `distance` is overwritten."""
        n = self._steps_to_stop
        np.maximum(distance, 0, out=distance)
        np.divide(distance, self._quantum, out=n)
        n *= 8
        n += 1
        np.sqrt(n, out=n)
        n += 1
        n *= 0.5
        np.floor(n, out=n)
        np.divide(distance, n, out=distance)
        n -= 1
        n *= self._quantum
        n *= 0.5
        np.add(distance, n, out=out)
        out /= self._dt


class WristSteps:
    """Takes the wrist from command to command: its position in the box, its orientation.

    Args:
        pose: (7,) commanded position and quaternion, a view that is changed in place.
        speed: (6,) m/s, and rad/s in the wrist's own frame, changed in place too.
    """

    def __init__(self, limits: HandLimits, period_s: float, pose: np.ndarray, speed: np.ndarray) -> None:
        self._limits, self._dt, self._pose, self._speed = limits, period_s, pose, speed
        # Half of it changes the speed towards the target, half per axis brakes before the box: together at most this.
        self._top_change = limits.wrist_acceleration_m_s2 / 2 * period_s
        self._top_turn_change = limits.wrist_turn_acceleration_rad_s2 * period_s

    def move(self, target: np.ndarray | None, previous: np.ndarray) -> Clamped:
        """One step of the position towards `target` (at least 3,), or to rest for None; otherwise as for joints."""
        limits, dt = self._limits, self._dt
        quantum = self._top_change * dt
        wanted, outside, fast = [0.0, 0.0, 0.0], False, False
        if target is not None:
            gap = [float(previous[i] - self._pose[i]) for i in range(3)]
            target_speed = [0.0, 0.0, 0.0]
            for i in range(3):
                inside = min(max(float(target[i]), limits.wrist_lower_m[i]), limits.wrist_upper_m[i])
                outside = outside or abs(inside - float(target[i])) > SAME
                target_speed[i] = (inside - float(previous[i])) / dt
                previous[i] = inside
            wanted, fast = _followed(target_speed, gap, quantum, dt, top_speed=limits.wrist_speed_m_s)
        wanted, hasty = _accelerated(self._speed[TwistLayout.LINEAR], wanted, self._top_change)
        for i in range(3):
            place = float(self._pose[i])
            highest = braking_speed(limits.wrist_upper_m[i] - place, quantum, dt)
            lowest = -braking_speed(place - limits.wrist_lower_m[i], quantum, dt)
            wanted[i] = min(max(wanted[i], lowest), highest)
            place += wanted[i] * dt
            self._pose[i] = min(max(place, limits.wrist_lower_m[i]), limits.wrist_upper_m[i])
            self._speed[i] = wanted[i]
        return Clamped(outside, fast, hasty)

    def turn(self, target: np.ndarray | None, previous: np.ndarray) -> Clamped:
        """One step of the orientation, towards the quaternion in `target` (at least 7,). It has no position limit."""
        dt, quaternion = self._dt, PoseLayout.QUATERNION
        wanted, fast = [0.0, 0.0, 0.0], False
        if target is not None:
            inside = normalized(target[quaternion])
            gap = difference(self._pose[quaternion], previous[quaternion])
            target_speed = [v / dt for v in difference(previous[quaternion], inside)]
            previous[quaternion] = inside
            quantum = self._top_turn_change * dt
            wanted, fast = _followed(target_speed, gap, quantum, dt, top_speed=self._limits.wrist_turn_rad_s)
        wanted, hasty = _accelerated(self._speed[TwistLayout.ANGULAR], wanted, self._top_turn_change)
        self._pose[quaternion] = turned(self._pose[quaternion], wanted, dt)
        self._speed[TwistLayout.ANGULAR] = wanted
        return Clamped(False, fast, hasty)


def _followed(
    target_speed: list[float], gap: tuple[float, ...] | list[float], quantum: float, dt: float, *, top_speed: float
) -> tuple[list[float], bool]:
    """The target's own speed plus what closes the gap, at most `top_speed`; whether that cut it."""
    distance = math.sqrt(sum(v * v for v in gap))
    gain = braking_speed(distance, quantum, dt) / distance if distance > 0 else 0.0
    wanted = [own + gain * away for own, away in zip(target_speed, gap, strict=True)]
    length = math.sqrt(sum(v * v for v in wanted))
    if length <= top_speed:
        return wanted, False
    return [v * top_speed / length for v in wanted], length > top_speed + SAME


def _accelerated(speed: np.ndarray, wanted: list[float], top_change: float) -> tuple[list[float], bool]:
    """`speed` moved to `wanted` by at most `top_change`: a chord of the ball of allowed speeds, so never outside it."""
    now = [float(v) for v in speed]
    change = [w - v for w, v in zip(wanted, now, strict=True)]
    length = math.sqrt(sum(v * v for v in change))
    if length <= top_change:
        return wanted, False
    return [v + c * top_change / length for v, c in zip(now, change, strict=True)], length > top_change + SAME
