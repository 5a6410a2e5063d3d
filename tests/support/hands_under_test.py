"""A small hand for the tests of limits, chunks and the loop: three joints, typical limits."""

from __future__ import annotations

import itertools

import numpy as np

from vpp_edge.runtime.interfaces import HandState
from vpp_edge.spec.hand_limits import HandLimits

LIMITS = HandLimits(
    joint_names=("thumb", "index", "middle"),
    joint_lower_rad=(-0.5, 0.0, 0.0),
    joint_upper_rad=(1.0, 1.9, 1.5),
    joint_speed_rad_s=(2.0, 4.0, 1.0),
    joint_acceleration_rad_s2=(40.0, 60.0, 15.0),
    joint_jerk_rad_s3=(4000.0, 4000.0, 1500.0),
    joint_tracking_rad=(0.3, 0.3, 0.3),
    wrist_lower_m=(0.1, -0.4, 0.0),
    wrist_upper_m=(0.8, 0.4, 0.7),
    wrist_speed_m_s=0.5,
    wrist_acceleration_m_s2=15.0,
    wrist_jerk_m_s3=1000.0,
    wrist_turn_rad_s=1.5,
    wrist_turn_acceleration_rad_s2=22.0,
    wrist_turn_jerk_rad_s3=1500.0,
    wrist_tracking_m=0.03,
    wrist_tracking_rad=0.2,
)
HOME = np.array([0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0, 0.1, 0.2, 0.3])


class PerfectHand:
    """Moves to every target immediately and records it. Faults can be injected."""

    name = "perfect"
    simulated, scene_size = True, 0
    limits = LIMITS

    def __init__(self, clock, start=HOME):
        self._clock = clock
        self.pose = np.array(start)
        self.sent = []
        self.sent_ns = []
        self.held = 0
        self.closed = False
        self.fault_on_read = None
        self.stuck_joint = None

    def read(self):
        if self.fault_on_read is not None:
            raise self.fault_on_read
        return HandState(self.pose.copy(), self._clock.now_ns())

    def send(self, target):
        stuck_rad = None if self.stuck_joint is None else self.pose[7 + self.stuck_joint]
        self.pose = np.array(target)
        self.sent.append(np.array(target))
        if self.stuck_joint is not None:
            self.pose[7 + self.stuck_joint] = stuck_rad
        self.sent_ns.append(self._clock.now_ns())

    def hold(self):
        self.held += 1

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def assert_within_limits(poses, period_ns, limits=LIMITS):
    """Every pose and its derivatives up to the jerk, starting from rest at the first pose.

    Turning is bounded to first order in how far the wrist turns within the few periods that build an acceleration up.
    """
    from vpp_edge.runtime.control.scalar_rotation import difference

    poses, dt = np.asarray(poses), period_ns / 1e9
    joints, wrist = poses[:, 7:], poses[:, :3]
    assert (joints >= limits.joint_lower_rad).all() and (joints <= limits.joint_upper_rad).all()
    assert (wrist >= limits.wrist_lower_m).all() and (wrist <= limits.wrist_upper_m).all()
    np.testing.assert_allclose(np.linalg.norm(poses[:, 3:7], axis=1), 1, atol=1e-9)
    speed, acceleration, jerk = derivatives(np.diff(joints, axis=0), dt)
    for values, name in ((speed, "speed_rad_s"), (acceleration, "acceleration_rad_s2"), (jerk, "jerk_rad_s3")):
        assert_bounded(np.abs(values), np.array(getattr(limits, f"joint_{name}")), 1e-6)
    for values, name in zip(
        derivatives(np.diff(wrist, axis=0), dt), ("speed_m_s", "acceleration_m_s2", "jerk_m_s3"), strict=True
    ):
        assert_bounded(np.linalg.norm(values, axis=1), getattr(limits, f"wrist_{name}"), 1e-6)
    turns = np.array([difference(a[3:7], b[3:7]) for a, b in itertools.pairwise(poses)])
    for values, name in zip(
        derivatives(turns, dt), ("turn_rad_s", "turn_acceleration_rad_s2", "turn_jerk_rad_s3"), strict=True
    ):
        assert_bounded(np.linalg.norm(values, axis=1), getattr(limits, f"wrist_{name}"), 0.01)


def derivatives(steps, dt):
    """Speed, acceleration and jerk of steps (n, ...) that begin from rest."""
    speed = steps / dt
    acceleration = np.diff(speed, axis=0, prepend=0 * speed[:1]) / dt
    return speed, acceleration, np.diff(acceleration, axis=0, prepend=0 * acceleration[:1]) / dt


def assert_bounded(values, limit, tolerance):
    assert (values <= limit * (1 + tolerance)).all(), (values.max(axis=0), limit)
