"""Driver of the LEAP hand on its Dynamixel bus."""

from __future__ import annotations

import contextlib
import struct
import time

import numpy as np

from vpp_edge.clock import Clock
from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.hands import dynamixel_registers as table
from vpp_edge.runtime.hands.config import config_from_file, device_and_file
from vpp_edge.runtime.hands.dynamixel_port import DynamixelPort
from vpp_edge.runtime.hands.guarded import TRIES, GuardedHand, LinkError, UnpluggedError
from vpp_edge.runtime.hands.leap_config import LeapConfig

READINGS_PER_CHECK = 10  # between two checks that the servos' watchdogs are still armed
REBOOT_S = 0.5
STATE = struct.Struct("<hii")  # current, velocity, position: the first fields of STATE_BLOCK
TEMPERATURE_AT = table.PRESENT_TEMPERATURE.address - table.STATE_BLOCK.address


class LeapHand(GuardedHand):
    """An open LEAP hand; efforts are currents in A.

    Attributes:
        temperature_celsius: (J,) of the last reading.

    Raises:
        MissingDependencyError: dynamixel-sdk is not installed.
        HardwareFaultError: the device cannot be opened, or a servo is missing or of an unsupported model.
    """

    name, title = "leap", "LEAP hand"
    unreachable = "the watchdogs of its servos stop it"

    def __init__(self, device: str, config: LeapConfig, clock: Clock | None = None) -> None:
        self._config, self._ids = config, list(config.servo_ids)
        self._direction = np.asarray(config.direction)
        self.temperature_celsius = np.zeros(len(self._ids), np.int64)
        self._alerts: list[int] = []
        self._readings = 0
        super().__init__(device, config.limits, config.wrist, clock)

    def close(self) -> None:
        """Holds, or goes limp if the configuration says so, and releases the device; may be called twice."""
        if not self._closed and self._config.torque_off_at_close:
            with contextlib.suppress(HardwareFaultError):
                self.hold()
            self._relax()
        super().close()

    def _open(self) -> None:
        self._port = DynamixelPort(self.device, self._config.baud, self._config.read_ms)
        try:
            models = self._port.models(self._ids)
        except UnpluggedError as error:
            self._port.close()
            raise HardwareFaultError(str(error)) from error
        wrong = {number: model for number, model in models.items() if model not in table.MODELS}
        if wrong:
            self._port.close()
            found = ", ".join(f"{number}: {'no answer' if m is None else f'model {m}'}" for number, m in wrong.items())
            raise HardwareFaultError(
                f"{self.device}: expected an XL330 or XC330 at each of the servo_ids, but found {found}. Check the "
                "hand's power, `baud`, and that the adapter's latency timer is 1 ms."
            )

    def _release(self) -> None:
        self._port.close()

    def _measure(self) -> tuple[np.ndarray, np.ndarray]:
        """Retries after a failure if there is enough time left."""
        start_ns = time.monotonic_ns()
        while True:
            try:
                values, self._alerts = self._port.read(self._ids, table.STATE_BLOCK)
                break
            except LinkError:
                if time.monotonic_ns() - start_ns > self._config.read_ms * 1e6 / 2:
                    raise
        rows = np.array([STATE.unpack_from(values[number]) for number in self._ids], dtype=np.float64)
        self.temperature_celsius = np.array([values[number][TEMPERATURE_AT] for number in self._ids])
        return self._config.joints_from_counts(rows[:, 2]), rows[:, 0] / 1e3 * self._direction

    def _trouble(self) -> tuple[str, str] | None:
        if self._alerts:
            return "motor", self._motor_errors()
        hottest = int(self.temperature_celsius.argmax())
        if self.temperature_celsius[hottest] >= self._config.hottest_celsius:
            return "temperature", self._heat(hottest)
        self._readings += 1
        return self._watchdog_trouble() if self.armed and self._readings % READINGS_PER_CHECK == 0 else None

    def _watchdog_trouble(self) -> tuple[str, str] | None:
        """A servo that has stopped, or has restarted after a voltage drop, would silently ignore its goals."""
        try:
            values = self._port.numbers(self._ids, table.BUS_WATCHDOG)
        except LinkError as error:  # the state itself was read; the next check comes soon
            self._note("bus", str(error))
            return None
        wrong = {number: value for number, value in values.items() if value != self._watchdog_units}
        if not wrong:
            return None
        fired = table.WATCHDOG_FIRED in wrong.values()
        cause = f"the bus was silent for {self._config.watchdog_ms} ms" if fired else "they have restarted"
        return "watchdog", f"servos {list(wrong)} have stopped by themselves: {cause}"

    @property
    def _watchdog_units(self) -> int:
        return self._config.watchdog_ms // table.WATCHDOG_UNIT_MS

    def _prepare(self) -> None:
        self._measured_with_retries()
        hottest = int(self.temperature_celsius.argmax())
        if self.temperature_celsius[hottest] >= self._config.cooled_celsius:
            raise HardwareFaultError(f"{self._heat(hottest)}; wait until it is below {self._config.cooled_celsius}")
        if self._alerts:
            for number in self._alerts:
                self._port.reboot(number)
            time.sleep(REBOOT_S)
            self._measured_with_retries()
            if self._alerts:
                raise HardwareFaultError(f"errors persist after a restart: {self._motor_errors()}")
        self._set(table.BUS_WATCHDOG, 0)  # also clears one that has fired
        modes = self._with_retries(lambda: self._port.numbers(self._ids, table.OPERATING_MODE))
        if set(modes.values()) != {table.CURRENT_BASED_POSITION}:
            self._set(table.TORQUE_ENABLE, 0)
            self._set(table.OPERATING_MODE, table.CURRENT_BASED_POSITION)
        self._set(table.GOAL_CURRENT, self._config.current_limit_ma)

    def _drive(self, joints: np.ndarray) -> None:
        self._port.write(table.GOAL_POSITION, self._goals(joints))

    def _hold_at(self, joints: np.ndarray) -> None:
        """A sync write is not acknowledged, so the goals are read back."""
        self._drive(joints)
        if self._port.numbers(self._ids, table.GOAL_POSITION) != self._goals(joints):
            raise LinkError("a servo did not accept its goal position")

    def _engage(self) -> None:
        self._set(table.TORQUE_ENABLE, 1)
        self._set(table.BUS_WATCHDOG, self._watchdog_units)

    def _calm(self) -> None:
        self._port.write(table.GOAL_CURRENT, dict.fromkeys(self._ids, self._config.hold_current_ma))

    def _relax(self) -> None:
        self.armed = False
        with contextlib.suppress(LinkError, UnpluggedError):
            self._port.write(table.TORQUE_ENABLE, dict.fromkeys(self._ids, 0))

    def _goals(self, joints: np.ndarray) -> dict[int, int]:
        return dict(zip(self._ids, self._config.counts_from_joints(joints).tolist(), strict=True))

    def _set(self, register: table.Register, value: int) -> None:
        """Writes the same value to all servos and reads it back, with retries: arming is not time-critical."""
        wrong: list[int] = []
        for _ in range(TRIES):
            self._port.write(register, dict.fromkeys(self._ids, value))
            found = self._with_retries(lambda: self._port.numbers(self._ids, register))
            wrong = [number for number, got in found.items() if got != value]
            if not wrong:
                return
        raise HardwareFaultError(f"servos {wrong} did not accept the value {value} at address {register.address}")

    def _heat(self, joint: int) -> str:
        return f"{self.limits.joint_names[joint]} is at {self.temperature_celsius[joint]} degrees Celsius"

    def _motor_errors(self) -> str:
        try:
            bits = self._port.numbers(self._alerts, table.HARDWARE_ERROR)
        except (LinkError, UnpluggedError):
            return f"servos {self._alerts} report a hardware error"
        names = {number: self.limits.joint_names[self._ids.index(number)] for number in self._alerts}
        return "; ".join(f"{names[n]} (servo {n}): {table.hardware_error_text(bits[n])}" for n in self._alerts)


def leap_hand_from_address(address: str) -> LeapHand:
    """The hand of `DEVICE?config=FILE`, open and limp.

    Raises:
        BadInputError: the address or the file cannot be used.
        MissingDependencyError, HardwareFaultError: as LeapHand.
    """
    device, path = device_and_file("leap", address)
    return LeapHand(device, config_from_file(LeapConfig, path))
