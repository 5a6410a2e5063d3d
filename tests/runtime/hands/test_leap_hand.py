"""The LEAP driver against simulated servos, through the vendor's SDK and a pseudo-terminal: motion and every fault."""

from __future__ import annotations

import contextlib
import json
import time

import numpy as np
import pytest
from leap_under_test import EXAMPLE, leap_config, until

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.hands import dynamixel_registers as table
from vpp_edge.runtime.hands.guarded import FAILURES_IN_A_ROW, LinkError
from vpp_edge.runtime.hands.kinds import hand_from_text
from vpp_edge.runtime.hands.leap import LeapHand
from vpp_edge.runtime.hands.simulators.dynamixel_bus import DynamixelBus

pytestmark = pytest.mark.live

pytest.importorskip("dynamixel_sdk")
COUNT_RAD = table.RAD_PER_COUNT


@pytest.fixture
def bus():
    with DynamixelBus() as bus:
        yield bus


@pytest.fixture
def hand(bus):
    with LeapHand(bus.device, leap_config()) as hand:
        yield hand


def armed(hand):
    """Arms by sending the measured pose; returns it."""
    pose = hand.read().vector
    hand.send(pose)
    return pose.copy()


def read_until_fault(hand, target=None, limit=400):
    """Reads (and sends, if there is a target) until a fault; the error and the number of readings."""
    for number in range(1, limit):
        try:
            hand.read()
            if target is not None:
                hand.send(target)
        except HardwareFaultError as error:
            return error, number
        time.sleep(0.005)
    raise AssertionError("no fault")


def test_open_reads_and_leaves_the_servos_limp(bus, hand):
    state = hand.read()
    assert state.vector.shape == (23,) and state.effort.shape == (16,)
    np.testing.assert_allclose(state.vector[7:], 0, atol=COUNT_RAD)
    assert not any(servo.get(table.TORQUE_ENABLE) for servo in bus.servos.values())


def test_the_first_target_arms_with_watchdog_and_current_limit(bus, hand):
    armed(hand)
    for servo in bus.servos.values():
        assert servo.get(table.TORQUE_ENABLE) == 1
        assert servo.get(table.OPERATING_MODE) == table.CURRENT_BASED_POSITION
        assert servo.get(table.BUS_WATCHDOG) == 4
        assert servo.get(table.GOAL_CURRENT) == 300


def test_joints_reach_their_target_in_their_direction(bus):
    config = leap_config(direction=(1, -1) * 8)
    limits = config.limits
    with LeapHand(bus.device, config) as hand:
        target = armed(hand)
        goal = np.where(np.arange(16) % 4 == 1, 0.3, 0.1)
        target[7:] = goal / 2
        hand.send(target)
        target[7:] = goal
        for _ in range(40):
            hand.send(target)
            state = hand.read()
            time.sleep(0.002)
        np.testing.assert_allclose(state.vector[7:], goal, atol=COUNT_RAD)
        assert bus.servos[0].position > 2048 > bus.servos[1].position
        assert len(limits.joint_names) == 16


def test_targets_beyond_the_limits_are_clamped(bus, hand):
    target = armed(hand)
    hand.send(target)
    target[7:] = 50.0
    hand.send(target)
    upper = hand._config.counts_from_joints(np.array(hand.limits.joint_upper_rad))
    until(lambda: bus.servos[0].get(table.GOAL_POSITION) == upper[0], "the goal at the edge")


@pytest.mark.parametrize("target", [np.zeros(3), np.full(23, np.nan)])
def test_invalid_targets_are_rejected(hand, target):
    with pytest.raises(BadInputError, match="23 finite"):
        hand.send(target)


def test_a_distant_first_target_is_rejected(bus, hand):
    target = hand.read().vector.copy()
    target[8] += 1.0
    with pytest.raises(HardwareFaultError, match="first target"):
        hand.send(target)
    assert abs(bus.servos[1].position - 2048) < 2


def test_servos_stop_by_themselves_when_control_dies(bus, hand):
    target = armed(hand)
    target[8] += 0.15
    hand.send(target)
    target[8] = 2.0
    hand.send(target)
    took = until(lambda: all(s.watchdog_stops for s in bus.servos.values()), "the watchdogs")
    assert 0.05 < took < 0.3
    at = bus.servos[1].position
    time.sleep(0.05)
    assert bus.servos[1].position == at


