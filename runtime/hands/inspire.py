"""The Inspire RH56 hand over Modbus: in, targets of six joints; out, measured joints and forces, or a fault.

The device has no watchdog: when nobody commands it any more, it goes to its last target and stays there. It is not
driven until it is armed; the first target arms it. After a fault it takes no target until somebody has called `arm`.
"""

from __future__ import annotations

import contextlib
from types import TracebackType

import numpy as np

from vpp_edge.clock import Clock, MonotonicClock
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.hands import inspire_registers as table
from vpp_edge.runtime.hands.config import config_from_file, device_and_file
from vpp_edge.runtime.hands.encoder_watch import EncoderWatch
from vpp_edge.runtime.hands.inspire_config import JOINTS, InspireConfig
from vpp_edge.runtime.hands.modbus_client import ModbusDevice, ModbusError
from vpp_edge.runtime.interfaces import HandFault, HandState

FAILURES_IN_A_ROW = 5
FIRST_STEP_RAD = 0.2  # a first target further from the measured pose is somebody's mistake
KEPT_FAULTS = 16


class InspireHand:
    """An open RH56 hand. Context manager.

    Each reading asks for the angles, and in turn for forces, errors and temperatures: a serial line has no time for
    all of them in every control period.

    Attributes:
        armed: whether it was given targets.
        faults: what was noticed since it was armed, newest last.

    Raises:
        MissingDependencyError: pymodbus is not installed.
        HardwareFaultError: the hand cannot be reached or does not answer.
    """

    name = "inspire"

    def __init__(self, address: str, config: InspireConfig, clock: Clock | None = None) -> None:
        self._address, self._config, self._clock = address, config, clock or MonotonicClock()
        self.limits = config.limits
        self._watch = EncoderWatch(self.limits.joint_names, self.limits.joint_speed_rad_s)
        self._effort = np.zeros(JOINTS)
        self.armed = self._closed = False
        self.faults: tuple[HandFault, ...] = ()
        self._stopped_by: str | None = None
        self._target: np.ndarray | None = None
        self._failed_in_a_row = self._readings = 0
        self._first = True
        self._device = self._open()
        self._state = self._measure_or_fail()

    def read(self) -> HandState:
        """What the hand measured; after a failed exchange the last state with its old stamp, four times in a row.

        Raises:
            HardwareFaultError: five failures in a row, an error or too much heat in a joint, or an impossible angle.
        """
        self._check_usable("read")
        try:
            state = self._measure()
            trouble = self._next_check()
        except ModbusError as error:
            self._failed(error)
            last = self._state
            return HandState(last.vector, last.stamp_ns, effort=last.effort, faults=self.faults)
        self._failed_in_a_row = 0
        if trouble is not None:
            raise self._stop(*trouble)
        if lie := self._watch.fault(state.vector[7:], self._target, state.stamp_ns):
            raise self._stop("encoder", lie)
        self._state = state
        return state

    def send(self, target: np.ndarray) -> None:
        """Sets the joints' target, within the limits' positions; arms the hand if it never was. The wrist is fixed.

        Raises:
            BadInputError: not 13 finite numbers.
            HardwareFaultError: the hand was stopped by a fault, or the first target is far away.
        """
        target = np.asarray(target, dtype=np.float64)
        if target.shape != (7 + JOINTS,) or not np.isfinite(target).all():
            raise BadInputError(f"hand target of shape {target.shape}: expected {7 + JOINTS} finite numbers")
        self._check_usable("be commanded")
        if not self.armed:
            self.arm()
        joints = np.clip(target[7:], self.limits.joint_lower_rad, self.limits.joint_upper_rad)
        if self._first and self._target is not None:
            if (step := np.abs(joints - self._target).max()) > FIRST_STEP_RAD:
                raise self._stop("motor", f"the first target is {step:.2f} rad from where the hand is")
            self._first = False
        self._write_goals(joints)

    def arm(self) -> None:
        """Makes the measured pose the target: what an operator does, also after a fault.

        Raises:
            HardwareFaultError: the hand does not answer, an error stays, or a joint has not cooled down.
        """
        if self._closed:
            raise HardwareFaultError("the RH56 hand is closed; open it again")
        if self._stopped_by is not None:
            self._device.close()
            self._device = self._open()
        try:
            if max(self._temperatures()) >= self._config.cooled_celsius:
                raise HardwareFaultError(f"the RH56 hand is hot; wait until it is below {self._config.cooled_celsius}")
            if any(self._errors()):
                self._device.write(table.CLEAR_ERROR, [1])
                if trouble := self._error_text():
                    raise HardwareFaultError(f"after clearing, the RH56 hand still has: {trouble}")
            state = self._measure()
            self._device.write(table.ANGLE_SET, self._config.raw_from_joints(state.vector[7:]))
            self._device.write(table.SPEED_SET, list(self._config.speed))
            self._device.write(table.FORCE_SET, list(self._config.force))
        except ModbusError as error:
            raise HardwareFaultError(f"the RH56 hand cannot be armed: {error}") from error
        self._watch.restart()
        self._state, self._target, self.faults = state, state.vector[7:].copy(), ()
        self.armed, self._first, self._stopped_by, self._failed_in_a_row = True, True, None, 0

    def hold(self) -> None:
        """Makes the measured pose the target; nothing for a hand that was never given one.

        Raises:
            HardwareFaultError: the hand does not answer: it goes to its last target, and nothing else stops it.
        """
        if self._closed or not (self.armed or self._stopped_by):
            return
        with contextlib.suppress(ModbusError):
            self._state = self._measure()
        self._tell_to_hold()

    def close(self) -> None:
        """Holds and releases the device; may be called twice."""
        if self._closed:
            return
        with contextlib.suppress(HardwareFaultError):
            self.hold()
        self._closed, self.armed = True, False
        self._device.close()

    def _open(self) -> ModbusDevice:
        config = self._config
        return ModbusDevice(self._address, config.unit, config.baud, config.timeout_ms)

    def _measure_or_fail(self) -> HandState:
        try:
            return self._measure()
        except ModbusError as error:
            self._device.close()
            raise HardwareFaultError(
                f"{self._address}: no RH56 hand answers as unit {self._config.unit}: {error}"
            ) from error

    def _measure(self) -> HandState:
        raw = self._device.read(table.ANGLE_ACT, JOINTS)
        if any(value > 2000 for value in raw):  # UNKNOWN, or nothing that an angle can be
            raise ModbusError(f"angles {raw}: the hand does not know them")
        vector = np.concatenate((self._config.wrist, self._config.joints_from_raw(np.array(raw, dtype=np.float64))))
        return HandState(vector, self._clock.now_ns(), effort=self._effort, faults=self.faults)

    def _next_check(self) -> tuple[str, str] | None:
        """Forces, errors or temperatures, in turn; what must stop the hand, as kind and words."""
        self._readings += 1
        if self._readings % 3 == 0:
            words = self._device.read(table.FORCE_ACT, JOINTS)
            self._effort = np.array(words, dtype=np.uint16).astype(np.int16) * 9.80665e-3
        elif self._readings % 3 == 1:
            if trouble := self._error_text():
                return "motor", trouble
        elif (hottest := max(self._temperatures())) >= self._config.hottest_celsius:
            return "temperature", f"a joint is at {hottest} degrees Celsius"
        return None

    def _errors(self) -> list[int]:
        return table.bytes_from_words(self._device.read(table.ERROR, JOINTS // 2))

    def _temperatures(self) -> list[int]:
        return table.bytes_from_words(self._device.read(table.TEMPERATURE, JOINTS // 2))

    def _error_text(self) -> str:
        named = zip(self.limits.joint_names, self._errors(), strict=True)
        return "; ".join(f"{name}: {table.error_text(bits)}" for name, bits in named if bits)

    def _write_goals(self, joints: np.ndarray) -> None:
        try:
            self._device.write(table.ANGLE_SET, self._config.raw_from_joints(joints))
        except ModbusError as error:
            self._failed(error)
            return
        self._target = np.asarray(joints, dtype=np.float64)

    def _tell_to_hold(self) -> None:
        try:
            self._device.write(table.ANGLE_SET, self._config.raw_from_joints(self._state.vector[7:]))
        except ModbusError as error:
            raise HardwareFaultError(f"the RH56 hand goes to its last target, as it cannot be told: {error}") from error

    def _failed(self, error: ModbusError) -> None:
        self._failed_in_a_row += 1
        self._note("bus", str(error))
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            raise self._stop("bus", f"{FAILURES_IN_A_ROW} failures in a row, the last: {error}") from error

    def _stop(self, kind: str, detail: str) -> HardwareFaultError:
        """Holds at the last good pose, as far as the bus allows; returns what to raise."""
        self._note(kind, detail)
        self._stopped_by = f"the RH56 hand at {self._address} was stopped: {detail}"
        if self.armed and kind != "bus":
            with contextlib.suppress(HardwareFaultError):
                self._tell_to_hold()
        self.armed, self._target = False, None
        return HardwareFaultError(f"{self._stopped_by}. Find the cause, then arm the hand again")

    def _note(self, kind: str, detail: str) -> None:
        self.faults = (*self.faults, HandFault(self._clock.now_ns(), kind, detail))[-KEPT_FAULTS:]

    def _check_usable(self, verb: str) -> None:
        if self._closed:
            raise HardwareFaultError(f"the RH56 hand is closed and cannot {verb}; open it again")
        if self._stopped_by is not None:
            raise HardwareFaultError(f"{self._stopped_by}. It cannot {verb} until it is armed again")

    def __enter__(self) -> InspireHand:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def inspire_hand_from_address(address: str) -> InspireHand:
    """The hand of `/dev/ttyUSB0?config=FILE` or `tcp/HOST/PORT?config=FILE`, open and not armed.

    Raises:
        BadInputError: the address or the file cannot be used.
        MissingDependencyError, HardwareFaultError: as InspireHand.
    """
    device, path = device_and_file("inspire", address)
    return InspireHand(device, config_from_file(InspireConfig, path))
