"""The last word before the hand: in, any target at all; out, a command within position, speed and acceleration limits.

One step per control period. The speed towards a limit (and towards the target) is never higher than what the allowed
deceleration can still stop in time, computed exactly for discrete steps, so that all limits hold at once and always:
there is no target, and no order of targets, that makes a command break one of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.interfaces import HandLimits
from vpp_edge.runtime.rotation import difference, normalized, turned

WRIST_STOP_S = 0.1  # the wrist comes to rest from full speed in this time; HandLimits gives it no acceleration limit
JOINT_TOLERANCE_RAD = 0.1  # a hand may stand this far outside its limits at the start (encoder noise, soft stops)
WRIST_TOLERANCE_M = 0.02
SAME = 1e-9  # a command this close to its target was not clamped


@dataclass
class ClampCounts:
    """Ticks in which a limit changed the target, by kind; one tick can count in several.

    Attributes:
        position, speed, acceleration: the target itself, the speed to it, or the change of speed was over its limit.
        rejected: the target held NaN, Inf or no rotation and was replaced by a stop.
    """

    position: int = 0
    speed: int = 0
    acceleration: int = 0
    rejected: int = 0


def braking_speed(distance: float, quantum: float, period_s: float) -> float:
    """The highest speed from which steps that slow down by `quantum / period_s` each still end within `distance`.

    With y the first step, the steps y, y - q, y - 2 q ... cover `n y - q n (n - 1) / 2`, where n is how many are
    positive; this solves for y.
    """
    if distance <= 0:
        return 0.0
    n = math.floor((1 + math.sqrt(1 + 8 * distance / quantum)) / 2)
    return (distance / n + quantum * (n - 1) / 2) / period_s


class Limiter:
    """Turns targets into commands for one hand at one rate.

    Attributes:
        command: (7 + J,) float64, the last command.
        speed: (6 + J,) float64, how it moves: m/s, rad/s of the wrist in its own frame, rad/s of the joints.
        counts: ClampCounts.
        wrist_acceleration_m_s2, turn_acceleration_rad_s2: limits derived from the wrist's speeds (WRIST_STOP_S).
    """

    def __init__(self, limits: HandLimits, period_ns: int) -> None:
        if period_ns < 1:
            raise BadInputError(f"control period of {period_ns} ns; expected a positive one")
        self.limits = limits
        self.counts = ClampCounts()
        self._dt = period_ns / 1e9
        # Half of it changes the speed towards the target, half per axis brakes before the box: together at most this.
        self.wrist_acceleration_m_s2 = 2 * limits.wrist_speed_m_s / WRIST_STOP_S
        self.turn_acceleration_rad_s2 = limits.wrist_turn_rad_s / WRIST_STOP_S
        self._lower = np.array(limits.joint_lower_rad)
        self._upper = np.array(limits.joint_upper_rad)
        self._top_speed = np.array(limits.joint_speed_rad_s)
        self._speed_change = np.array(limits.joint_acceleration_rad_s2) * self._dt
        self._quantum = self._speed_change * self._dt
        joints = len(limits.joint_names)
        self.command = np.zeros(7 + joints)
        self.speed = np.zeros(6 + joints)
        self._previous = np.zeros(7 + joints)  # target of the last step, within the position limits
        self._a, self._b, self._c, self._wanted, self._clipped = (np.zeros(joints) for _ in range(5))

    def reset(self, pose: np.ndarray) -> None:
        """Starts at rest at a measured `pose`, (7 + J,).

        Raises:
            HardwareFaultError: the hand stands outside its limits by more than measurement noise.
        """
        self._check_start(pose)
        self.command[:] = pose
        self.command[3:7] = normalized(pose[3:7])
        np.clip(pose[:3], self.limits.wrist_lower_m, self.limits.wrist_upper_m, out=self.command[:3])
        np.clip(pose[7:], self._lower, self._upper, out=self.command[7:])
        self.speed[:] = 0
        self._previous[:] = self.command

    def _check_start(self, pose: np.ndarray) -> None:
        if pose.shape != self.command.shape or not np.isfinite(pose).all():
            raise HardwareFaultError(
                f"the hand reports {pose.shape} values, finite: {bool(np.isfinite(pose).all())}; "
                f"expected {self.command.shape} finite ones"
            )
        lower = (*self.limits.wrist_lower_m, *self.limits.joint_lower_rad)
        upper = (*self.limits.wrist_upper_m, *self.limits.joint_upper_rad)
        names = ("wrist x", "wrist y", "wrist z", *self.limits.joint_names)
        tolerances = [WRIST_TOLERANCE_M] * 3 + [JOINT_TOLERANCE_RAD] * len(self.limits.joint_names)
        values = (*pose[:3], *pose[7:])
        for name, value, low, high, tolerance in zip(names, values, lower, upper, tolerances, strict=True):
            if not low - tolerance <= value <= high + tolerance:
                raise HardwareFaultError(
                    f"{name} stands at {value:.3f}, outside its limits {low:.3f} to {high:.3f}; "
                    "move the hand inside by its own tools, or correct the limits in the hand's configuration"
                )

    @property
    def at_rest(self) -> bool:
        """Whether the command does not move any more."""
        return not self.speed.any()

    def step(self, target: np.ndarray | None) -> np.ndarray:
        """The command of the next period: towards `target` (7 + J,), or to rest as fast as allowed for None.

        Returns:
            `self.command`, valid until the next step.
        """
        if target is not None and not (np.isfinite(target).all() and 0.5 < math.hypot(*target[3:7]) < 2):
            self.counts.rejected += 1
            target = None
        position, fast, jerky = self._step_wrist(target)
        turn_fast, turn_jerky = self._step_turn(target)
        joint_position, joint_fast, joint_jerky = self._step_joints(target)
        if target is None:
            self._previous[:] = self.command
        else:
            self.counts.position += position or joint_position
            self.counts.speed += fast or turn_fast or joint_fast
            self.counts.acceleration += jerky or turn_jerky or joint_jerky
        return self.command

    def _step_joints(self, target: np.ndarray | None) -> tuple[bool, bool, bool]:
        position, speed, wanted = self.command[7:], self.speed[6:], self._wanted
        outside = False
        if target is None:
            wanted[:] = 0
        else:
            np.clip(target[7:], self._lower, self._upper, out=self._clipped)
            np.subtract(target[7:], self._clipped, out=self._a)
            outside = bool(np.abs(self._a, out=self._a).max(initial=0.0) > SAME)
            previous = self._previous[7:]
            np.subtract(previous, position, out=self._a)
            np.abs(self._a, out=self._c)
            self._braking(self._c, wanted)
            np.copysign(wanted, self._a, out=wanted)
            np.subtract(self._clipped, previous, out=self._a)
            self._a /= self._dt
            wanted += self._a
            previous[:] = self._clipped
        fast = self._clip_counted(wanted, self._top_speed, None)
        jerky = self._clip_counted(wanted, self._speed_change, speed)
        np.subtract(self._upper, position, out=self._c)
        self._braking(self._c, self._a)
        np.minimum(wanted, self._a, out=wanted)
        np.subtract(position, self._lower, out=self._c)
        self._braking(self._c, self._a)
        np.negative(self._a, out=self._a)
        np.maximum(wanted, self._a, out=wanted)
        np.multiply(wanted, self._dt, out=self._a)
        position += self._a
        np.clip(position, self._lower, self._upper, out=position)
        speed[:] = wanted
        return outside, fast, jerky

    def _clip_counted(self, values: np.ndarray, width: np.ndarray, centre: np.ndarray | None) -> bool:
        """Clips `values` in place to `centre` +- `width` (the speed change, or the speed about 0)."""
        low, high = self._a, self._b
        if centre is None:
            np.negative(width, out=low)
            high[:] = width
        else:
            np.subtract(centre, width, out=low)
            np.add(centre, width, out=high)
        np.clip(values, low, high, out=low)
        np.subtract(values, low, out=high)
        changed = bool(np.abs(high, out=high).max(initial=0.0) > SAME)
        values[:] = low
        return changed

    def _braking(self, distance: np.ndarray, out: np.ndarray) -> None:
        """`braking_speed` for every joint; `distance` is overwritten."""
        n = self._b
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

    def _step_wrist(self, target: np.ndarray | None) -> tuple[bool, bool, bool]:
        limits, dt = self.limits, self._dt
        change = self.wrist_acceleration_m_s2 / 2 * dt
        quantum = change * dt
        wanted, outside, fast = [0.0, 0.0, 0.0], False, False
        if target is not None:
            error = [float(self._previous[i] - self.command[i]) for i in range(3)]
            jump = [0.0, 0.0, 0.0]
            for i in range(3):
                inside = min(max(float(target[i]), limits.wrist_lower_m[i]), limits.wrist_upper_m[i])
                outside = outside or abs(inside - float(target[i])) > SAME
                jump[i] = (inside - float(self._previous[i])) / dt
                self._previous[i] = inside
            wanted, fast = _towards(jump, error, quantum, dt, limits.wrist_speed_m_s)
        wanted, jerky = _changed(self.speed[:3], wanted, change)
        for i in range(3):
            place = float(self.command[i])
            highest = braking_speed(limits.wrist_upper_m[i] - place, quantum, dt)
            lowest = -braking_speed(place - limits.wrist_lower_m[i], quantum, dt)
            wanted[i] = min(max(wanted[i], lowest), highest)
            place += wanted[i] * dt
            self.command[i] = min(max(place, limits.wrist_lower_m[i]), limits.wrist_upper_m[i])
            self.speed[i] = wanted[i]
        return outside, fast, jerky

    def _step_turn(self, target: np.ndarray | None) -> tuple[bool, bool]:
        dt, change = self._dt, self.turn_acceleration_rad_s2 * self._dt
        wanted, fast = [0.0, 0.0, 0.0], False
        if target is not None:
            inside = normalized(target[3:7])
            error = difference(self.command[3:7], self._previous[3:7])
            jump = [v / dt for v in difference(self._previous[3:7], inside)]
            self._previous[3:7] = inside
            wanted, fast = _towards(jump, error, change * dt, dt, self.limits.wrist_turn_rad_s)
        wanted, jerky = _changed(self.speed[3:6], wanted, change)
        self.command[3:7] = turned(self.command[3:7], wanted, dt)
        self.speed[3:6] = wanted
        return fast, jerky


def _towards(
    jump: list[float], error: tuple[float, ...] | list[float], quantum: float, dt: float, top: float
) -> tuple[list[float], bool]:
    """The speed that follows the target's own (`jump`) and closes the `error`, at most `top`; whether that cut it."""
    distance = math.sqrt(sum(v * v for v in error))
    gain = braking_speed(distance, quantum, dt) / distance if distance > 0 else 0.0
    wanted = [j + gain * e for j, e in zip(jump, error, strict=True)]
    length = math.sqrt(sum(v * v for v in wanted))
    if length <= top:
        return wanted, False
    return [v * top / length for v in wanted], length > top + SAME


def _changed(speed: np.ndarray, wanted: list[float], change: float) -> tuple[list[float], bool]:
    """`speed` moved to `wanted` by at most `change`: a chord of the ball of allowed speeds, so never outside it."""
    now = [float(v) for v in speed]
    step = [w - v for w, v in zip(wanted, now, strict=True)]
    length = math.sqrt(sum(v * v for v in step))
    if length <= change:
        return wanted, False
    return [v + s * change / length for v, s in zip(now, step, strict=True)], length > change + SAME
