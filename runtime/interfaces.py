"""What the control loop asks of a camera and of a hand: two small Protocols and the values that pass through them.

Implementations live under `runtime/cameras/` and `runtime/hands/`. Everything is in SI units; time is monotonic
nanoseconds of this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vpp_edge.errors import BadInputError


@dataclass(frozen=True)
class Frame:
    """One image as a camera gave it.

    Attributes:
        image: (height, width, 3) uint8, RGB, of the camera's own size.
        number: frame counter of the device; a gap means dropped frames, a repeat means a frozen image.
        stamp_ns: monotonic time of the exposure, or of the arrival where the device does not tell.
    """

    image: np.ndarray
    number: int
    stamp_ns: int


class Camera(Protocol):
    """An open camera. Context manager; `close` may be called twice."""

    name: str

    def read(self, timeout_ns: int) -> Frame:
        """The next frame not yet read. Raises HardwareFaultError when none came within `timeout_ns`."""

    def close(self) -> None: ...


NO_SCENE = np.empty(0)
NO_EFFORT = np.empty(0)


@dataclass(frozen=True)
class HandFault:
    """Something that a hand noticed about itself.

    Attributes:
        stamp_ns: monotonic time at which it was noticed.
        kind: `bus`, `unplugged`, `motor`, `temperature`, `encoder` or `watchdog`.
        detail: in words, with the joint where there is one.
    """

    stamp_ns: int
    kind: str
    detail: str


@dataclass(frozen=True)
class HandState:
    """What a hand measured at one moment.

    Attributes:
        vector: (7 + J,) float64: wrist xyz in m, wrist quaternion (xyzw), J joint angles in rad.
        stamp_ns: monotonic time of the measurement.
        scene: what simulated cameras show beside the hand, `scene_size` numbers; empty for real hands.
        effort: (J,) float64, how hard each joint works, signed, in the hand's own unit (docs/hands.md); empty where
            the hand does not tell.
        faults: what the hand survived since it was armed, newest last; what it does not survive, `read` raises.
    """

    vector: np.ndarray
    stamp_ns: int
    scene: np.ndarray = field(default_factory=lambda: NO_SCENE)
    effort: np.ndarray = field(default_factory=lambda: NO_EFFORT)
    faults: tuple[HandFault, ...] = ()


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
    """Hard limits, applied last before anything is sent. All mandatory; a NaN, negative or inverted one is refused.

    Attributes:
        joint_names: J names, in the order of the vector.
        joint_lower_rad, joint_upper_rad: J position limits.
        joint_speed_rad_s, joint_acceleration_rad_s2, joint_jerk_rad_s3: J limits of the derivatives.
        joint_tracking_rad: J distances between command and measurement; further apart for 80 ms, the run stops.
            More than the hand lags at full speed, less than what it would break.
        wrist_lower_m, wrist_upper_m: workspace box of the wrist, base frame.
        wrist_speed_m_s, wrist_acceleration_m_s2, wrist_jerk_m_s3: of its translation, lengths of vectors.
        wrist_turn_rad_s, wrist_turn_acceleration_rad_s2, wrist_turn_jerk_rad_s3: the same of its rotation.
        wrist_tracking_m, wrist_tracking_rad: as of the joints.

    Effort is limited where it arises: each hand's own configuration has a mandatory limit in the unit of its motors.
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
        joints = len(self.joint_names)
        for name in ("joint_lower_rad", "joint_upper_rad", *_POSITIVE_BY_JOINT):
            if len(getattr(self, name)) != joints:
                raise BadInputError(f"hand limits: {name} has {len(getattr(self, name))} values, expected {joints}")
        for name in (*_POSITIVE_BY_JOINT, *_POSITIVE_OF_WRIST):
            values = np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64))
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise BadInputError(f"hand limits: {name} must be finite and positive, got {getattr(self, name)}")
        for lower, upper in (("joint_lower_rad", "joint_upper_rad"), ("wrist_lower_m", "wrist_upper_m")):
            low, high = (np.asarray(getattr(self, n), dtype=np.float64) for n in (lower, upper))
            if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
                raise BadInputError(f"hand limits: {lower} must be finite and below {upper}: {low} .. {high}")


class Hand(Protocol):
    """A hand with J position-controlled joints on a wrist that is moved for it. Context manager.

    A simulated one has `simulated`, so that nobody is asked to arm it, and perhaps `scene_size`, the length of its
    states' scene.
    """

    name: str
    limits: HandLimits

    def read(self) -> HandState:
        """The measured state. Raises HardwareFaultError when the hand does not answer."""

    def send(self, target: np.ndarray) -> None:
        """Sets the position target, (7 + J,) in the layout of HandState.vector, already within the limits."""

    def hold(self) -> None:
        """Makes the measured pose the target: the safe stop."""

    def close(self) -> None:
        """Holds, then releases the device."""