def test_a_fired_watchdog_is_detected_and_cleared_by_arming(bus, hand):
    pose = armed(hand)
    until(lambda: bus.servos[0].watchdog_stops, "the watchdog")
    error, _ = read_until_fault(hand)
    assert "silent for 80 ms" in str(error)
    with pytest.raises(HardwareFaultError, match="armed again"):
        hand.send(pose)
    hand.arm()
    hand.send(pose)
    assert bus.servos[0].get(table.BUS_WATCHDOG) == 4


@pytest.mark.parametrize("fault", ["corrupt", "lose"])
def test_one_bad_answer_is_retried_or_survived(bus, hand, fault):
    armed(hand)
    setattr(bus, fault, 1)
    before = hand.read()
    assert np.isfinite(before.vector).all()
    assert hand.read().stamp_ns >= before.stamp_ns
    assert hand.armed


def test_a_late_state_is_not_mistaken_for_the_watchdogs(bus, hand):
    """The SDK cuts the first byte of a late state, a current of 0, out of it: the watchdogs would seem to be off."""
    armed(hand)
    bus.late = 16
    with contextlib.suppress(LinkError):
        hand._port.read(hand._ids, table.STATE_BLOCK)
    assert set(hand._port.numbers(hand._ids, table.BUS_WATCHDOG).values()) == {4}


def test_a_late_state_is_not_mistaken_for_the_next_one(bus, hand):
    armed(hand)
    bus.late = 16
    with contextlib.suppress(LinkError):
        hand._port.read(hand._ids, table.STATE_BLOCK)
    for servo in bus.servos.values():
        servo.set_temperature(50)
    time.sleep(0.02)  # the bus shows the new temperature
    hand.read()
    assert hand.temperature_celsius.tolist() == [50] * 16


@pytest.mark.parametrize("share", [1.5, 2.5, 3.5, 4.3])
def test_a_bus_that_was_late_once_is_not_late_forever(bus, hand, share):
    """Every request discards what has arrived, and would take the answer to the one before it for its own."""
    for _ in range(10):
        bus.stall_s = share * leap_config().read_ms / 1e3
        hand.arm()
        assert hand.armed
    before = hand.failed_reads
    for _ in range(5):
        hand.read()
    assert hand.failed_reads == before


READ_BACK = ("BUS_WATCHDOG", "OPERATING_MODE", "GOAL_CURRENT", "GOAL_POSITION", "TORQUE_ENABLE")


@pytest.mark.parametrize("fault", ["corrupt", "lose"])
@pytest.mark.parametrize("name", READ_BACK)
def test_a_bad_answer_while_arming_is_retried(bus, hand, monkeypatch, name, fault):
    numbers, spoiled = hand._port.numbers, []

    def first_spoiled(ids, register):
        if register == getattr(table, name) and not spoiled:
            spoiled.append(register)
            setattr(bus, fault, 1)
        return numbers(ids, register)

    monkeypatch.setattr(hand._port, "numbers", first_spoiled)
    hand.arm()
    assert spoiled and hand.armed
    assert all(servo.get(table.TORQUE_ENABLE) == 1 for servo in bus.servos.values())


def test_four_silent_readings_repeat_the_last_state_and_the_fifth_is_a_fault(bus):
    with LeapHand(bus.device, leap_config(read_ms=4.0)) as hand:
        last = hand.read()
        bus.silent = True
        start = time.monotonic()
        for _ in range(FAILURES_IN_A_ROW - 1):
            state = hand.read()
            assert state.stamp_ns == last.stamp_ns
            np.testing.assert_array_equal(state.vector, last.vector)
        with pytest.raises(HardwareFaultError, match="5 failures in a row"):
            hand.read()
        assert time.monotonic() - start < 0.2
        assert [fault.kind for fault in hand.faults][-1] == "bus"
        stamps = [fault.stamp_ns for fault in hand.faults]
        assert stamps == sorted(stamps)


def test_unplugged_is_a_fault_at_once(bus, hand):
    armed(hand)
    bus.unplug()
    with pytest.raises(HardwareFaultError, match="stopped"):
        hand.read()
    with pytest.raises(HardwareFaultError, match="watchdog"):
        hand.hold()
    with pytest.raises(HardwareFaultError):
        hand.arm()


@pytest.mark.parametrize(("plant", "words"), [("overload", "overload"), ("overheat", "overheating")])
def test_a_motor_fault_is_seen_in_one_reading_and_caps_the_current_of_all(bus, hand, plant, words):
    armed(hand)
    getattr(bus.servos[5], plant)()
    with pytest.raises(HardwareFaultError, match=f"middle forward .servo 5.*{words}"):
        hand.read()
    until(lambda: bus.servos[4].get(table.GOAL_CURRENT) == 100, "the capped current")
    assert hand.faults[-1].kind == "motor"


