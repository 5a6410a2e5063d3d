"""Driver of the Inspire RH56 hand over Modbus.

The device has no watchdog: without further commands it moves to its last target and stays there.
"""

from __future__ import annotations

import numpy as np

from vpp_edge.clock import Clock
from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.hands import inspire_registers as table
from vpp_edge.runtime.hands.config import config_from_file, device_and_file
from vpp_edge.runtime.hands.guarded import GuardedHand, LinkError
from vpp_edge.runtime.hands.inspire_config import JOINTS, InspireConfig
from vpp_edge.runtime.hands.modbus_client import ModbusDevice

NEWTON_PER_GRAM = 9.80665e-3
LARGEST_ANGLE = 2000  # larger values are UNKNOWN or invalid


class InspireHand(GuardedHand):
    """An open RH56 hand; efforts are forces in N.

    Each reading fetches the angles and, in rotation, forces, errors or temperatures: a serial line is too slow for all
    of them in one control period.

    Raises:
        MissingDependencyError: pymodbus is not installed.
        HardwareFaultError: the hand cannot be reached or does not answer.
    """

    name, title = "inspire", "RH56 hand"
    unreachable = "it moves to its last target, and nothing else stops it"

    def __init__(self, address: str, config: InspireConfig, clock: Clock | None = None) -> None:
        self._config = config
        self._effort: np.ndarray = np.zeros(JOINTS)
        self._readings = 0
        super().__init__(address, config.limits, config.wrist, clock)

    def _open(self) -> None:
        config = self._config
        self._bus = ModbusDevice(
            self.device, unit=config.unit, baud=config.baud, timeout_ms=config.timeout_ms, word=table.ANGLE_ACT
        )

    def _release(self) -> None:
        self._bus.close()

    def _measure(self) -> tuple[np.ndarray, np.ndarray]:
        raw = self._bus.read(table.ANGLE_ACT, JOINTS)
        if any(value > LARGEST_ANGLE for value in raw):
            raise LinkError(f"angles {raw}: unknown to the hand")
        return self._config.joints_from_raw(np.array(raw, dtype=np.float64)), self._effort

    def _trouble(self) -> tuple[str, str] | None:
        """Checks forces, errors or temperatures, in rotation."""
        self._readings += 1
        if self._readings % 3 == 0:
            words = self._bus.read(table.FORCE_ACT, JOINTS)
            self._effort = np.array(words, dtype=np.uint16).astype(np.int16) * NEWTON_PER_GRAM
        elif self._readings % 3 == 1:
            if trouble := self._error_text():
                return "motor", trouble
        elif (hottest := max(self._temperatures())) >= self._config.hottest_celsius:
            return "temperature", f"a joint is at {hottest} degrees Celsius"
        return None

    def _prepare(self) -> None:
        if max(self._temperatures()) >= self._config.cooled_celsius:
            raise HardwareFaultError(f"the RH56 hand is hot; wait until it is below {self._config.cooled_celsius}")
        if self._error_text():
            self._bus.write(table.CLEAR_ERROR, [1])
            if trouble := self._error_text():
                raise HardwareFaultError(f"errors of the RH56 hand persist after clearing: {trouble}")
        self._bus.write(table.SPEED_SET, list(self._config.speed))
        self._bus.write(table.FORCE_SET, list(self._config.force))

    def _drive(self, joints: np.ndarray) -> None:
        self._bus.write(table.ANGLE_SET, self._config.raw_from_joints(joints))

    def _temperatures(self) -> list[int]:
        return table.bytes_from_words(self._bus.read(table.TEMPERATURE, JOINTS // 2))

    def _error_text(self) -> str:
        errors = table.bytes_from_words(self._bus.read(table.ERROR, JOINTS // 2))
        named = zip(self.limits.joint_names, errors, strict=True)
        return "; ".join(f"{name}: {table.error_text(bits)}" for name, bits in named if bits)


def inspire_hand_from_address(address: str) -> InspireHand:
    """The hand of `/dev/ttyUSB0?config=FILE` or `tcp/HOST/PORT?config=FILE`, open and not armed.

    Raises:
        BadInputError: the address or the file cannot be used.
        MissingDependencyError, HardwareFaultError: as InspireHand.
    """
    device, path = device_and_file("inspire", address)
    return InspireHand(device, config_from_file(InspireConfig, path))
