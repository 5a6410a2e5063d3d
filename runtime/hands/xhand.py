"""The XHAND1 through its vendor's Python wheel: in, targets of 12 joints; out, measured joints and motor currents.

Never run on a hand: written from how public programs call `xhand_controller` (open_serial, list_hands_id, read_state,
send_command, close_device; angles in rad, `torque` and `tor_max` in mA, mode 3 for positions). It has no watchdog that
we know of. After a fault it takes no target until somebody has called `arm`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from vpp_edge.clock import Clock, MonotonicClock
from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.runtime.hands.config import check_range, check_wrist, config_from_file, device_and_file
from vpp_edge.runtime.hands.encoder_watch import EncoderWatch
from vpp_edge.runtime.interfaces import HandFault, HandLimits, HandState

JOINTS = 12
POSITION_MODE = 3
FAILURES_IN_A_ROW = 5
FIRST_STEP_RAD = 0.2
KEPT_FAULTS = 16


@dataclass(frozen=True)
class XHandConfig:
    """One XHAND1.

    Attributes:
        limits: of the 12 joints, in the order of the SDK.
        wrist: where the wrist is fixed: xyz in m, quaternion (xyzw). The hand cannot move it.
        hand_id: which hand on the bus.
        baud: of the RS-485 line; the vendor's is 3000000.
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
        for name, low, high in (("kp", 1, 1000), ("ki", 0, 1000), ("kd", 0, 1000), ("current_limit_ma", 1, 1000)):
            check_range(name, getattr(self, name), low, high)


class _CallFailed(Exception):
    """The SDK reported an error or gave an impossible state."""


