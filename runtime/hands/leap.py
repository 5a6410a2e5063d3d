"""The LEAP hand on its Dynamixel bus: in, joint targets; out, measured joints and currents, faults when it must stop.

It can be read as soon as it is open and is limp until it is armed; the first target arms it, so a dry run never does.
After a fault it takes no target until somebody has called `arm`, which makes the measured pose the target.
"""

from __future__ import annotations

import contextlib
import struct
import time
from types import TracebackType

import numpy as np

from vpp_edge.clock import Clock, MonotonicClock
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.hands import dynamixel_registers as table
from vpp_edge.runtime.hands.config import config_from_file, device_and_file
from vpp_edge.runtime.hands.dynamixel_port import BusError, DynamixelPort, UnpluggedError
from vpp_edge.runtime.hands.encoder_watch import EncoderWatch
from vpp_edge.runtime.hands.leap_config import LeapConfig
from vpp_edge.runtime.interfaces import HandFault, HandState

FAILURES_IN_A_ROW = 5
FIRST_STEP_RAD = 0.2  # a first target further from the measured pose is somebody's mistake
READINGS_PER_CHECK = 10  # how often servos are asked whether their watchdog is still armed
KEPT_FAULTS = 16
REBOOT_S = 0.5
ARM_TRIES = 5
STATE = struct.Struct("<hii")  # current, velocity, position: the first fields of STATE_BLOCK
TEMPERATURE_AT = table.PRESENT_TEMPERATURE.address - table.STATE_BLOCK.address


