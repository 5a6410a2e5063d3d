"""Group reads and writes with a time limit over dynamixel-sdk, which is imported here only.

The SDK waits 34 ms for an answer, measured with the wall clock, and spins meanwhile. `_port_class` replaces this by a
deadline on the monotonic clock and a wait that lets other threads run. It also cuts a longer answer to the length that
was asked for, so that a late answer to one reading would pass for the answer to the next: answers are read here.
"""

from __future__ import annotations

import contextlib
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vpp_edge.errors import HardwareFaultError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.runtime.hands.dynamixel_registers import MODEL_NUMBER, Register
from vpp_edge.runtime.hands.guarded import TRIES, LinkError, UnpluggedError

ALERT = 0x80  # of a status packet's error byte: the servo has a hardware error
RESYNC = Register(0, 3)  # no other reading has this size, so that its answer cannot be mistaken
WAIT_S = 0.0005


class DynamixelPort:
    """An open bus of servos that use protocol 2.0.

    Args:
        device: serial device.
        baud: bits per second.
        timeout_ms: time limit of one exchange.

    Raises:
        MissingDependencyError: dynamixel-sdk is not installed.
        HardwareFaultError: the device cannot be opened.
    """

    def __init__(self, device: str, baud: int, timeout_ms: float) -> None:
        sdk = import_sdk()
        self._ok = sdk.COMM_SUCCESS
        self._id_at, self._error_at, self._length_at = sdk.PKT_ID, sdk.PKT_ERROR, sdk.PKT_LENGTH_L
        self.device = device
        self._in_doubt = False  # an exchange failed: its answers may still arrive
        self._packets = sdk.PacketHandler(2.0)
        self._port = _port_class(sdk)(device, timeout_ms)
        try:
            opened = self._port.setBaudRate(baud)
        except OSError as error:
            raise HardwareFaultError(
                f"{device}: {error}; check that the hand is plugged in, that you are in the group `dialout`, and that "
                "no other program uses the device"
            ) from error
        if not opened:
            raise HardwareFaultError(f"{device}: this serial port does not support {baud} baud")

    def read(self, ids: Sequence[int], register: Register) -> tuple[dict[int, bytes], list[int]]:
        """One sync read: the bytes of a register by servo, and the servos that report a hardware error.

        Raises:
            LinkError, UnpluggedError: not all servos answered correctly in time; the whole reading is discarded.
        """
        if self._in_doubt:
            self._exchange(ids[:1], RESYNC)
        self._in_doubt = True
        answers = self._exchange(ids, register)
        self._in_doubt = False
        values = {number: data for number, (data, _) in answers.items()}
        return values, [number for number, (_, error) in answers.items() if error & ALERT]

    def _exchange(self, ids: Sequence[int], register: Register) -> dict[int, tuple[bytes, int]]:
        """The bytes and the error byte of each servo's answer to one sync read."""
        try:
            self._port.is_using = False
            self._check(self._packets.syncReadTx(self._port, *register, list(ids), len(ids), False), "the request")
            return {number: self._answer(number, register.size) for number in ids}
        except OSError as error:
            raise UnpluggedError(f"{self.device}: {error}") from error

    def _answer(self, number: int, size: int) -> tuple[bytes, int]:
        """The answer of a servo; answers of other servos or sizes are skipped: they belong to a reading that failed."""
        while True:
            packet, result = self._packets.rxPacket(self._port, False)
            self._check(result, f"servo {number}")
            if packet[self._id_at] != number:
                continue
            length = packet[self._length_at] | packet[self._length_at + 1] << 8  # with instruction, error and CRC
            error, data = packet[self._error_at], bytes(packet[self._error_at + 1 : self._error_at + length - 3])
            if error & ~ALERT:
                raise LinkError(f"servo {number} answered with error {error & ~ALERT}")
            if len(data) == size:
                return data, error

    def write(self, register: Register, values: Mapping[int, int]) -> None:
        """One sync write. Servos do not acknowledge it: read important values back.

        Raises:
            LinkError, UnpluggedError: the packet could not be sent.
        """
        parameters: list[int] = []
        for number, value in values.items():
            parameters += [number, *(value & (1 << 8 * register.size) - 1).to_bytes(register.size, "little")]
        try:
            self._port.is_using = False
            result = self._packets.syncWriteTxOnly(self._port, *register, parameters, len(parameters))
            self._check(result, "the write")
        except OSError as error:
            raise UnpluggedError(f"{self.device}: {error}") from error

    def numbers(self, ids: Sequence[int], register: Register) -> dict[int, int]:
        """The unsigned values of a register by servo; raises like `read`."""
        values, _ = self.read(ids, register)
        return {number: int.from_bytes(value, "little") for number, value in values.items()}

    def models(self, ids: Sequence[int]) -> dict[int, int | None]:
        """Model number by servo, None for those that do not answer after TRIES attempts; raises UnpluggedError."""
        found: dict[int, int | None] = dict.fromkeys(ids)
        for _ in range(TRIES):
            for number in (number for number, model in found.items() if model is None):
                with contextlib.suppress(LinkError):
                    found[number] = self.numbers([number], MODEL_NUMBER)[number]
        return found

    def reboot(self, number: int) -> None:
        """Restarts a servo, which takes half a second and clears its hardware error."""
        try:
            self._port.is_using = False
            self._packets.reboot(self._port, number)
        except OSError as error:
            raise UnpluggedError(f"{self.device}: {error}") from error

    def close(self) -> None:
        """Closes the serial device; may be called twice."""
        if self._port.is_open:
            self._port.closePort()

    def _check(self, result: int, what: str) -> None:
        if result != self._ok:
            raise LinkError(f"{what}: {self._packets.getTxRxResult(result)}")


def import_sdk() -> Any:
    """The module `dynamixel_sdk`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import dynamixel_sdk
    except ModuleNotFoundError as error:
        if error.name not in ("dynamixel_sdk", "serial"):
            raise
        raise MissingDependencyError("dynamixel-sdk", "--hand leap", pip_install("leap")) from error
    return dynamixel_sdk


def _port_class(sdk: Any) -> Any:
    import serial

    class Port(sdk.PortHandler):
        def __init__(self, device: str, timeout_ms: float) -> None:
            super().__init__(device)
            self._timeout_ms = timeout_ms

        def setupPort(self, _baud: int) -> bool:
            self.ser = serial.Serial(self.port_name, self.baudrate, timeout=WAIT_S, write_timeout=0.05, exclusive=True)
            self.is_open = True
            self.ser.reset_input_buffer()
            return True

        def setPacketTimeout(self, _length: int) -> None:
            self.setPacketTimeoutMillis(self._timeout_ms)

        def getCurrentTime(self) -> float:
            return time.monotonic_ns() / 1e6

        def clearPort(self) -> None:
            try:
                super().clearPort()
            except termios.error as error:  # not an OSError
                raise OSError(str(error)) from error

    return Port
