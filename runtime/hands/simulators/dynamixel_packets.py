"""Packets of Dynamixel protocol 2.0, parsed from and serialized to bytes.

Written from the public protocol description (emanual.robotis.com, DYNAMIXEL Protocol 2.0). A packet is
`FF FF FD 00 | id | length (2, little-endian) | instruction, parameters | CRC-16 (2, little-endian)`; `length` counts
from the instruction to the CRC. Where `FF FF FD` occurs in instruction and parameters, a further `FD` is stuffed in.
"""

from __future__ import annotations

from dataclasses import dataclass

HEADER = b"\xff\xff\xfd\x00"
STATUS = 0x55
LONGEST = 1024  # bytes; a longer length is noise that looks like a header
_MARK = b"\xff\xff\xfd"


@dataclass(frozen=True)
class Packet:
    """One packet. In an answer, `instruction` is STATUS and the first parameter is the error byte."""

    id: int
    instruction: int
    parameters: bytes = b""


def crc16(data: bytes) -> int:
    """CRC-16 with polynomial 0x8005, start value 0, no reflection, no final inversion."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def stuffed(content: bytes) -> bytes:
    """Content with an `FD` after each `FF FF FD`, so that none of it looks like a header."""
    return content.replace(_MARK, _MARK + b"\xfd")


def unstuffed(content: bytes) -> bytes:
    """The inverse of `stuffed`."""
    return content.replace(_MARK + b"\xfd", _MARK)


def bytes_from_packet(packet: Packet) -> bytes:
    """The packet as it is sent."""
    content = stuffed(bytes([packet.instruction]) + packet.parameters)
    body = HEADER + bytes([packet.id]) + (len(content) + 2).to_bytes(2, "little") + content
    return body + crc16(body).to_bytes(2, "little")


class PacketReader:
    """Finds packets in a stream that may start anywhere, be split anywhere and contain noise.

    Attributes:
        bad_crc: number of packets with a wrong CRC, which are dropped, as a servo does.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.bad_crc = 0

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes, in order."""
        self._bytes += data
        packets = []
        while (found := self._next()) is not None:
            if isinstance(found, Packet):
                packets.append(found)
        return packets

    def _next(self) -> Packet | bool | None:
        """A packet; False when noise was dropped and there may be more; None when more bytes are needed."""
        start = self._bytes.find(HEADER)
        if start < 0:
            del self._bytes[: max(0, len(self._bytes) - len(HEADER) + 1)]
            return None
        del self._bytes[:start]
        if len(self._bytes) < 7:
            return None
        length = int.from_bytes(self._bytes[5:7], "little")
        if not 3 <= length <= LONGEST:
            del self._bytes[:1]
            return False
        end = 7 + length
        if len(self._bytes) < end:
            return None
        whole = bytes(self._bytes[:end])
        if crc16(whole[:-2]) != int.from_bytes(whole[-2:], "little"):
            self.bad_crc += 1
            del self._bytes[:1]  # the length itself may be wrong, and the next header inside
            return False
        del self._bytes[:end]
        content = unstuffed(whole[7:-2])
        return Packet(whole[4], content[0], content[1:])
