"""The last word before the hand: in, any target at all; out, a command within all limits, from position to jerk.

One step per control period. There is no target, and no order of targets, that makes a command break a limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.control.jerk import MovingAverage, smoothing_steps
from vpp_edge.runtime.control.scalar_rotation import normalized
from vpp_edge.runtime.control.speed_limits import JointSteps, WristSteps
from vpp_edge.runtime.interfaces import HandLimits

JOINT_TOLERANCE_RAD = 0.1  # a hand may stand this far outside its limits at the start (encoder noise, soft stops)
WRIST_TOLERANCE_M = 0.02


@dataclass
class ClampCounts:
    """Ticks in which a limit changed the target, by kind; one tick can count in several.

    Attributes:
        position, speed, acceleration: the target itself, the speed to it, or the change of speed was over its limit.
        rejected: the target held NaN, Inf or no rotation and was replaced by a stop.
        jerk: without it, the acceleration would have changed faster than allowed.
    """

    position: int = 0
    speed: int = 0
    acceleration: int = 0
    rejected: int = 0
    jerk: int = 0


class Limiter:
    """Turns targets into commands for one hand at one rate.

    Attributes:
        command: (7 + J,) float64, the last command.
        ahead: (7 + J,) float64, where the command is going: what `command` is a moving average of. Who plans on takes
            over here.
        speed: (6 + J,) float64, how `ahead` moves: m/s, rad/s of the wrist in its own frame, rad/s of the joints.
        counts: ClampCounts.
        smoothing: over how many periods commands are averaged (runtime/control/jerk.py).
    """

    def __init__(self, limits: HandLimits, period_ns: int) -> None:
        if period_ns < 1:
            raise BadInputError(f"control period of {period_ns} ns; expected a positive one")
        self.limits = limits
        self.counts = ClampCounts()
        period_s, dims = period_ns / 1e9, 7 + len(limits.joint_names)
        self.smoothing = smoothing_steps(limits, period_s)
        self.command, self.ahead, self.speed = np.zeros(dims), np.zeros(dims), np.zeros(dims - 1)
        self._previous = np.zeros(dims)  # target of the last step, within the position limits
        self._joints = JointSteps(limits, period_s, self.ahead[7:], self.speed[6:])
        self._wrist = WristSteps(limits, period_s, self.ahead[:7], self.speed[:6])
        self._average = MovingAverage(self.smoothing, dims)
        self._jerk = _JerkCount(limits, period_s)
        self._still = 0  # for how many steps `ahead` has not moved

    def reset(self, pose: np.ndarray) -> None:
        """Starts at rest at a measured `pose`, (7 + J,).

        Raises:
            HardwareFaultError: the hand stands outside its limits by more than measurement noise.
        """
        self._check_start(pose)
        limits, ahead = self.limits, self.ahead
        ahead[3:7] = normalized(pose[3:7])
        np.clip(pose[:3], limits.wrist_lower_m, limits.wrist_upper_m, out=ahead[:3])
        np.clip(pose[7:], limits.joint_lower_rad, limits.joint_upper_rad, out=ahead[7:])
        self.speed[:] = 0
        self._previous[:] = self.command[:] = ahead
        self._average.reset(ahead)
        self._still = self.smoothing

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
        return self._still >= self.smoothing

    def step(self, target: np.ndarray | None) -> np.ndarray:
        """The command of the next period: towards `target` (7 + J,), or to rest as fast as allowed for None.

        Returns:
            `self.command`, valid until the next step.
        """
        if target is not None and not (np.isfinite(target).all() and 0.5 < math.hypot(*target[3:7]) < 2):
            self.counts.rejected += 1
            target = None
        position, fast, hasty = self._wrist.move(target, self._previous)
        turn_fast, turn_hasty = self._wrist.turn(target, self._previous)
        joints = None if target is None else target[7:]
        joint_position, joint_fast, joint_hasty = self._joints.step(joints, self._previous[7:])
        if target is None:
            self._previous[:] = self.ahead
        else:
            self.counts.position += position or joint_position
            self.counts.speed += fast or turn_fast or joint_fast
            self.counts.acceleration += hasty or turn_hasty or joint_hasty
        self.counts.jerk += self._jerk.exceeded(self.speed)
        self._still = 0 if self.speed.any() else self._still + 1
        self._smooth()
        return self.command

    def _smooth(self) -> None:
        mean, limits = self._average.step(self.ahead), self.limits
        self.command[3:7] = mean[3:7]
        np.clip(mean[:3], limits.wrist_lower_m, limits.wrist_upper_m, out=self.command[:3])  # by rounding only
        np.clip(mean[7:], limits.joint_lower_rad, limits.joint_upper_rad, out=self.command[7:])


class _JerkCount:
    """Whether the change of acceleration from step to step was over a limit, before it was smoothed."""

    def __init__(self, limits: HandLimits, period_s: float) -> None:
        self._limits = (
            np.array([*(limits.wrist_jerk_m_s3,) * 3, *(limits.wrist_turn_jerk_rad_s3,) * 3, *limits.joint_jerk_rad_s3])
            * period_s**2
        )
        self._speed, self._change, self._next = (np.zeros(len(self._limits)) for _ in range(3))

    def exceeded(self, speed: np.ndarray) -> bool:
        """Takes the speed (6 + J,) of the next step; of the wrist each axis counts alone."""
        np.subtract(speed, self._speed, out=self._next)
        np.subtract(self._next, self._change, out=self._change)
        np.abs(self._change, out=self._change)
        over = bool((self._change > self._limits).any())
        self._speed[:] = speed
        self._change, self._next = self._next, self._change
        return over
