"""A simulated XL330 servo: control table, watchdog, faults and motion.

It moves to its goal at the no-load speed: enough to see whether it moves, holds or stops. After a watchdog timeout it
does what the manual says (it stops, goals become read-only); what else a real servo does is unknown.
"""

from __future__ import annotations

from vpp_edge.runtime.hands.dynamixel_registers import (
    BUS_WATCHDOG,
    CURRENT_BASED_POSITION,
    CURRENT_LIMIT,
    GOAL_CURRENT,
    GOAL_POSITION,
    HARDWARE_ERROR,
    MODEL_NUMBER,
    OPERATING_MODE,
    PRESENT_CURRENT,
    PRESENT_POSITION,
    PRESENT_TEMPERATURE,
    PRESENT_VELOCITY,
    RAD_S_PER_COUNT,
    TEMPERATURE_LIMIT,
    TORQUE_ENABLE,
    WATCHDOG_FIRED,
    WATCHDOG_UNIT_MS,
    Register,
)

RANGE_ERROR, DATA_LENGTH_ERROR, LIMIT_ERROR, ACCESS_ERROR, INSTRUCTION_ERROR = 4, 5, 6, 7, 2  # of a status packet
ALERT = 0x80  # bit of a status packet's error byte: see HARDWARE_ERROR
TABLE_SIZE = 147
EEPROM_SIZE = 64
NO_LOAD_COUNTS_S = 103 / 60 * 4096  # 103 rev/min at 5 V
WRITABLE = {11, *range(31, 64), 64, 65, 98, *range(80, 90), *range(100, 120)}
GOALS = range(100, 120)
OVERLOAD_BIT, OVERHEATING_BIT = 1 << 5, 1 << 2


class Servo:
    """A servo on a simulated bus.

    Attributes:
        mute: it neither receives nor answers.
        frozen: its encoder keeps reporting the same angle.
        jump_counts: added to the angle that the encoder reports.
        watchdog_stops: number of stops by the bus watchdog.
        position: true angle in counts.
    """

    def __init__(self, number: int, model: int) -> None:
        self.number = number
        self._table = bytearray(TABLE_SIZE)
        self.position = 2048.0
        self.frozen = self.mute = False
        self.jump_counts = self.watchdog_stops = 0
        self._now_s = self._heard_s = 0.0
        self._set(MODEL_NUMBER, model)
        self._set(Register(6, 1), 52)  # firmware
        self._set(OPERATING_MODE, 3)
        self._set(TEMPERATURE_LIMIT, 70)
        self._set(CURRENT_LIMIT, 1750)
        self._set(PRESENT_TEMPERATURE, 35)
        self._set(GOAL_POSITION, 2048)
        self._set(PRESENT_POSITION, 2048)

    @property
    def alert(self) -> int:
        """ALERT while there is a hardware error, else 0."""
        return ALERT if self.get(HARDWARE_ERROR) else 0

    def get(self, register: Register) -> int:
        """The unsigned value of a register."""
        return int.from_bytes(self._table[register.address : sum(register)], "little")

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes; fewer when they are not all in the table."""
        return bytes(self._table[address : address + size])

    def write(self, address: int, data: bytes) -> int:
        """Writes bytes and returns 0, or returns the error number of the status packet and changes nothing."""
        addresses = range(address, address + len(data))
        if not set(addresses) <= WRITABLE:
            return ACCESS_ERROR
        if address < EEPROM_SIZE and self.get(TORQUE_ENABLE):
            return ACCESS_ERROR
        if set(addresses) & set(GOALS) and self.get(BUS_WATCHDOG) == WATCHDOG_FIRED:
            return RANGE_ERROR  # see register 98 in the manual
        if (fault := self._value_error(address, data)) != 0:
            return fault
        if address == TORQUE_ENABLE.address and data[0] and self.get(HARDWARE_ERROR):
            return ACCESS_ERROR
        self._table[address : address + len(data)] = data
        return 0

    def overheat(self, celsius: int = 75) -> None:
        """The temperature exceeds its limit: torque is switched off, and the error persists until a reboot."""
        self._set(PRESENT_TEMPERATURE, celsius)
        self._shut_down(OVERHEATING_BIT)

    def overload(self) -> None:
        """Too much current for too long: torque is switched off, and the error persists until a reboot."""
        self._shut_down(OVERLOAD_BIT)

    def set_temperature(self, celsius: int) -> None:
        self._set(PRESENT_TEMPERATURE, celsius)

    def reboot(self) -> None:
        """Clears errors and RAM goals; an error whose cause persists returns immediately."""
        self._set(HARDWARE_ERROR, 0)
        self._set(TORQUE_ENABLE, 0)
        self._set(BUS_WATCHDOG, 0)
        if self.get(PRESENT_TEMPERATURE) >= self.get(TEMPERATURE_LIMIT):
            self._shut_down(OVERHEATING_BIT)

    def heard(self, now_s: float) -> None:
        """Resets the watchdog: there was an instruction on the bus."""
        if not self.mute:
            self._heard_s = now_s

    def advance(self, now_s: float) -> None:
        """Simulates up to `now_s`."""
        elapsed_s, self._now_s = (now_s - self._now_s if self._now_s else 0.0), now_s
        armed = self.get(BUS_WATCHDOG)
        torque = bool(self.get(TORQUE_ENABLE))
        if torque and 0 < armed < WATCHDOG_FIRED and now_s - self._heard_s > armed * WATCHDOG_UNIT_MS / 1e3:
            self._set(BUS_WATCHDOG, WATCHDOG_FIRED)
            self.watchdog_stops += 1
        follows_goal = self.get(OPERATING_MODE) in (3, CURRENT_BASED_POSITION)
        moves = torque and self.get(BUS_WATCHDOG) != WATCHDOG_FIRED and follows_goal
        error = _signed(self.get(GOAL_POSITION), 4) - self.position if moves else 0.0
        most = NO_LOAD_COUNTS_S * elapsed_s if self.get(GOAL_CURRENT) or self.get(OPERATING_MODE) == 3 else 0.0
        step = max(-most, min(most, error))
        self.position += step
        self._show(step, elapsed_s)

    def _show(self, step: float, elapsed_s: float) -> None:
        if self.frozen:
            return
        velocity = step / elapsed_s * (2 * 3.141592653589793 / 4096) / RAD_S_PER_COUNT if elapsed_s else 0.0
        self._set(PRESENT_VELOCITY, round(velocity) & 0xFFFFFFFF)
        current = min(self.get(GOAL_CURRENT), 100) if step else 0
        self._set(PRESENT_CURRENT, (current if step >= 0 else -current) & 0xFFFF)
        self._set(PRESENT_POSITION, round(self.position + self.jump_counts) & 0xFFFFFFFF)

    def _value_error(self, address: int, data: bytes) -> int:
        if address == BUS_WATCHDOG.address and not (data[0] <= 127):
            return RANGE_ERROR
        value = int.from_bytes(data, "little")
        if (address, len(data)) == GOAL_CURRENT and abs(_signed(value, 2)) > self.get(CURRENT_LIMIT):
            return LIMIT_ERROR
        return 0

    def _shut_down(self, bit: int) -> None:
        self._set(HARDWARE_ERROR, self.get(HARDWARE_ERROR) | bit)
        self._set(TORQUE_ENABLE, 0)

    def _set(self, register: Register, value: int) -> None:
        self._table[register.address : sum(register)] = value.to_bytes(register.size, "little")


def _signed(value: int, size: int) -> int:
    return value - (1 << 8 * size) if value >> (8 * size - 1) else value
