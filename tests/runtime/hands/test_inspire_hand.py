"""The RH56 driver against pymodbus's own server, over TCP and over a serial line."""

from __future__ import annotations

import dataclasses
import os
import select
import threading
import time
import tty

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.hands import inspire_registers as table
from vpp_edge.runtime.hands.config import config_from_file
from vpp_edge.runtime.hands.inspire import InspireHand
from vpp_edge.runtime.hands.inspire_config import InspireConfig
from vpp_edge.runtime.hands.kinds import hand_from_text
from vpp_edge.runtime.hands.modbus_client import ModbusDevice

pytest.importorskip("pymodbus")
from vpp_edge.runtime.hands.simulators.inspire_server import InspireServer

pytestmark = pytest.mark.live

EXAMPLE = ROOT / "examples" / "hands" / "inspire.json"


def config(**changes):
    return dataclasses.replace(config_from_file(InspireConfig, EXAMPLE), **{"timeout_ms": 200.0, **changes})


@pytest.fixture
def server():
    with InspireServer() as server:
        yield server


@pytest.fixture
def hand(server):
    with InspireHand(f"tcp/127.0.0.1/{server.port}", config()) as hand:
        yield hand


def fault_within(hand, readings):
    with pytest.raises(HardwareFaultError) as caught:
        for _ in range(readings):
            hand.read()
            time.sleep(0.002)
    return str(caught.value)


def test_open_reads_and_sends_nothing(server, hand):
    state = hand.read()
    np.testing.assert_allclose(state.vector[7:], np.array(hand.limits.joint_upper_rad) / 2)
    assert server.written == {}


def test_direction_and_range_follow_the_configuration(server):
    turned = config(raw_at_lower=(0, 1000, 0, 1000, 0, 1000), raw_at_upper=(1000, 0, 1000, 0, 900, 100))
    with InspireHand(f"tcp/127.0.0.1/{server.port}", turned) as hand:
        target = hand.read().vector.copy()
        hand.send(target)
        target[7:] = hand.limits.joint_upper_rad
        hand.send(target)
        assert server.targets == [1000, 0, 1000, 0, 900, 100]


def test_the_first_target_arms_with_speed_and_force(server, hand):
    pose = hand.read().vector
    hand.send(pose)
    assert server.written[table.SPEED_SET] == [300] * 6 and server.written[table.FORCE_SET] == [200] * 6
    far = pose.copy()
    far[7] = 0
    hand.arm()
    with pytest.raises(HardwareFaultError, match="first target"):
        hand.send(far)


def test_joints_and_forces_are_read(server, hand):
    server.forces = [100, -50, 0, 0, 0, 0]
    for _ in range(4):
        state = hand.read()
    np.testing.assert_allclose(state.effort[:2], [0.980665, -0.4903325])


@pytest.mark.parametrize(("bit", "words"), [(0, "locked rotor"), (1, "overheating"), (2, "overcurrent")])
def test_an_error_stops_within_three_readings_and_arming_clears_it(server, hand, bit, words):
    hand.send(hand.read().vector)
    server.errors[3] = 1 << bit
    assert f"index: {words}" in fault_within(hand, 3)
    hand.arm()
    assert hand.armed and server.errors == [0] * 6


def test_heat_stops_the_hand_and_prevents_arming(server, hand):
    hand.send(hand.read().vector)
    server.temperatures[5] = 61
    assert "61 degrees" in fault_within(hand, 3)
    with pytest.raises(HardwareFaultError, match="below 50"):
        hand.arm()


def test_a_stuck_joint_stops_the_hand(server, hand):
    target = hand.read().vector.copy()
    hand.send(target)
    server.stuck.add(1)
    target[8] += 0.4
    hand.send(target)
    assert "ring" in fault_within(hand, 5)