class LeapHand:
    """An open LEAP hand. Context manager.

    Attributes:
        armed: whether it drives its joints.
        speed_rad_s: (J,) joint speeds of the last reading.
        temperature_celsius: (J,) of the last reading.
        failed_reads: how many readings came to nothing since it was opened.

    Raises:
        MissingDependencyError: dynamixel-sdk is not installed.
        HardwareFaultError: the device cannot be opened, or a servo is missing or of another kind.
    """

    name = "leap"

    def __init__(self, device: str, config: LeapConfig, clock: Clock | None = None) -> None:
        self._device, self._config, self._clock = device, config, clock or MonotonicClock()
        self.limits = config.limits
        self._ids = list(config.servo_ids)
        self._watch = EncoderWatch(self.limits.joint_names, self.limits.joint_speed_rad_s)
        self.armed = False
        self.failed_reads = self._failed_in_a_row = self._readings = 0
        self._faults: tuple[HandFault, ...] = ()
        self._stopped_by: str | None = None
        self._target: np.ndarray | None = None
        self._first = True
        self._closed = False
        self._port = self._open()
        self._state: HandState | None = None

    def read(self) -> HandState:
        """What the servos measured. A failed exchange is repeated within `read_ms`; then the last state is given again,
        with its old stamp, four times in a row at most.

        Raises:
            HardwareFaultError: five failures in a row, the device is gone, a servo reports an error, is too hot, or
                shows an angle that cannot be; the hand then holds, with little current, until it is armed again.
        """
        self._check_usable("read")
        try:
            state, alerts, hottest = self._read_within_budget()
        except UnpluggedError as error:
            raise self._stop("unplugged", str(error), touch=False) from error
        except BusError as error:
            return self._missed(error)
        self._failed_in_a_row = 0
        if alerts:
            raise self._stop("motor", self._motor_errors(alerts))
        if self.temperature_celsius[hottest] >= self._config.hottest_celsius:
            name = self.limits.joint_names[hottest]
            raise self._stop("temperature", f"{name} is at {self.temperature_celsius[hottest]} degrees Celsius")
        if lie := self._watch.fault(state.vector[7:], self._target, state.stamp_ns):
            raise self._stop("encoder", lie)
        self._state = state
        self._check_watchdog()
        return state

    def send(self, target: np.ndarray) -> None:
        """Sets the joints' target, within the limits' positions; arms the hand if it never was. The wrist is fixed.

        Raises:
            BadInputError: not 7 + J finite numbers.
            HardwareFaultError: the hand was stopped by a fault, the device is gone, or the first target is far away.
        """
        target = np.asarray(target, dtype=np.float64)
        if target.shape != (7 + len(self._ids),) or not np.isfinite(target).all():
            raise BadInputError(f"hand target of shape {target.shape}: expected {7 + len(self._ids)} finite numbers")
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
        """Makes the measured pose the target and lets the servos drive: what an operator does, also after a fault.

        Raises:
            HardwareFaultError: a servo has an error that stays, has not cooled down, or does not take its settings;
                the joints are limp then.
        """
        if self._closed:
            raise HardwareFaultError("the LEAP hand is closed; open it again")
        try:
            if self._stopped_by is not None:
                self._port.close()
                self._port = self._open()
            self._arm()
        except (BusError, UnpluggedError) as error:
            self._torque_off()
            raise HardwareFaultError(f"the LEAP hand cannot be armed: {error}") from error
        except HardwareFaultError:
            self._torque_off()
            raise

    def hold(self) -> None:
        """Makes the measured pose the target; the last known one if the bus is silent. Nothing for a limp hand.

        Raises:
            HardwareFaultError: the device is gone; the servos' watchdog stops them.
        """
        if self._closed or not (self.armed or self._stopped_by):
            return
        with contextlib.suppress(HardwareFaultError):
            if self._stopped_by is None:
                self.read()
        if self._stopped_by is not None:  # _stop has already told the servos, if they could be told
            if self._told_to_hold:
                return
            raise HardwareFaultError(f"{self._stopped_by}; the servos stop by their watchdog")
        if self._state is not None:
            self._write_goals(self._state.vector[7:])

    def close(self) -> None:
        """Holds, or goes limp if the config says so, and releases the device; may be called twice."""
        if self._closed:
            return
        with contextlib.suppress(HardwareFaultError):
            self.hold()
        if self._config.torque_off_at_close:
            self._torque_off()
        self._closed, self.armed = True, False
        self._port.close()

    def _open(self) -> DynamixelPort:
        port = DynamixelPort(self._device, self._config.baud, self._config.read_ms)
        try:
            models = port.models(self._ids)
        except UnpluggedError as error:
            port.close()
            raise HardwareFaultError(str(error)) from error
        wrong = {number: model for number, model in models.items() if model not in table.MODELS}
        if wrong:
            port.close()
            found = ", ".join(f"{number}: {'no answer' if m is None else f'model {m}'}" for number, m in wrong.items())
            raise HardwareFaultError(
                f"{self._device}: expected an XL330 or XC330 at each of the servo_ids, but found {found}. Is the hand "
                "powered, is `baud` right, is the adapter's latency timer at 1 ms?"
            )
        return port

    def _arm(self) -> None:
        config, everybody = self._config, self._ids
        self._failed_in_a_row, self._told_to_hold = 0, False
        state, alerts, hottest = self._read_at_last()
        if self.temperature_celsius[hottest] >= config.cooled_celsius:
            name, celsius = self.limits.joint_names[hottest], self.temperature_celsius[hottest]
            raise HardwareFaultError(f"{name} is at {celsius} degrees Celsius; wait for {config.cooled_celsius}")
        if alerts:
            for number in alerts:
                self._port.reboot(number)
            time.sleep(REBOOT_S)
            state, alerts, _ = self._read_at_last()
            if alerts:
                raise HardwareFaultError(f"after a restart still: {self._motor_errors(alerts)}")
        joints = np.clip(state.vector[7:], self.limits.joint_lower_rad, self.limits.joint_upper_rad)
        if (outside := np.abs(joints - state.vector[7:]).max()) > FIRST_STEP_RAD:
            raise HardwareFaultError(f"a joint is {outside:.2f} rad outside its limits; move it by hand, or calibrate")
        self._set(table.BUS_WATCHDOG, 0)  # also clears one that has fired
        if set(self._port.numbers(everybody, table.OPERATING_MODE).values()) != {table.CURRENT_BASED_POSITION}:
            self._set(table.TORQUE_ENABLE, 0)
            self._set(table.OPERATING_MODE, table.CURRENT_BASED_POSITION)
        self._set(table.GOAL_CURRENT, config.current_limit_ma)
        counts = config.counts_from_joints(joints)
        self._port.write(table.GOAL_POSITION, dict(zip(everybody, counts.tolist(), strict=True)))
        goals = self._port.numbers(everybody, table.GOAL_POSITION)
        if list(goals.values()) != counts.tolist():
            raise HardwareFaultError("a servo does not take its goal position")
        self._set(table.TORQUE_ENABLE, 1)
        self._set(table.BUS_WATCHDOG, config.watchdog_ms // table.WATCHDOG_UNIT_MS)
        self._watch.restart()
        self._state, self._target, self._faults = state, joints, ()
        self.armed, self._first, self._stopped_by = True, True, None

    def _set(self, register: table.Register, value: int) -> None:
        """Writes the same value to all servos and reads it back."""
        self._port.write(register, dict.fromkeys(self._ids, value))
        wrong = [number for number, got in self._port.numbers(self._ids, register).items() if got != value]
        if wrong:
            raise HardwareFaultError(f"servos {wrong} do not take the value {value} at address {register.address}")

    def _read_at_last(self) -> tuple[HandState, list[int], int]:
        for _ in range(ARM_TRIES - 1):
            with contextlib.suppress(BusError):
                return self._read_once()
        return self._read_once()

    def _read_within_budget(self) -> tuple[HandState, list[int], int]:
        """Reads again after a failure that came early enough for another try."""
        start_ns = time.monotonic_ns()
        while True:
            try:
                return self._read_once()
            except BusError:
                if time.monotonic_ns() - start_ns > self._config.read_ms * 1e6 / 2:
                    raise

    def _read_once(self) -> tuple[HandState, list[int], int]:
        """The state, the servos with an error, and the index of the hottest joint."""
        values, alerts = self._port.read(self._ids, table.STATE_BLOCK)
        rows = np.array([STATE.unpack_from(values[number]) for number in self._ids], dtype=np.float64)
        config, direction = self._config, np.asarray(self._config.direction)
        self.temperature_celsius = np.array([values[number][TEMPERATURE_AT] for number in self._ids])
        self.speed_rad_s = rows[:, 1] * table.RAD_S_PER_COUNT * direction
        vector = np.concatenate((config.wrist, config.joints_from_counts(rows[:, 2])))
        effort = rows[:, 0] / 1e3 * direction
        state = HandState(vector, self._clock.now_ns(), effort=effort, faults=self._faults)
        return state, alerts, int(self.temperature_celsius.argmax())

    def _missed(self, error: BusError) -> HandState:
        self.failed_reads += 1
        self._failed_in_a_row += 1
        self._note("bus", str(error))
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            raise self._stop("bus", f"{FAILURES_IN_A_ROW} failures in a row, the last: {error}") from error
        if self._state is None:
            raise HardwareFaultError(f"the LEAP hand at {self._device} has not answered yet: {error}") from error
        last = self._state
        return HandState(last.vector, last.stamp_ns, effort=last.effort, faults=self._faults)

    def _check_watchdog(self) -> None:
        """A servo that has stopped, or restarted after a drop of voltage, would ignore its goals without a word."""
        self._readings += 1
        if not self.armed or self._readings % READINGS_PER_CHECK:
            return
        try:
            values = self._port.numbers(self._ids, table.BUS_WATCHDOG)
        except UnpluggedError as error:
            raise self._stop("unplugged", str(error), touch=False) from error
        except BusError as error:
            self._note("bus", str(error))
            return
        armed = self._config.watchdog_ms // table.WATCHDOG_UNIT_MS
        if wrong := {number: value for number, value in values.items() if value != armed}:
            fired = [number for number, value in wrong.items() if value == table.WATCHDOG_FIRED]
            what = f"the bus was silent for {self._config.watchdog_ms} ms" if fired else "they have restarted"
            raise self._stop("watchdog", f"servos {list(wrong)} have stopped by themselves: {what}")

    def _write_goals(self, joints: np.ndarray) -> None:
        counts = self._config.counts_from_joints(joints)
        try:
            self._port.write(table.GOAL_POSITION, dict(zip(self._ids, counts.tolist(), strict=True)))
        except UnpluggedError as error:
            raise self._stop("unplugged", str(error), touch=False) from error
        except BusError as error:
            self._failed_in_a_row += 1
            self._note("bus", str(error))
            if self._failed_in_a_row >= FAILURES_IN_A_ROW:
                raise self._stop("bus", str(error)) from error
            return
        self._target = np.asarray(joints, dtype=np.float64)

    def _stop(self, kind: str, detail: str, touch: bool = True) -> HardwareFaultError:
        """Holds at the last good pose with little current, as far as the bus allows; returns what to raise."""
        self._note(kind, detail)
        self._stopped_by = f"the LEAP hand at {self._device} was stopped: {detail}"
        was_armed, self.armed, self._target = self.armed, False, None
        self._told_to_hold = not was_armed
        if was_armed and touch:
            with contextlib.suppress(BusError, UnpluggedError):
                self._port.write(table.GOAL_CURRENT, dict.fromkeys(self._ids, self._config.hold_current_ma))
                if self._state is not None:
                    counts = self._config.counts_from_joints(self._state.vector[7:])
                    self._port.write(table.GOAL_POSITION, dict(zip(self._ids, counts.tolist(), strict=True)))
                self._told_to_hold = kind != "bus"
        return HardwareFaultError(f"{self._stopped_by}. Find the cause, then arm the hand again")

    def _torque_off(self) -> None:
        self.armed = False
        with contextlib.suppress(BusError, UnpluggedError):
            self._port.write(table.TORQUE_ENABLE, dict.fromkeys(self._ids, 0))

    def _motor_errors(self, alerts: list[int]) -> str:
        try:
            bits = self._port.numbers(alerts, table.HARDWARE_ERROR)
        except (BusError, UnpluggedError):
            return f"servos {alerts} report a hardware error"
        names = {number: self.limits.joint_names[self._ids.index(number)] for number in alerts}
        return "; ".join(f"{names[n]} (servo {n}): {table.hardware_error_text(bits[n])}" for n in alerts)

    def _note(self, kind: str, detail: str) -> None:
        self._faults = (*self._faults, HandFault(self._clock.now_ns(), kind, detail))[-KEPT_FAULTS:]

    @property
    def faults(self) -> tuple[HandFault, ...]:
        """What was noticed since the hand was armed, newest last."""
        return self._faults

    def _check_usable(self, verb: str) -> None:
        if self._closed:
            raise HardwareFaultError(f"the LEAP hand is closed and cannot {verb}; open it again")
        if self._stopped_by is not None:
            raise HardwareFaultError(f"{self._stopped_by}. It cannot {verb} until it is armed again")

    def __enter__(self) -> LeapHand:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def leap_hand_from_address(address: str) -> LeapHand:
    """The hand of `DEVICE?config=FILE`, open and limp.

    Raises:
        BadInputError: the address or the file cannot be used.
        MissingDependencyError, HardwareFaultError: as LeapHand.
    """
    device, path = device_and_file("leap", address)
    return LeapHand(device, config_from_file(LeapConfig, path))
