"""Bounded jerk: the moving average of commands that are already within their speed and acceleration limits.

An acceleration that never exceeds A changes by at most 2 A / n per step once it is averaged over n steps, so n is
chosen such that this is at most the jerk limit (Biagiotti and Melchiorri, "Trajectory Planning for Automatic Machines
and Robots", 2008, on trajectories through FIR filters). An average lies between its terms, so the limits of position,
speed and acceleration still hold. The price is a delay of (n - 1) / 2 steps, the same for every joint.
"""

from __future__ import annotations

import math

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.scalar_rotation import normalized
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout

LONGEST_REVERSAL_S = 0.2  # a hand that needs longer to reverse its acceleration reacts too late to be safe


def smoothing_steps(limits: HandLimits, period_s: float) -> int:
    """n: how many periods the moving average has to cover, so that no jerk limit is exceeded.

    Raises:
        BadInputError: a jerk limit is so low that reversing the acceleration would take longer than 0.2 s.
    """
    joints = zip(limits.joint_names, limits.joint_acceleration_rad_s2, limits.joint_jerk_rad_s3, strict=True)
    bounds = [
        *joints,
        ("the wrist", limits.wrist_acceleration_m_s2, limits.wrist_jerk_m_s3),
        ("the wrist's rotation", limits.wrist_turn_acceleration_rad_s2, limits.wrist_turn_jerk_rad_s3),
    ]
    name, seconds = max(((name, 2 * top / jerk) for name, top, jerk in bounds), key=lambda bound: bound[1])
    if seconds > LONGEST_REVERSAL_S:
        raise BadInputError(
            f"hand limits: with its jerk limit, {name} takes {seconds:.2f} s to reverse its acceleration; at most "
            f"{LONGEST_REVERSAL_S} s is safe; raise the jerk limit or lower the acceleration limit"
        )
    return max(1, math.ceil(round(seconds / period_s, 6)))


class MovingAverage:
    """The mean of the last n poses, (7 + J,) each; a step allocates nothing but a few scalars.

    Attributes:
        mean: (7 + J,) float64, the present mean; its quaternion has length 1.
    """

    def __init__(self, steps: int, dims: int) -> None:
        self._poses, self._differences = np.zeros((steps, dims)), np.zeros((steps, dims))
        self._next = 0
        self.mean = np.zeros(dims)

    def reset(self, pose: np.ndarray) -> None:
        """Fills the history with `pose`."""
        self._poses[:] = pose
        self.mean[:] = pose

    def step(self, pose: np.ndarray) -> np.ndarray:
        """The mean including `pose`. Consecutive quaternions must not change sign; the limiter's do not."""
        self._poses[self._next] = pose
        self._next = (self._next + 1) % len(self._poses)
        np.subtract(self._poses, pose, out=self._differences)  # a constant pose is then its own mean, to the last bit
        np.mean(self._differences, axis=0, out=self.mean)
        self.mean += pose
        self.mean[PoseLayout.QUATERNION] = normalized(self.mean[PoseLayout.QUATERNION])
        return self.mean