def test_silence_repeats_the_last_state_and_then_is_a_fault(server):
    with InspireHand(f"tcp/127.0.0.1/{server.port}", config(timeout_ms=20.0)) as hand:
        hand.send(hand.read().vector)
        last = hand.read()
        server.silent = True
        for _ in range(4):
            assert hand.read().stamp_ns == last.stamp_ns
        with pytest.raises(HardwareFaultError, match="5 failures in a row"):
            hand.read()


def test_a_lost_server_is_a_fault(server, hand):
    hand.send(hand.read().vector)
    server.close()
    assert "failures in a row" in fault_within(hand, 6)


def test_an_unreachable_hand_is_reported():
    with pytest.raises(HardwareFaultError, match="cannot be opened"):
        hand_from_text(f"inspire:tcp/127.0.0.1/9?config={EXAMPLE}")


class SerialLine:
    """Two serial devices with a cable between them. The answers in `late`, counted, arrive after the next request."""

    def __init__(self):
        self._ends = [os.openpty() for _ in range(2)]
        for _, slave in self._ends:
            tty.setraw(slave)
        self.server, self.client = (os.ttyname(slave) for _, slave in self._ends)
        self.late, self.answers, self._kept = (), 0, b""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self):
        server, client = (master for master, _ in self._ends)
        while not self._stop.is_set():
            for ready in select.select([server, client], [], [], 0.01)[0]:
                data = os.read(ready, 4096)
                if ready == client:
                    kept, self._kept = self._kept, b""
                    os.write(client, kept)
                    os.write(server, data)
                    continue
                self.answers += 1
                if self.answers in self.late:
                    self._kept += data
                else:
                    os.write(client, data)

    def close(self):
        self._stop.set()
        self._thread.join()
        for pair in self._ends:
            for end in pair:
                os.close(end)


@pytest.fixture
def line():
    line = SerialLine()
    yield line
    line.close()


def test_over_a_serial_line(line):
    with InspireServer(serial=line.server) as server, InspireHand(line.client, config()) as hand:
        hand.send(hand.read().vector)
        assert server.targets == [500] * 6


@pytest.mark.parametrize("answer", range(1, 9))
def test_a_late_answer_is_not_mistaken_for_the_next_one(line, answer):
    """Forces look like angles, and temperatures like error bits."""
    with InspireServer(serial=line.server) as server, InspireHand(line.client, config(timeout_ms=50.0)) as hand:
        pose = hand.read().vector
        hand.send(pose)
        server.forces = [300] * 6
        line.late = (line.answers + answer, line.answers + answer + 12)
        for _ in range(20):
            np.testing.assert_allclose(hand.read().vector, pose)
        assert hand.failed_reads >= 2 and hand.armed


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=6, max_size=6))
def test_angles_survive_the_registers(ends):
    lower, upper = zip(*ends, strict=True)
    if any(abs(a - b) < 10 for a, b in ends):
        with pytest.raises(BadInputError, match="not a valid calibration"):
            config(raw_at_lower=lower, raw_at_upper=upper)
        return
    made = config(raw_at_lower=lower, raw_at_upper=upper)
    for end, raw in (("joint_lower_rad", lower), ("joint_upper_rad", upper)):
        assert made.raw_from_joints(np.array(getattr(made.limits, end))) == list(raw)
        np.testing.assert_allclose(made.joints_from_raw(np.array(raw)), getattr(made.limits, end), atol=1e-12)


UNREACHABLE = {
    "tcp/nowhere.invalid": "no address is known for the host 'nowhere.invalid' .* check its name, the network",
    f"tcp/{70 * 'x'}": "no address is known",
    "tcp/127.0.0.1/1": r"cannot be opened \(Connection refused\); check the hand's power",
    "/dev/nowhere": r"cannot be opened \(No such file or directory\); check",
}


@pytest.mark.parametrize(("address", "message"), UNREACHABLE.items())
def test_what_cannot_be_reached_says_why_and_prints_nothing(
    address: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HardwareFaultError, match=message):
        ModbusDevice(address, unit=1, baud=115200, timeout_ms=100, word=0)
    assert capfd.readouterr() == ("", "")
