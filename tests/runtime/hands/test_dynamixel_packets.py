"""The simulator's packets equal those of the vendor's SDK, whatever they contain and however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.runtime.hands.simulators.dynamixel_packets import (
    Packet,
    PacketReader,
    bytes_from_packet,
    crc16,
    stuffed,
    unstuffed,
)

# Bytes of headers are frequent, so that stuffing happens.
content = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x55]) | st.integers(0, 255), max_size=60).map(bytes)
packets = st.builds(Packet, st.integers(0, 252), st.sampled_from([0x01, 0x02, 0x03, 0x55, 0x82, 0x83]), content)


def test_the_ping_example_of_the_manual() -> None:
    # emanual.robotis.com, protocol 2.0, instruction Ping to ID 1
    assert bytes_from_packet(Packet(1, 0x01)) == bytes.fromhex("FF FF FD 00 01 03 00 01 19 4E")


@given(content)
def test_the_crc_equals_the_sdks(data: bytes) -> None:
    handler = pytest.importorskip("dynamixel_sdk").PacketHandler(2.0)
    assert crc16(data) == handler.updateCRC(0, list(data), len(data))


@given(content)
def test_stuffing_hides_every_header_and_is_reversible(data: bytes) -> None:
    assert unstuffed(stuffed(data)) == data
    assert b"\xff\xff\xfd\x00" not in stuffed(data)


@given(content)
def test_stuffing_equals_the_sdks(data: bytes) -> None:
    handler = pytest.importorskip("dynamixel_sdk").PacketHandler(2.0)
    length = len(data) + 3
    raw = [0xFF, 0xFF, 0xFD, 0, 1, length & 0xFF, length >> 8, 0x03, *data, 0, 0]
    sent = handler.addStuffing(raw)
    assert bytes(sent[8:-2]) == stuffed(b"\x03" + data)[1:]


@given(st.lists(packets, max_size=4), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_packets_are_reassembled(sent: list[Packet], sizes: list[int]) -> None:
    stream, reader, got = b"".join(map(bytes_from_packet, sent)), PacketReader(), []
    while stream:
        for size in sizes:
            got += reader.feed(stream[:size])
            stream = stream[size:]
    assert got == sent and reader.bad_crc == 0


@given(packets, st.integers(0, 10_000), st.integers(1, 255))
def test_a_corrupt_packet_is_never_accepted(packet: Packet, at: int, change: int) -> None:
    data = bytearray(bytes_from_packet(packet))
    data[at % len(data)] ^= change
    assert packet not in PacketReader().feed(bytes(data))


@given(st.binary(max_size=300))
def test_noise_neither_raises_nor_accumulates(noise: bytes) -> None:
    reader = PacketReader()
    reader.feed(noise)
    good = Packet(3, 0x02, b"\x84\x00\x04\x00")
    # A header in the noise may consume up to its stated length; after that, packets are found again.
    assert good in reader.feed(bytes_from_packet(good) * 120)