class XHand:
    """An open XHAND1. Context manager.

    Raises:
        MissingDependencyError: the vendor's wheel is not installed.
        HardwareFaultError: the device cannot be opened, or no such hand is on it.
    """

    name = "xhand"

    def __init__(self, device: str, config: XHandConfig, clock: Clock | None = None) -> None:
        self._sdk, self._path, self._config = import_sdk(), device, config
        self._clock = clock or MonotonicClock()
        self.limits = config.limits
        self._watch = EncoderWatch(self.limits.joint_names, self.limits.joint_speed_rad_s)
        self.armed = self._closed = False
        self.faults: tuple[HandFault, ...] = ()
        self._stopped_by: str | None = None
        self._target: np.ndarray | None = None
        self._failed_in_a_row = 0
        self._first = True
        self._device = self._open()
        try:
            self._state = self._measure()
        except _CallFailed as error:
            self._device.close_device()
            raise HardwareFaultError(f"{device}: the XHAND does not answer: {error}") from error

    def read(self) -> HandState:
        """What the hand measured; after a failed call the last state with its old stamp, four times in a row.

        Raises:
            HardwareFaultError: five failures in a row, or an angle that cannot be.
        """
        self._check_usable()
        try:
            state = self._measure()
        except _CallFailed as error:
            self._failed(error)
            return HandState(self._state.vector, self._state.stamp_ns, effort=self._state.effort, faults=self.faults)
        self._failed_in_a_row = 0
        if lie := self._watch.fault(state.vector[7:], self._target, state.stamp_ns):
            raise self._stop("encoder", lie)
        self._state = state
        return state

    def send(self, target: np.ndarray) -> None:
        """Sets the joints' target, within the limits' positions; arms the hand if it never was. The wrist is fixed.

        Raises:
            BadInputError: not 19 finite numbers.
            HardwareFaultError: the hand was stopped by a fault, or the first target is far away.
        """
        target = np.asarray(target, dtype=np.float64)
        if target.shape != (7 + JOINTS,) or not np.isfinite(target).all():
            raise BadInputError(f"hand target of shape {target.shape}: expected {7 + JOINTS} finite numbers")
        self._check_usable()
        if not self.armed:
            self.arm()
        joints = np.clip(target[7:], self.limits.joint_lower_rad, self.limits.joint_upper_rad)
        if self._first and self._target is not None:
            if (step := np.abs(joints - self._target).max()) > FIRST_STEP_RAD:
                raise self._stop("motor", f"the first target is {step:.2f} rad from where the hand is")
            self._first = False
        try:
            self._command(joints)
        except _CallFailed as error:
            self._failed(error)

    def arm(self) -> None:
        """Makes the measured pose the target; what an operator does, also after a fault."""
        if self._closed:
            raise HardwareFaultError("the XHAND is closed; open it again")
        if self._stopped_by is not None:
            self._device.close_device()
            self._device = self._open()
        try:
            self._state = self._measure()
            self._command(self._state.vector[7:])
        except _CallFailed as error:
            raise HardwareFaultError(f"the XHAND cannot be armed: {error}") from error
        self._watch.restart()
        self.armed, self._first, self._stopped_by, self._failed_in_a_row, self.faults = True, True, None, 0, ()

    def hold(self) -> None:
        """Makes the measured pose the target; nothing for a hand that was never given one."""
        if self._closed or not (self.armed or self._stopped_by):
            return
        with contextlib.suppress(_CallFailed):
            self._state = self._measure()
        try:
            self._command(self._state.vector[7:])
        except _CallFailed as error:
            raise HardwareFaultError(f"the XHAND goes to its last target, as it cannot be told: {error}") from error

    def close(self) -> None:
        """Holds and releases the device; may be called twice."""
        if self._closed:
            return
        with contextlib.suppress(HardwareFaultError):
            self.hold()
        self._closed, self.armed = True, False
        self._device.close_device()

    def _open(self) -> Any:
        device = self._sdk.XHandControl()
        answer = device.open_serial(self._path, self._config.baud)
        if answer.error_code:
            raise HardwareFaultError(f"{self._path}: {answer.error_message}")
        if self._config.hand_id not in (found := list(device.list_hands_id())):
            device.close_device()
            raise HardwareFaultError(f"{self._path}: no hand {self._config.hand_id}; found {found or 'none'}")
        return device

    def _measure(self) -> HandState:
        answer, state = self._device.read_state(self._config.hand_id, False)
        if answer.error_code:
            raise _CallFailed(answer.error_message)
        joints = np.array([state.finger_state[i].position for i in range(JOINTS)], dtype=np.float64)
        if not np.isfinite(joints).all():
            raise _CallFailed(f"angles {joints}")
        effort = np.array([state.finger_state[i].torque for i in range(JOINTS)], dtype=np.float64) / 1e3
        vector = np.concatenate((self._config.wrist, joints))
        return HandState(vector, self._clock.now_ns(), effort=effort, faults=self.faults)

    def _command(self, joints: np.ndarray) -> None:
        command, config = self._sdk.HandCommand_t(), self._config
        for i in range(JOINTS):
            finger = command.finger_command[i]
            finger.id, finger.mode, finger.tor_max = i, POSITION_MODE, config.current_limit_ma
            finger.kp, finger.ki, finger.kd = config.kp, config.ki, config.kd
            finger.position = float(joints[i])
        answer = self._device.send_command(config.hand_id, command)
        if answer.error_code:
            raise _CallFailed(answer.error_message)
        self._target = np.asarray(joints, dtype=np.float64).copy()

    def _failed(self, error: _CallFailed) -> None:
        self._failed_in_a_row += 1
        self._note("bus", str(error))
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            raise self._stop("bus", f"{FAILURES_IN_A_ROW} failures in a row, the last: {error}") from error

    def _stop(self, kind: str, detail: str) -> HardwareFaultError:
        self._note(kind, detail)
        self._stopped_by = f"the XHAND at {self._path} was stopped: {detail}"
        if self.armed and kind != "bus":
            with contextlib.suppress(_CallFailed):
                self._command(self._state.vector[7:])
        self.armed, self._target = False, None
        return HardwareFaultError(f"{self._stopped_by}. Find the cause, then arm the hand again")

    def _note(self, kind: str, detail: str) -> None:
        self.faults = (*self.faults, HandFault(self._clock.now_ns(), kind, detail))[-KEPT_FAULTS:]

    def _check_usable(self) -> None:
        if self._closed:
            raise HardwareFaultError("the XHAND is closed; open it again")
        if self._stopped_by is not None:
            raise HardwareFaultError(f"{self._stopped_by}. It is of no use until it is armed again")

    def __enter__(self) -> XHand:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


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
