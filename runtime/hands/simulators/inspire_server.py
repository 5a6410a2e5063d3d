"""A simulated Inspire RH56: pymodbus's server over TCP or a serial line, with registers that move.

`python -m vpp_edge.runtime.hands.simulators.inspire_server` prints the address to give to `--hand inspire:`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from types import TracebackType
from typing import Any

from vpp_edge.runtime.hands import inspire_registers as table

JOINTS = 6
COUNTS_PER_S = 1000.0  # at full speed; a real hand closes in about a second


class InspireServer:
    """A simulated hand that serves requests in a thread. Context manager.

    Args:
        serial: serial device to serve as Modbus RTU; None: TCP on a free port of this machine.

    Attributes:
        port: TCP port.
        angles: (6,) positions of the joints, 0 to 1000; targets, forces, errors, temperatures: (6,) their registers.
        stuck: joints that do not move.
        silent: requests are answered too late.
    """

    def __init__(self, serial: str | None = None) -> None:
        self._serial, self.port = serial, 0
        self.angles, self.targets = [500.0] * JOINTS, [500] * JOINTS
        self.forces, self.errors, self.temperatures = [0] * JOINTS, [0] * JOINTS, [30] * JOINTS
        self.written: dict[int, list[int]] = {}
        self.stuck: set[int] = set()
        self.silent = False
        self._then_s = time.monotonic()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="inspire server", daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the Modbus server did not start within 10 s")

    def close(self) -> None:
        """Stops serving and closes the connections; may be called twice."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        from pymodbus.server import ModbusSerialServer, ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        sizes = {table.CLEAR_ERROR: 1, table.ERROR: 3, table.TEMPERATURE: 3}
        sizes |= dict.fromkeys((table.ANGLE_SET, table.FORCE_SET, table.SPEED_SET), JOINTS)
        sizes |= dict.fromkeys((table.ANGLE_ACT, table.FORCE_ACT), JOINTS)
        blocks = [SimData(at, values=[0] * size, datatype=DataType.REGISTERS) for at, size in sorted(sizes.items())]
        device = SimDevice(id=1, simdata=blocks, action=self._access)
        self._server: Any
        if self._serial is None:
            self._server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        else:
            self._server = ModbusSerialServer(device, port=self._serial, baudrate=115200)
        await self._server.serve_forever(background=True)
        if self._serial is None:
            self.port = self._server.transport.sockets[0].getsockname()[1]

    async def _access(
        self, _function: int, start: int, address: int, count: int, registers: list[int], values: list[int] | None
    ) -> None:
        if self.silent:
            await asyncio.sleep(0.5)
        self._advance()
        if values is not None:
            self.written[address] = list(values)
            if address == table.ANGLE_SET:
                self.targets = [
                    old if new == table.UNKNOWN else new for old, new in zip(self.targets, values, strict=True)
                ]
            elif address == table.CLEAR_ERROR and values[0] & 1:
                self.errors = [0] * JOINTS
            return
        now = {
            table.ANGLE_ACT: [round(angle) for angle in self.angles],
            table.FORCE_ACT: [force & 0xFFFF for force in self.forces],
            table.ERROR: _words(self.errors),
            table.TEMPERATURE: _words(self.temperatures),
        }.get(address)
        if now is not None:
            registers[address - start : address - start + count] = now[:count]

    def _advance(self) -> None:
        now_s = time.monotonic()
        most, self._then_s = COUNTS_PER_S * (now_s - self._then_s), now_s
        for joint, target in enumerate(self.targets):
            if joint not in self.stuck:
                self.angles[joint] += max(-most, min(most, target - self.angles[joint]))

    def __enter__(self) -> InspireServer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _words(values: list[int]) -> list[int]:
    return [low | high << 8 for low, high in zip(values[::2], values[1::2], strict=True)]


def main() -> None:
    """Serves one hand until Ctrl-C."""
    with InspireServer() as server, contextlib.suppress(KeyboardInterrupt):
        print(f"simulated RH56 at tcp/127.0.0.1/{server.port}; Ctrl-C to stop", flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