def test_an_overheated_motor_is_not_reset_before_it_has_cooled(bus, hand):
    armed(hand)
    bus.servos[5].overheat()
    read_until_fault(hand)
    with pytest.raises(HardwareFaultError, match="wait until it is below 50"):
        hand.arm()
    assert bus.servos[5].get(table.HARDWARE_ERROR)
    bus.servos[5].set_temperature(40)
    hand.arm()
    assert hand.armed and not bus.servos[5].get(table.HARDWARE_ERROR)


def test_a_warm_motor_stops_the_hand_before_it_switches_itself_off(bus, hand):
    armed(hand)
    bus.servos[2].set_temperature(61)
    with pytest.raises(HardwareFaultError, match="61 degrees"):
        hand.read()


def test_a_jumping_encoder_holds_the_last_good_pose(bus, hand):
    armed(hand)
    hand.read()
    bus.servos[3].jump_counts = 900
    error, readings = read_until_fault(hand)
    assert "jumped" in str(error) and readings <= 3
    until(lambda: bus.servos[3].get(table.GOAL_CURRENT) == 100, "the capped current")
    assert abs(bus.servos[3].get(table.GOAL_POSITION) - 2048) <= 2


def test_a_frozen_encoder_stops_the_hand_within_three_readings(bus, hand):
    target = armed(hand)
    bus.servos[1].frozen = True
    target[8] += 0.15
    hand.send(target)
    target[8] += 0.2
    hand.send(target)
    error, readings = read_until_fault(hand, target)
    assert "index forward" in str(error) and "frozen" in str(error)
    assert readings <= 4


def test_a_restarted_servo_is_detected(bus, hand):
    pose = armed(hand)
    bus.servos[7].reboot()
    error, readings = read_until_fault(hand, pose)
    assert "restarted" in str(error) and readings <= 11


def test_a_missing_servo_is_named(bus):
    bus.servos[9].mute = True
    with pytest.raises(HardwareFaultError, match="9: no answer"):
        LeapHand(bus.device, leap_config())


def test_close_holds_and_may_go_limp(bus):
    hand = LeapHand(bus.device, leap_config(torque_off_at_close=True))
    armed(hand)
    hand.close()
    hand.close()
    until(lambda: not bus.servos[0].get(table.TORQUE_ENABLE), "torque off")
    with pytest.raises(HardwareFaultError, match="closed"):
        hand.read()


def test_the_hand_is_chosen_by_its_address(bus):
    with hand_from_text(f"leap:{bus.device}?config={EXAMPLE}") as hand:
        assert hand.name == "leap"


@pytest.mark.parametrize("address", ["", "/dev/null", "?config=x", "/dev/x?baud=3"])
def test_an_incomplete_address_is_rejected(address):
    with pytest.raises(BadInputError, match="config=FILE"):
        hand_from_text(f"leap:{address}")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("direction", [0] * 16, "1 or -1"),
        ("direction", [1] * 15, "16 finite"),
        ("zero_rad", [float("nan")] * 16, "finite"),
        ("zero_rad", [0.0] * 16, "single turn"),
        ("servo_ids", [1] * 16, "distinct"),
        ("current_limit_ma", 5000, "1750"),
        ("hold_current_ma", 400, "300"),
        ("watchdog_ms", 0, "20"),
        ("watchdog_ms", 110, "multiple"),
        ("wrist", [0, 0, 0, 0, 0, 0, 2], "length 1"),
        ("speed", 3, "unknown"),
        ("limits", {}, "limits.joint_names"),
        ("cooled_celsius", 65, "cooled"),
    ],
)
def test_an_invalid_configuration_is_rejected(tmp_path, key, value, words):
    file = tmp_path / "hand.json"
    file.write_text(json.dumps({**json.loads(EXAMPLE.read_text()), key: value}))
    with pytest.raises(BadInputError, match=words):
        hand_from_text(f"leap:/dev/null?config={file}")


def test_a_configuration_without_limits_is_rejected(tmp_path):
    file = tmp_path / "hand.json"
    values = json.loads(EXAMPLE.read_text())
    del values["limits"]
    file.write_text(json.dumps(values))
    with pytest.raises(BadInputError, match="missing: limits"):
        hand_from_text(f"leap:/dev/null?config={file}")
