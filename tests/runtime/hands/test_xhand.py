"""The XHAND driver against a fake of the calls that public programs make; never run with the real wheel."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hands_under_test import LIMITS

from vpp_edge.errors import HardwareFaultError, MissingDependencyError
from vpp_edge.runtime.hands.xhand import XHand, XHandConfig
from vpp_edge.spec.hand_limits import HandLimits

LIMITS12 = HandLimits(
    **{
        **vars(LIMITS),
        "joint_names": tuple(f"joint {i}" for i in range(12)),
        "joint_lower_rad": (-0.5,) * 12,
        "joint_upper_rad": (1.5,) * 12,
        "joint_speed_rad_s": (2.0,) * 12,
        "joint_acceleration_rad_s2": (20.0,) * 12,
        "joint_jerk_rad_s3": (2000.0,) * 12,
        "joint_tracking_rad": (0.3,) * 12,
    }
)
CONFIG = XHandConfig(
    limits=LIMITS12,
    wrist=(0.3, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0),
    hand_id=0,
    baud=3_000_000,
    kp=100,
    ki=0,
    kd=0,
    current_limit_ma=300,
)


class StandIn:
    def __init__(self):
        self.error, self.sent, self.closed = 0, [], False
        self.position = [0.1] * 12

    def open_serial(self, path, baud):
        return self._answer()

    def list_hands_id(self):
        return [0]

    def read_state(self, hand_id, _sensor):
        fingers = [SimpleNamespace(position=p, torque=20) for p in self.position]
        return self._answer(), SimpleNamespace(finger_state=fingers)

    def send_command(self, hand_id, command):
        self.sent.append([finger.position for finger in command.finger_command])
        self.modes = {finger.mode for finger in command.finger_command}
        return self._answer()

    def close_device(self):
        self.closed = True

    def _answer(self):
        return SimpleNamespace(error_code=self.error, error_message="planted" if self.error else "")


@pytest.fixture
def device(monkeypatch):
    device = StandIn()
    package, module = ModuleType("xhand_controller"), ModuleType("xhand_controller.xhand_control")
    module.XHandControl = lambda: device
    module.HandCommand_t = lambda: SimpleNamespace(finger_command=[SimpleNamespace() for _ in range(12)])
    package.xhand_control = module
    monkeypatch.setitem(sys.modules, "xhand_controller", package)
    monkeypatch.setitem(sys.modules, "xhand_controller.xhand_control", module)
    return device


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xhand_controller", None)
    with pytest.raises(MissingDependencyError, match="RobotEra"):
        XHand("/dev/null", CONFIG)


def test_reading_sends_nothing_and_the_first_target_arms_in_place(device):
    with XHand("/dev/null", CONFIG) as hand:
        state = hand.read()
        assert device.sent == [] and state.effort[0] == 0.02
        target = state.vector.copy()
        target[7:] += 0.05
        hand.send(target)
        np.testing.assert_allclose(device.sent, [[0.1] * 12, [0.15] * 12])
        assert device.modes == {3}
    assert device.closed


def test_five_failures_are_a_fault_until_it_is_armed(device):
    with XHand("/dev/null", CONFIG) as hand:
        hand.send(hand.read().vector)
        device.error = 7
        for _ in range(4):
            hand.read()
        with pytest.raises(HardwareFaultError, match="planted"):
            hand.read()
        device.error = 0
        with pytest.raises(HardwareFaultError, match="armed again"):
            hand.read()
        hand.arm()
        hand.read()
