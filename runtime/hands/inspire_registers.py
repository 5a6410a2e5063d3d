"""Modbus registers of the Inspire RH56 hands.

Source: register table of the RH56 series user manual, as transcribed by several public drivers (inspire_hand_sdk and
others); not verified on a hand. Each block has one entry per joint: little, ring, middle, index finger, thumb bend,
thumb rotation. Entries are words, except errors and temperatures: bytes, two per word, the lower address in the low
byte.
"""

from __future__ import annotations

CLEAR_ERROR = 1004  # write 1
ANGLE_SET = 1486  # 0 to 1000; 0xFFFF: keep this joint's target
FORCE_SET = 1498  # gram
SPEED_SET = 1522  # 0 to 1000
ANGLE_ACT = 1546  # 0 to 1000; 0xFFFF: unknown
FORCE_ACT = 1582  # gram, signed
ERROR = 1606  # bytes
TEMPERATURE = 1618  # bytes, degrees Celsius
UNKNOWN = 0xFFFF

ERRORS = {0: "locked rotor", 1: "overheating", 2: "overcurrent", 3: "abnormal operation", 4: "communication"}


def error_text(bits: int) -> str:
    """The names of the set bits of one joint's error byte."""
    return ", ".join(ERRORS.get(bit, f"bit {bit}") for bit in range(8) if bits >> bit & 1) or "none"


def bytes_from_words(words: list[int]) -> list[int]:
    """The two bytes of each word, low byte first."""
    return [byte for word in words for byte in (word & 0xFF, word >> 8)]
