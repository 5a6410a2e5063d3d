"""Speeds that can always be stopped: in, wanted poses; out, steps within position, speed and acceleration limits.

The speed towards a limit (and towards the target) is never higher than what the allowed deceleration can still stop in
time, computed exactly for discrete steps, so that all limits hold at once and always.
"""

from __future__ import annotations

import math

import numpy as np

from vpp_edge.runtime.control.scalar_rotation import difference, normalized, turned
from vpp_edge.runtime.interfaces import HandLimits

SAME = 1e-9  # a command this close to its target was not clamped


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
    """Takes the joints from command to command, all at once.

    Args:
        position: (J,) the commanded angles, a view that is changed in place; `speed`: (J,) the same in rad/s.
    """

    def __init__(self, limits: HandLimits, period_s: float, position: np.ndarray, speed: np.ndarray) -> None:
        self._position, self._speed, self._dt = position, speed, period_s
        self._lower, self._upper = np.array(limits.joint_lower_rad), np.array(limits.joint_upper_rad)
        self._top_speed = np.array(limits.joint_speed_rad_s)
        self._speed_change = np.array(limits.joint_acceleration_rad_s2) * period_s
        self._quantum = self._speed_change * period_s
        self._a, self._b, self._c, self._wanted, self._clipped = (np.zeros(len(position)) for _ in range(5))

    def step(self, target: np.ndarray | None, previous: np.ndarray) -> tuple[bool, bool, bool]:
        """One step towards `target` (J,), or to rest for None.

        Args:
            previous: (J,) target of the step before, within the limits; this one's is written there.

        Returns:
            whether a limit of position, speed or acceleration changed what was wanted.
        """
        position, speed, wanted = self._position, self._speed, self._wanted
        outside = False
        if target is None:
            wanted[:] = 0
        else:
            np.clip(target, self._lower, self._upper, out=self._clipped)
            np.subtract(target, self._clipped, out=self._a)
            outside = bool(np.abs(self._a, out=self._a).max(initial=0.0) > SAME)
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


class WristSteps:
    """Takes the wrist from command to command: its place in the box, its orientation.

    Args:
        pose: (7,) commanded xyz and quaternion, a view that is changed in place; `speed`: (6,) m/s, and rad/s in the
            wrist's own frame.
    """

    def __init__(self, limits: HandLimits, period_s: float, pose: np.ndarray, speed: np.ndarray) -> None:
        self._limits, self._dt, self._pose, self._speed = limits, period_s, pose, speed
        # Half of it changes the speed towards the target, half per axis brakes before the box: together at most this.
        self._change = limits.wrist_acceleration_m_s2 / 2 * period_s
        self._turn_change = limits.wrist_turn_acceleration_rad_s2 * period_s

    def move(self, target: np.ndarray | None, previous: np.ndarray) -> tuple[bool, bool, bool]:
        """One step of the place towards `target` (at least 3,), or to rest for None; `previous` and what comes back
        are those of `JointSteps.step`.
        """
        limits, dt, change = self._limits, self._dt, self._change
        quantum = change * dt
        wanted, outside, fast = [0.0, 0.0, 0.0], False, False
        if target is not None:
            error = [float(previous[i] - self._pose[i]) for i in range(3)]
            jump = [0.0, 0.0, 0.0]
            for i in range(3):
                inside = min(max(float(target[i]), limits.wrist_lower_m[i]), limits.wrist_upper_m[i])
                outside = outside or abs(inside - float(target[i])) > SAME
                jump[i] = (inside - float(previous[i])) / dt
                previous[i] = inside
            wanted, fast = _towards(jump, error, quantum, dt, limits.wrist_speed_m_s)
        wanted, jerky = _changed(self._speed[:3], wanted, change)
        for i in range(3):
            place = float(self._pose[i])
            highest = braking_speed(limits.wrist_upper_m[i] - place, quantum, dt)
            lowest = -braking_speed(place - limits.wrist_lower_m[i], quantum, dt)
            wanted[i] = min(max(wanted[i], lowest), highest)
            place += wanted[i] * dt
            self._pose[i] = min(max(place, limits.wrist_lower_m[i]), limits.wrist_upper_m[i])
            self._speed[i] = wanted[i]
        return outside, fast, jerky

    def turn(self, target: np.ndarray | None, previous: np.ndarray) -> tuple[bool, bool]:
        """The same of the orientation, towards the quaternion in `target` (at least 7,)."""
        dt, change = self._dt, self._turn_change
        wanted, fast = [0.0, 0.0, 0.0], False
        if target is not None:
            inside = normalized(target[3:7])
            error = difference(self._pose[3:7], previous[3:7])
            jump = [v / dt for v in difference(previous[3:7], inside)]
            previous[3:7] = inside
            wanted, fast = _towards(jump, error, change * dt, dt, self._limits.wrist_turn_rad_s)
        wanted, jerky = _changed(self._speed[3:6], wanted, change)
        self._pose[3:7] = turned(self._pose[3:7], wanted, dt)
        self._speed[3:6] = wanted
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
