"""Driver of the XHAND1, over its vendor's Python wheel.

UNTESTED ON A HAND: written from how public programs call `xhand_controller` (open_serial, list_hands_id, read_state,
send_command, close_device; angles in rad, `torque` and `tor_max` in mA, mode 3 for positions). It has no known
watchdog. After a fault it accepts no target until `arm` is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.clock import Clock
from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.number_range import whole
from vpp_edge.runtime.hands.config import BAUD, check_wrist, config_from_file, device_and_file
from vpp_edge.runtime.hands.guarded import GuardedHand, LinkError
from vpp_edge.spec.hand_limits import HandLimits

JOINTS = 12
POSITION_MODE = 3


@dataclass(frozen=True)
class XHandConfig:
    """One XHAND1.

    Attributes:
        limits: of the 12 joints, in the order of the SDK.
        wrist: pose of the fixed wrist: xyz in m, quaternion (xyzw).
        hand_id: id of the hand on the bus.
        baud: of the RS-485 line; the vendor uses 3000000.
        kp, ki, kd: gains of the position control.
        current_limit_ma: `tor_max` of each joint.
    """

    limits: HandLimits
    wrist: tuple[float, ...]
    hand_id: int
    baud: int
    kp: int
    ki: int
    kd: int
    current_limit_ma: int

    def __post_init__(self) -> None:
        if len(self.limits.joint_names) != JOINTS:
            raise BadInputError(f"an XHAND1 has {JOINTS} joints, got limits of {len(self.limits.joint_names)}")
        check_wrist(self.wrist, self.limits)
        whole(0, 255).check("hand_id", self.hand_id)
        BAUD.check("baud", self.baud)
        for name, least in (("kp", 1), ("ki", 0), ("kd", 0), ("current_limit_ma", 1)):
            whole(least, 1000).check(name, getattr(self, name))


class XHand(GuardedHand):
    """An open XHAND1; efforts are currents in A.

    Raises:
        MissingDependencyError: the vendor's wheel is not installed.
        HardwareFaultError: the device cannot be opened, or there is no hand of this id.
    """

    name, title = "xhand", "XHAND"
    unreachable = "it moves to its last target, and nothing else stops it"

    def __init__(self, device: str, config: XHandConfig, clock: Clock | None = None) -> None:
        self._sdk, self._config = import_sdk(), config
        super().__init__(device, config.limits, config.wrist, clock)

    def _open(self) -> None:
        device = self._sdk.XHandControl()
        answer = device.open_serial(self.device, self._config.baud)
        if answer.error_code:
            raise HardwareFaultError(f"{self.device}: {answer.error_message}")
        if self._config.hand_id not in (found := list(device.list_hands_id())):
            device.close_device()
            raise HardwareFaultError(f"{self.device}: no hand {self._config.hand_id}; found {found or 'none'}")
        self._hand = device

    def _release(self) -> None:
        self._hand.close_device()

    def _measure(self) -> tuple[np.ndarray, np.ndarray]:
        answer, state = self._hand.read_state(self._config.hand_id, False)
        if answer.error_code:
            raise LinkError(answer.error_message)
        joints = np.array([state.finger_state[i].position for i in range(JOINTS)], dtype=np.float64)
        if not np.isfinite(joints).all():
            raise LinkError(f"angles {joints}")
        return joints, np.array([state.finger_state[i].torque for i in range(JOINTS)], dtype=np.float64) / 1e3

    def _drive(self, joints: np.ndarray) -> None:
        command, config = self._sdk.HandCommand_t(), self._config
        for i in range(JOINTS):
            finger = command.finger_command[i]
            finger.id, finger.mode, finger.tor_max = i, POSITION_MODE, config.current_limit_ma
            finger.kp, finger.ki, finger.kd = config.kp, config.ki, config.kd
            finger.position = float(joints[i])
        answer = self._hand.send_command(config.hand_id, command)
        if answer.error_code:
            raise LinkError(answer.error_message)


def import_sdk() -> Any:
    """The vendor's module; raises MissingDependencyError."""
    try:
        from xhand_controller import xhand_control
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "xhand_controller", "--hand xhand", "pip install xhand_controller-VERSION.whl from RobotEra's XHAND SDK"
        ) from error
    return xhand_control


def xhand_from_address(address: str) -> XHand:
    """The hand of `DEVICE?config=FILE`, open and not armed."""
    device, path = device_and_file("xhand", address)
    return XHand(device, config_from_file(XHandConfig, path))
