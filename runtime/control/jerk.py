"""Bounded jerk: in, commands within their speeds and accelerations; out, a moving average of them, with bounded jerk.

An acceleration that never exceeds A changes by at most 2 A / n per step once it is averaged over n steps, so n is
chosen that this is at most the jerk allowed (Biagiotti and Melchiorri, "Trajectory Planning for Automatic Machines and
Robots", 2008, on trajectories through FIR filters). An average lies between what it is an average of: limits of
position, speed and acceleration stay kept. The price is a delay of (n - 1) / 2 steps, the same for every joint.
"""

from __future__ import annotations

import math

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.scalar_rotation import normalized
from vpp_edge.runtime.interfaces import HandLimits

LONGEST_BUILD_UP_S = 0.2  # a hand that needs longer to build an acceleration up answers too late to be safe


def smoothing_steps(limits: HandLimits, period_s: float) -> int:
    """n: over how many periods commands are averaged, so that no limit of jerk is exceeded.

    Raises:
        BadInputError: a jerk limit is so low that an acceleration would take longer than 0.2 s to turn round.
    """
    joints = zip(limits.joint_names, limits.joint_acceleration_rad_s2, limits.joint_jerk_rad_s3, strict=True)
    bounds = [
        *joints,
        ("wrist", limits.wrist_acceleration_m_s2, limits.wrist_jerk_m_s3),
        ("wrist's turn", limits.wrist_turn_acceleration_rad_s2, limits.wrist_turn_jerk_rad_s3),
    ]
    name, seconds = max(((name, 2 * top / jerk) for name, top, jerk in bounds), key=lambda bound: bound[1])
    if seconds > LONGEST_BUILD_UP_S:
        raise BadInputError(
            f"hand limits: with its jerk limit the acceleration of {name} takes {seconds:.2f} s to turn round, at most "
            f"{LONGEST_BUILD_UP_S} s is safe; raise the jerk limit or lower the acceleration limit"
        )
    return max(1, math.ceil(round(seconds / period_s, 6)))


class MovingAverage:
    """The mean of the last n poses, (7 + J,) each; allocates nothing per step but the mean's own scalars.

    Attributes:
        mean: (7 + J,) float64, the present mean; its quaternion has length 1.
    """

    def __init__(self, steps: int, dims: int) -> None:
        self._poses, self._away = np.zeros((steps, dims)), np.zeros((steps, dims))
        self._next = 0
        self.mean = np.zeros(dims)

    def reset(self, pose: np.ndarray) -> None:
        """As if `pose` had been held for long."""
        self._poses[:] = pose
        self.mean[:] = pose

    def step(self, pose: np.ndarray) -> np.ndarray:
        """Takes the newest pose; the mean. Consecutive quaternions must not change sign, as the limiter's do not."""
        self._poses[self._next] = pose
        self._next = (self._next + 1) % len(self._poses)
        np.subtract(self._poses, pose, out=self._away)  # so that a pose that is held is its own mean, to the last bit
        np.mean(self._away, axis=0, out=self.mean)
        self.mean += pose
        self.mean[3:7] = normalized(self.mean[3:7])
        return self.mean
