"""The hard limits of a hand on its wrist; the control loop applies them to every command."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import FINITE
from vpp_edge.spec.pose import PoseLayout

_POSITIVE_BY_JOINT = ("joint_speed_rad_s", "joint_acceleration_rad_s2", "joint_jerk_rad_s3", "joint_tracking_rad")
_POSITIVE_OF_WRIST = (
    "wrist_speed_m_s",
    "wrist_acceleration_m_s2",
    "wrist_jerk_m_s3",
    "wrist_turn_rad_s",
    "wrist_turn_acceleration_rad_s2",
    "wrist_turn_jerk_rad_s3",
    "wrist_tracking_m",
    "wrist_tracking_rad",
)


@dataclass(frozen=True)
class HandLimits:
    """Hard limits, applied last before anything is sent. All mandatory; NaN, negative or inverted values are refused.

    Effort is limited by the hand itself: its configuration has a mandatory limit in the unit of its motors.

    Attributes:
        joint_names: J names, in the order of the pose.
        joint_lower_rad, joint_upper_rad: (J,) position limits.
        joint_speed_rad_s, joint_acceleration_rad_s2, joint_jerk_rad_s3: (J,) limits of the derivatives.
        joint_tracking_rad: (J,) largest distance between command and measurement. The run stops after 80 ms beyond it.
            Choose it larger than the lag at full speed and smaller than what breaks the hand.
        wrist_lower_m, wrist_upper_m: workspace box of the wrist, base frame.
        wrist_speed_m_s, wrist_acceleration_m_s2, wrist_jerk_m_s3: limits of the norm of the wrist's translation.
        wrist_turn_rad_s, wrist_turn_acceleration_rad_s2, wrist_turn_jerk_rad_s3: the same for its rotation.
        wrist_tracking_m, wrist_tracking_rad: as for the joints.

    Raises:
        BadInputError: a value is missing, not finite, not positive, or a lower limit is not below its upper one.
    """

    joint_names: tuple[str, ...]
    joint_lower_rad: tuple[float, ...]
    joint_upper_rad: tuple[float, ...]
    joint_speed_rad_s: tuple[float, ...]
    joint_acceleration_rad_s2: tuple[float, ...]
    joint_jerk_rad_s3: tuple[float, ...]
    joint_tracking_rad: tuple[float, ...]
    wrist_lower_m: tuple[float, float, float]
    wrist_upper_m: tuple[float, float, float]
    wrist_speed_m_s: float
    wrist_acceleration_m_s2: float
    wrist_jerk_m_s3: float
    wrist_turn_rad_s: float
    wrist_turn_acceleration_rad_s2: float
    wrist_turn_jerk_rad_s3: float
    wrist_tracking_m: float
    wrist_tracking_rad: float

    def __post_init__(self) -> None:
        for name in ("joint_lower_rad", "joint_upper_rad", *_POSITIVE_BY_JOINT):
            self._check(name, self.joints)
        for name in ("wrist_lower_m", "wrist_upper_m"):
            self._check(name, 3)
        for name in _POSITIVE_OF_WRIST:
            self._check(name, None)
        for name in (*_POSITIVE_BY_JOINT, *_POSITIVE_OF_WRIST):
            if not (np.asarray(getattr(self, name)) > 0).all():
                raise BadInputError(f"hand limits: {name} must be finite and positive, got {getattr(self, name)}")
        for lower, upper in (("joint_lower_rad", "joint_upper_rad"), ("wrist_lower_m", "wrist_upper_m")):
            low, high = (np.asarray(getattr(self, n), dtype=np.float64) for n in (lower, upper))
            if not (low < high).all():
                raise BadInputError(f"hand limits: {lower} must be finite and below {upper}: {low} .. {high}")

    def _check(self, name: str, count: int | None) -> None:
        """Raises BadInputError unless the value is one finite number, or `count` of them."""
        value = getattr(self, name)
        numbers = [value] if count is None else value
        if not isinstance(numbers, (tuple, list, np.ndarray)) or len(numbers) != (count or 1):
            raise BadInputError(f"hand limits: {name} is {value!r:.80}, expected {count or 1} values")
        if not all(number in FINITE for number in numbers):
            raise BadInputError(f"hand limits: {name} must be finite, got {value!r:.80}")

    @property
    def joints(self) -> int:
        """J."""
        return len(self.joint_names)

    @property
    def pose_dims(self) -> int:
        """Length of this hand's poses, 7 + J."""
        return PoseLayout.dims(self.joints)
