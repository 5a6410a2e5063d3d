"""A simulated Dynamixel bus on a pseudo-terminal, with servos that answer a driver.

Servos move, have the control table of an XL330 with its bus watchdog, and faults that can be injected at any time. The
bus runs in a thread. `python -m vpp_edge.runtime.hands.simulators.dynamixel_bus` prints the DEVICE for
`--hand leap:DEVICE?config=FILE`.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Sequence
from types import TracebackType

from vpp_edge.runtime.hands.dynamixel_registers import MODELS, STATE_BLOCK
from vpp_edge.runtime.hands.simulators.dynamixel_packets import STATUS, Packet, PacketReader, bytes_from_packet
from vpp_edge.runtime.hands.simulators.dynamixel_servo import ACCESS_ERROR, DATA_LENGTH_ERROR, INSTRUCTION_ERROR, Servo

PING, READ, WRITE, REBOOT, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x08, 0x82, 0x83
BROADCAST = 0xFE


class DynamixelBus:
    """Servos on a pseudo-terminal. Context manager.

    Args:
        ids: of the servos.
        model: their model number, XL330-M288 by default.

    Attributes:
        device: path to open as a serial port.
        servos: by id; inject their faults here.
        silent: nothing is answered and no instruction reaches the servos, as when the bus is unplugged.
        corrupt: number of next answers with a wrong CRC.
        lose: number of next answers that are lost.
        stall_s: everything is delayed once by this time, as on a busy machine.
        late: number of next answers that arrive after the next request, as from an adapter that buffers.
        bad_crc: number of instruction packets received with a wrong CRC.
    """

    def __init__(self, ids: Sequence[int] = tuple(range(16)), model: int = 1200) -> None:
        if model not in MODELS:
            raise ValueError(f"model {model}: expected one of {sorted(MODELS)}")
        self.servos = {number: Servo(number, model) for number in ids}
        self.silent = False
        self.corrupt = self.lose = self.late = 0
        self.stall_s = 0.0
        self._kept: list[bytes] = []
        self._reader = PacketReader()
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.device = os.ttyname(slave)
        self._slave: int | None = slave  # kept open, so that the terminal survives a client that closes it
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="dynamixel bus", daemon=True)
        self._thread.start()

    @property
    def bad_crc(self) -> int:
        return self._reader.bad_crc

    def unplug(self) -> None:
        """Removes the device, as when the USB adapter is pulled: clients get errors from now on."""
        self._stopping.set()
        self._thread.join()
        if self._slave is not None:
            os.close(self._slave)
            os.close(self._master)
            self._slave = None

    close = unplug

    def _serve(self) -> None:
        while not self._stopping.is_set():
            if self.stall_s:
                time.sleep(self.stall_s)
                self.stall_s = 0.0
            with contextlib.suppress(OSError):
                ready, _, _ = select.select([self._master], [], [], 0.005)
                data = os.read(self._master, 4096) if ready else b""
                now_s = time.monotonic()
                for servo in self.servos.values():
                    servo.advance(now_s)
                if self.silent:
                    continue
                for packet in self._reader.feed(data):
                    while self._kept:
                        os.write(self._master, self._kept.pop(0))
                    for answer in self._answers(packet, now_s):
                        self._send(answer)

    def _send(self, answer: Packet) -> None:
        data = bytearray(bytes_from_packet(answer))
        if self.lose:
            self.lose -= 1
            return
        if self.corrupt:
            self.corrupt -= 1
            data[-1] ^= 0x5A
        if self.late:
            self.late -= 1
            self._kept.append(bytes(data))
            return
        os.write(self._master, data)

    def _answers(self, packet: Packet, now_s: float) -> list[Packet]:
        if packet.instruction == STATUS:
            return []
        for servo in self.servos.values():  # any instruction on the bus resets all watchdogs
            servo.heard(now_s)
        if packet.instruction == SYNC_READ:
            return self._sync_read(packet.parameters)
        if packet.instruction == SYNC_WRITE:
            self._sync_write(packet.parameters)
            return []
        if packet.id == BROADCAST:
            return [self._answer(s, packet) for s in self.servos.values() if packet.instruction == PING and not s.mute]
        addressed = self.servos.get(packet.id)
        return [] if addressed is None or addressed.mute else [self._answer(addressed, packet)]

    def _answer(self, servo: Servo, packet: Packet) -> Packet:
        instruction, parameters = packet.instruction, packet.parameters
        if instruction == PING:
            return _status(servo, 0, servo.read(0, 2) + servo.read(6, 1))
        if instruction == READ and len(parameters) == 4:
            return _reading(servo, int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:], "little"))
        if instruction == WRITE and len(parameters) > 2:
            return _status(servo, servo.write(int.from_bytes(parameters[:2], "little"), parameters[2:]))
        if instruction == REBOOT:
            servo.reboot()
            return _status(servo, 0)
        known = instruction in (READ, WRITE)
        return _status(servo, DATA_LENGTH_ERROR if known else INSTRUCTION_ERROR)

    def _sync_read(self, parameters: bytes) -> list[Packet]:
        address, size = int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:4], "little")
        addressed = [self.servos[number] for number in parameters[4:] if number in self.servos]
        return [_reading(servo, address, size) for servo in addressed if not servo.mute]

    def _sync_write(self, parameters: bytes) -> None:
        address, size = int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:4], "little")
        entries = parameters[4:]
        for at in range(0, len(entries) - size, size + 1):
            servo = self.servos.get(entries[at])
            if servo is not None and not servo.mute:
                servo.write(address, entries[at + 1 : at + 1 + size])

    def __enter__(self) -> DynamixelBus:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _reading(servo: Servo, address: int, size: int) -> Packet:
    data = servo.read(address, size)
    return _status(servo, 0 if len(data) == size else ACCESS_ERROR, data if len(data) == size else b"")


def _status(servo: Servo, error: int, data: bytes = b"") -> Packet:
    return Packet(servo.number, STATUS, bytes([error | servo.alert]) + data)


def main() -> None:
    """Serves 16 servos until Ctrl-C."""
    with DynamixelBus() as bus, contextlib.suppress(KeyboardInterrupt):
        print(f"16 simulated XL330 on {bus.device} (state block {STATE_BLOCK.address}); Ctrl-C to stop", flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
