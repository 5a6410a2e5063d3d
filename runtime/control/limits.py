"""The last step before the hand: any target at all in, a command within all limits out, from position to jerk.

One step per control period. No target, and no sequence of targets, makes a command break a limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.control.jerk import MovingAverage, smoothing_steps
from vpp_edge.runtime.control.scalar_rotation import normalized
from vpp_edge.runtime.control.speed_limits import JointSteps, WristSteps
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout, TwistLayout

JOINT_TOLERANCE_RAD = 0.1  # how far a hand may be outside its limits at the start (encoder noise, soft stops)
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
        ahead: (7 + J,) float64, the pose before smoothing: `command` is its moving average. A new chunk takes over
            from here.
        speed: (6 + J,) float64, how `ahead` moves, a TwistLayout.
        counts: ClampCounts.
        smoothing: how many periods the moving average covers (runtime/control/jerk.py).
    """

    def __init__(self, limits: HandLimits, period_ns: int) -> None:
        if period_ns < 1:
            raise BadInputError(f"control period of {period_ns} ns; expected a positive one")
        self.limits = limits
        self.counts = ClampCounts()
        period_s, dims = period_ns / 1e9, limits.pose_dims
        self.smoothing = smoothing_steps(limits, period_s)
        self.command, self.ahead, self.speed = np.zeros(dims), np.zeros(dims), np.zeros(TwistLayout.dims(limits.joints))
        self._previous = np.zeros(dims)  # target of the last step, within the position limits
        self._joints = JointSteps(limits, period_s, self.ahead[PoseLayout.JOINTS], self.speed[TwistLayout.JOINTS])
        self._wrist = WristSteps(limits, period_s, self.ahead[PoseLayout.WRIST], self.speed[TwistLayout.WRIST])
        self._average = MovingAverage(self.smoothing, dims)
        self._jerk = _JerkCheck(limits, period_s)
        self._still = 0  # how many steps `ahead` has not moved

    def reset(self, pose: np.ndarray) -> None:
        """Starts at rest at a measured `pose`, (7 + J,).

        Raises:
            HardwareFaultError: the hand stands outside its limits by more than measurement noise.
        """
        self._check_start(pose)
        ahead = self.ahead
        ahead[PoseLayout.QUATERNION] = normalized(pose[PoseLayout.QUATERNION])
        self._clip_positions(pose, out=ahead)
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
        tolerances = [WRIST_TOLERANCE_M] * 3 + [JOINT_TOLERANCE_RAD] * self.limits.joints
        values = (*pose[PoseLayout.POSITION], *pose[PoseLayout.JOINTS])
        for name, value, low, high, tolerance in zip(names, values, lower, upper, tolerances, strict=True):
            if not low - tolerance <= value <= high + tolerance:
                raise HardwareFaultError(
                    f"{name} is at {value:.3f}, outside its limits {low:.3f} to {high:.3f}; move the hand inside with "
                    "its own tools, or correct the limits in the hand's configuration"
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
        if target is not None and not _is_pose(target):
            self.counts.rejected += 1
            target = None
        joints = None if target is None else target[PoseLayout.JOINTS]
        clamped = (
            self._wrist.move(target, self._previous),
            self._wrist.turn(target, self._previous),
            self._joints.step(joints, self._previous[PoseLayout.JOINTS]),
        )
        if target is None:
            self._previous[:] = self.ahead
        else:
            self.counts.position += any(part.position for part in clamped)
            self.counts.speed += any(part.speed for part in clamped)
            self.counts.acceleration += any(part.acceleration for part in clamped)
        self.counts.jerk += self._jerk.exceeded(self.speed)
        self._still = 0 if self.speed.any() else self._still + 1
        self._smooth()
        return self.command

    def _smooth(self) -> None:
        mean = self._average.step(self.ahead)
        self.command[PoseLayout.QUATERNION] = mean[PoseLayout.QUATERNION]
        self._clip_positions(mean, out=self.command)  # changes something by rounding only

    def _clip_positions(self, pose: np.ndarray, out: np.ndarray) -> None:
        limits, position, joints = self.limits, PoseLayout.POSITION, PoseLayout.JOINTS
        np.clip(pose[position], limits.wrist_lower_m, limits.wrist_upper_m, out=out[position])
        np.clip(pose[joints], limits.joint_lower_rad, limits.joint_upper_rad, out=out[joints])


def _is_pose(target: np.ndarray) -> bool:
    return bool(np.isfinite(target).all()) and 0.5 < math.hypot(*target[PoseLayout.QUATERNION]) < 2


class _JerkCheck:
    """Whether the acceleration, before smoothing, changed from step to step by more than the jerk limits allow."""

    def __init__(self, limits: HandLimits, period_s: float) -> None:
        self._limits = (
            np.array([*(limits.wrist_jerk_m_s3,) * 3, *(limits.wrist_turn_jerk_rad_s3,) * 3, *limits.joint_jerk_rad_s3])
            * period_s**2
        )
        self._speed, self._change, self._next = (np.zeros(len(self._limits)) for _ in range(3))

    def exceeded(self, speed: np.ndarray) -> bool:
        """Takes the speed (6 + J,) of the next step; each axis of the wrist is checked alone."""
        np.subtract(speed, self._speed, out=self._next)
        np.subtract(self._next, self._change, out=self._change)
        np.abs(self._change, out=self._change)
        over = bool((self._change > self._limits).any())
        self._speed[:] = speed
        self._change, self._next = self._next, self._change
        return over
