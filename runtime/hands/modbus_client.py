"""Reads and writes Modbus registers with a time limit, over pymodbus, whose client is imported here only."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable
from typing import Any

from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.number_range import PORT
from vpp_edge.runtime.hands.guarded import LinkError

DEFAULT_PORT = "6000"  # of the RH56
WRITE_REGISTERS = 16  # function code
ERRNO = re.compile(r"\[Errno -?\d+\] ([\w ]+\w)")


class ModbusDevice:
    """A Modbus device, over a serial line (RTU) or TCP.

    Answers carry no number on a serial line, so one that arrives late would pass for the answer to the next request.
    After a failure, a single word is read first: an answer of that length is the answer to that request.

    Args:
        address: `/dev/ttyUSB0`, `tcp/HOST` or `tcp/HOST/PORT` (default DEFAULT_PORT).
        unit: its Modbus address.
        baud: bits per second of a serial line.
        timeout_ms: time limit of one request.
        word: address of a word that can always be read, in a block that is never read one word at a time.

    Raises:
        MissingDependencyError: pymodbus is not installed.
        BadInputError: the address has no host or no valid port.
        HardwareFaultError: the device cannot be reached.
    """

    def __init__(self, address: str, unit: int, baud: int, timeout_ms: float, word: int) -> None:
        try:
            from pymodbus.client import ModbusSerialClient, ModbusTcpClient
            from pymodbus.exceptions import ModbusException
        except ModuleNotFoundError as error:
            raise MissingDependencyError("pymodbus", "--hand inspire", pip_install("inspire")) from error
        self._failures = (ModbusException, OSError)
        self._word, self._in_doubt, self._timeout_s = word, False, timeout_ms / 1e3
        self._unit, limits = unit, {"timeout": timeout_ms / 1e3, "retries": 0}
        self._client: Any
        if address.startswith("tcp/"):
            host, _, port = address.removeprefix("tcp/").partition("/")
            number = PORT.parsed(port or DEFAULT_PORT)
            if not host or number is None:
                raise BadInputError(f"{address:.80}: expected tcp/HOST or tcp/HOST/PORT, where PORT is {PORT}")
            _check_host(address, host)
            self._client = ModbusTcpClient(host, port=number, **limits)
        else:
            self._client = ModbusSerialClient(address, baudrate=baud, **limits)
        log = _Log()
        try:
            connected = self._client.connect()
        except self._failures as error:
            raise HardwareFaultError(f"{address}: {error}") from error
        if not connected:
            raise HardwareFaultError(f"{address} cannot be opened{log.reason}; check the hand's power and the address")

    def read(self, address: int, count: int) -> list[int]:
        """Reads `count` words; raises LinkError."""
        self._resynchronize()
        return self._read(address, count)

    def write(self, address: int, words: list[int]) -> None:
        """Writes words and waits for the answer; raises LinkError."""
        self._resynchronize()
        answer = self._answer(lambda: self._client.write_registers(address, words, device_id=self._unit))
        self._check(answer, answer.function_code == WRITE_REGISTERS, f"writing {words} at {address}")

    def _resynchronize(self) -> None:
        if self._in_doubt:
            self._read(self._word, 1)

    def _read(self, address: int, count: int) -> list[int]:
        answer = self._answer(lambda: self._client.read_holding_registers(address, count=count, device_id=self._unit))
        self._check(answer, len(answer.registers) == count, f"reading {count} words at {address}")
        return list(answer.registers)

    def _check(self, answer: Any, fits: bool, what: str) -> None:
        """Raises LinkError after an error, or after the late answer to another request."""
        if fits and not answer.isError():
            self._in_doubt = False
            return
        if not answer.isError():
            time.sleep(self._timeout_s)  # the right answer arrives too, and the next request discards it
        raise LinkError(f"{what}: {answer}")

    def _answer(self, request: Callable[[], Any]) -> Any:
        self._in_doubt = True
        try:
            return request()
        except self._failures as error:
            raise LinkError(str(error)) from error

    def close(self) -> None:
        """Closes the connection; may be called twice."""
        self._client.close()


def _check_host(address: str, host: str) -> None:
    """Raises HardwareFaultError where the name of the host means nothing to the network."""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a name"
        raise HardwareFaultError(
            f"{address}: no address is known for the host {host!r} ({reason}); check its name, the network and DNS"
        ) from error


class _Log(logging.Handler):
    """Takes what pymodbus would print from now on: it raises its errors, and says only here why `connect` failed."""

    def __init__(self) -> None:
        super().__init__()
        self._last = ""
        logger = logging.getLogger("pymodbus.logging")
        logger.handlers, logger.propagate = [self], False

    def emit(self, record: logging.LogRecord) -> None:
        self._last = record.getMessage()

    @property
    def reason(self) -> str:
        """` (No such file or directory)`, from the last line; empty without one."""
        named = ERRNO.findall(self._last)
        return f" ({named[-1] if named else self._last})" if self._last else ""
