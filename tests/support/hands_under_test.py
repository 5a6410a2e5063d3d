"""A small hand for the tests of limits, chunks and the loop: three joints, limits of the usual size."""

from __future__ import annotations

import itertools

import numpy as np

from vpp_edge.runtime.interfaces import HandLimits, HandState

LIMITS = HandLimits(
    joint_names=("thumb", "index", "middle"),
    joint_lower_rad=(-0.5, 0.0, 0.0),
    joint_upper_rad=(1.0, 1.9, 1.5),
    joint_speed_rad_s=(2.0, 4.0, 1.0),
    joint_acceleration_rad_s2=(40.0, 60.0, 15.0),
    wrist_lower_m=(0.1, -0.4, 0.0),
    wrist_upper_m=(0.8, 0.4, 0.7),
    wrist_speed_m_s=0.5,
    wrist_turn_rad_s=1.5,
)
HOME = np.array([0.4, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0, 0.1, 0.2, 0.3])


class PerfectHand:
    """Moves at once to whatever it is sent, and remembers all of it. Faults can be planted."""

    name = "perfect"
    limits = LIMITS

    def __init__(self, clock, start=HOME):
        self._clock = clock
        self.pose = np.array(start)
        self.sent = []
        self.sent_ns = []
        self.held = 0
        self.closed = False
        self.fault_on_read = None

    def read(self):
        if self.fault_on_read is not None:
            raise self.fault_on_read
        return HandState(self.pose.copy(), self._clock.now_ns())

    def send(self, target):
        self.pose = np.array(target)
        self.sent.append(self.pose)
        self.sent_ns.append(self._clock.now_ns())

    def hold(self):
        self.held += 1

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def assert_within_limits(poses, period_ns, turn_change, wrist_change, limits=LIMITS):
    """Every pose, every speed between two and every change of speed, starting from rest at the first pose."""
    from vpp_edge.runtime.rotation import difference

    poses, dt = np.asarray(poses), period_ns / 1e9
    joints, wrist = poses[:, 7:], poses[:, :3]
    assert (joints >= limits.joint_lower_rad).all() and (joints <= limits.joint_upper_rad).all()
    assert (wrist >= limits.wrist_lower_m).all() and (wrist <= limits.wrist_upper_m).all()
    np.testing.assert_allclose(np.linalg.norm(poses[:, 3:7], axis=1), 1, atol=1e-9)
    speed = np.diff(joints, axis=0) / dt
    assert (np.abs(speed) <= np.array(limits.joint_speed_rad_s) + 1e-9).all()
    change = np.abs(np.diff(speed, axis=0, prepend=0 * speed[:1])) / dt
    assert (change <= np.array(limits.joint_acceleration_rad_s2) * (1 + 1e-6)).all(), change.max(axis=0)
    wrist_speed = np.diff(wrist, axis=0) / dt
    assert np.linalg.norm(wrist_speed, axis=1).max() <= limits.wrist_speed_m_s + 1e-9
    wrist_speed_change = np.linalg.norm(np.diff(wrist_speed, axis=0, prepend=0 * wrist_speed[:1]), axis=1) / dt
    assert wrist_speed_change.max() <= wrist_change * (1 + 1e-6)
    turns = np.array([difference(a[3:7], b[3:7]) for a, b in itertools.pairwise(poses)]) / dt
    assert np.linalg.norm(turns, axis=1).max() <= limits.wrist_turn_rad_s + 1e-6
    assert np.linalg.norm(np.diff(turns, axis=0), axis=1).max(initial=0) <= turn_change * dt + 1e-5
