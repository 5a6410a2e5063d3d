"""Where wrist and joints are in the vectors that the runtime passes around: poses (7 + J,) and twists (6 + J,)."""

from __future__ import annotations


class PoseLayout:
    """Slices of a pose, (..., 7 + J), the layout of `HandState.vector`.

    Attributes:
        POSITION: wrist xyz in m, base frame.
        QUATERNION: wrist orientation as a unit quaternion (x, y, z, w).
        WRIST: both of them.
        JOINTS: J joint angles in rad.
        WRIST_DIMS: how many numbers come before the joints.
    """

    POSITION = slice(0, 3)
    QUATERNION = slice(3, 7)
    WRIST = slice(0, 7)
    JOINTS = slice(7, None)
    WRIST_DIMS = 7

    @classmethod
    def dims(cls, joints: int) -> int:
        """Length of a pose with `joints` joints."""
        return cls.WRIST_DIMS + joints


class TwistLayout:
    """Slices of a pose's rate of change, (..., 6 + J).

    Attributes:
        LINEAR: wrist velocity in m/s, base frame.
        ANGULAR: wrist angular velocity in rad/s, in the wrist's own frame.
        WRIST: both of them.
        JOINTS: J joint velocities in rad/s.
        WRIST_DIMS: how many numbers come before the joints.
    """

    LINEAR = slice(0, 3)
    ANGULAR = slice(3, 6)
    WRIST = slice(0, 6)
    JOINTS = slice(6, None)
    WRIST_DIMS = 6

    @classmethod
    def dims(cls, joints: int) -> int:
        """Length of a twist with `joints` joints."""
        return cls.WRIST_DIMS + joints
