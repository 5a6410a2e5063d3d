"""The registers of XL330 and XC330 servos that a hand needs, with address, width and unit.

Source: emanual.robotis.com, pages XL330-M288-T and XC330-M288-T, "Control Table of EEPROM/RAM Area". Values are
little-endian; current, velocity and position are signed.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Register(NamedTuple):
    """A value of the control table: first address, and size in bytes."""

    address: int
    size: int


MODEL_NUMBER = Register(0, 2)
OPERATING_MODE = Register(11, 1)  # EEPROM: written with torque off only
TEMPERATURE_LIMIT = Register(31, 1)  # degrees Celsius
CURRENT_LIMIT = Register(38, 2)  # mA
TORQUE_ENABLE = Register(64, 1)
HARDWARE_ERROR = Register(70, 1)
BUS_WATCHDOG = Register(98, 1)  # in 20 ms; 0: off, 1 to 127: armed, -1: has stopped the servo
GOAL_CURRENT = Register(102, 2)  # mA; the limit in current-based position mode
GOAL_POSITION = Register(116, 4)  # counts
PRESENT_CURRENT = Register(126, 2)  # mA
PRESENT_VELOCITY = Register(128, 4)  # 0.229 rev/min
PRESENT_POSITION = Register(132, 4)  # counts
PRESENT_TEMPERATURE = Register(146, 1)  # degrees Celsius

# One sync read of this block brings current, velocity, position and temperature.
STATE_BLOCK = Register(126, 21)

CURRENT_BASED_POSITION = 5  # of OPERATING_MODE
RAD_PER_COUNT = 2 * math.pi / 4096
RAD_S_PER_COUNT = 0.229 * 2 * math.pi / 60
WATCHDOG_UNIT_MS = 20
WATCHDOG_FIRED = 0xFF

# The families XL330 and XC330 share this table.
MODELS = {1190: "XL330-M077", 1200: "XL330-M288", 1210: "XC330-T181", 1220: "XC330-T288", 1230: "XC330-M181"}
MODELS |= {1240: "XC330-M288"}

HARDWARE_ERRORS = {0: "input voltage", 2: "overheating", 3: "encoder", 4: "electrical shock", 5: "overload"}


def hardware_error_text(bits: int) -> str:
    """The names of the set bits of HARDWARE_ERROR, such as `overheating, overload`."""
    names = [HARDWARE_ERRORS.get(bit, f"bit {bit}") for bit in range(8) if bits >> bit & 1]
    return ", ".join(names) or "none"
