"""The simulated hand keeps its state layout, its limits and its time under all commands."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pytest

from vpp_edge.clock import FakeClock
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.hands.kinds import hand_from_text, hand_kinds
from vpp_edge.runtime.sim.hand import LIMITS, WATCHDOG_NS, SimHand
from vpp_edge.runtime.sim.scene import BUTTONS_NAMED
from vpp_edge.runtime.sim.task import START, episode_from_seed

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("the simulated hand needs MuJoCo", allow_module_level=True)

TICK_NS = 10_000_000
LAG_S = 2 / 75.0  # of a critically damped joint of this natural frequency behind a ramp
STOP_RAD = 0.03  # MuJoCo's joint stops yield a little under full torque
RECORDED_LOWER = (0.50, 0.54, 0.0, -0.15, *(0.0,) * 8)  # of both recorded XHand episodes
RECORDED_UPPER = (1.35, 0.99, 0.63, 0.0, 0.94, 1.78, 1.19, 1.92, 1.39, 1.92, 1.50, 1.92)


def drive(hand: SimHand, clock: FakeClock, targets: np.ndarray) -> np.ndarray:
    """Commands one target per 10 ms; returns the state just before each, (n, 19)."""
    states = []
    for target in targets:
        states.append(hand.read().vector)
        hand.send(target)
        clock.advance_ns(TICK_NS)
    return np.array(states)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(5_000_000_000)


@pytest.fixture
def hand(clock: FakeClock):
    with SimHand(clock) as hand:
        yield hand


def swings(ticks: int, amplitude: float, hertz: float) -> np.ndarray:
    """(ticks, 19): every joint oscillates around the middle of its range, the wrist moves and turns a little."""
    t = np.arange(ticks)[:, None] * TICK_NS / 1e9
    lower, upper = np.array(LIMITS.joint_lower_rad), np.array(LIMITS.joint_upper_rad)
    targets = np.tile(np.array(START), (ticks, 1))
    swing = np.sin(2 * np.pi * hertz * t + np.arange(12))
    targets[:, 7:] = (lower + upper) / 2 + swing * np.minimum(amplitude, (upper - lower) / 2)
    targets[:, 0] += 0.05 * np.sin(2 * np.pi * hertz * t[:, 0])
    targets[:, 6] = 0.1 * np.sin(2 * np.pi * hertz * t[:, 0])
    return targets


def test_the_joints_are_in_the_order_of_the_xhand(hand: SimHand) -> None:
    fingers = [name.partition("_")[0] for name in hand.limits.joint_names]
    assert fingers == ["thumb"] * 3 + ["index"] * 3 + ["middle"] * 2 + ["ring"] * 2 + ["little"] * 2
    actuators = [hand.world._model.actuator(i).name for i in range(hand.world._model.nu)]
    joints = [hand.world._model.joint(i).name for i in range(hand.world._model.njnt)]
    assert actuators == list(hand.limits.joint_names)
    assert joints == [*actuators, *BUTTONS_NAMED]


def test_the_ranges_contain_the_recordings() -> None:
    assert (np.array(LIMITS.joint_lower_rad) <= RECORDED_LOWER).all()
    assert (np.array(LIMITS.joint_upper_rad) >= RECORDED_UPPER).all()


def test_the_state_has_the_documented_layout(hand: SimHand, clock: FakeClock) -> None:
    state = hand.read()
    assert state.vector.shape == (19,) and state.vector.dtype == np.float64 and state.stamp_ns == clock.now_ns()
    np.testing.assert_allclose(state.vector, START, atol=1e-9)
    assert all(len(pose) == 12 for pose in hand.grip)


@pytest.mark.parametrize("joint", range(12))
def test_each_joint_follows_its_own_target_only(hand: SimHand, clock: FakeClock, joint: int) -> None:
    target = np.array(START)
    target[7 + joint] += 0.2
    drive(hand, clock, np.tile(target, (40, 1)))
    np.testing.assert_allclose(hand.read().vector, target, atol=0.01)


def test_a_sine_is_tracked_with_the_lag_of_the_servo(hand: SimHand, clock: FakeClock) -> None:
    targets = swings(300, 0.4, 0.5)
    states = drive(hand, clock, targets)
    speed = np.pi * 0.4  # the fastest motion of the targets, rad/s
    error = np.abs(states[50:, 7:] - targets[50:, 7:]).max()
    assert error < speed * (LAG_S + 2 * TICK_NS / 1e9), error
    assert np.abs(states[50:, :3] - targets[50:, :3]).max() < 0.01


def test_a_step_settles_without_ringing(hand: SimHand, clock: FakeClock) -> None:
    target = np.array(START)
    target[7:] = np.array(START[7:]) + 0.2
    states = drive(hand, clock, np.tile(target, (60, 1)))
    overshoot = (states[:, 7:] - target[7:]).max()
    assert overshoot < 0.004, overshoot
    assert np.abs(states[30:, 7:] - target[7:]).max() < 0.004


@pytest.mark.parametrize("seed", range(3))
def test_extreme_commands_leave_it_stable_and_within_limits(hand: SimHand, clock: FakeClock, seed: int) -> None:
    random = np.random.default_rng(seed)
    targets = random.normal(0, 3, (300, 19)) * random.choice([0.1, 1, 1e6], (300, 1))
    states = drive(hand, clock, targets)
    assert np.isfinite(states).all()
    joints, wrist = states[:, 7:], states[:, :3]
    assert (joints >= np.array(LIMITS.joint_lower_rad) - STOP_RAD).all()
    assert (joints <= np.array(LIMITS.joint_upper_rad) + STOP_RAD).all()
    assert (wrist >= LIMITS.wrist_lower_m).all() and (wrist <= LIMITS.wrist_upper_m).all()
    steps = np.linalg.norm(np.diff(wrist, axis=0), axis=1)
    assert steps.max() <= LIMITS.wrist_speed_m_s * TICK_NS / 1e9 + 1e-9
    np.testing.assert_allclose(np.linalg.norm(states[:, 3:7], axis=1), 1, atol=1e-9)
    drive(hand, clock, np.tile(np.array(START), (600, 1)))
    np.testing.assert_allclose(hand.read().vector[7:], START[7:], atol=0.01)


def test_fingers_pressed_on_the_table_stay_above_it_and_recover(hand: SimHand, clock: FakeClock) -> None:
    target = np.array(START)
    target[2] = LIMITS.wrist_lower_m[2]
    states = drive(hand, clock, np.tile(target, (300, 1)))
    # Fingers pressed against the plate may vibrate, at a tenth of their maximum speed.
    assert np.isfinite(states).all() and np.abs(np.diff(states[-50:], axis=0)).max() < 0.02
    drive(hand, clock, np.tile(np.array(START), (300, 1)))
    np.testing.assert_allclose(hand.read().vector, START, atol=0.01)


def test_the_same_commands_at_the_same_times_give_the_same_states() -> None:
    runs = []
    for _ in range(2):
        clock = FakeClock()
        with SimHand(clock) as hand:
            runs.append(drive(hand, clock, swings(100, 0.6, 1.0)))
    np.testing.assert_array_equal(runs[0], runs[1])


def test_without_commands_it_holds_and_counts_this_once(hand: SimHand, clock: FakeClock) -> None:
    far = np.array(START)
    far[0] += 0.3
    hand.send(far)
    clock.advance_ns(WATCHDOG_NS - TICK_NS)
    assert hand.watchdog_holds == 0
    clock.advance_ns(5 * TICK_NS)
    at_hold = hand.read().vector
    clock.advance_ns(5_000_000_000)
    np.testing.assert_allclose(hand.read().vector, at_hold, atol=2e-3)
    assert hand.watchdog_holds == 1
    assert at_hold[0] - START[0] < LIMITS.wrist_speed_m_s * 0.11
    drive(hand, clock, np.tile(far, (100, 1)))
    np.testing.assert_allclose(hand.read().vector, far, atol=0.01)
    assert hand.watchdog_holds == 1


def test_before_the_first_command_it_stays(hand: SimHand, clock: FakeClock) -> None:
    clock.advance_ns(10_000_000_000)
    np.testing.assert_allclose(hand.read().vector, START, atol=1e-6)
    assert hand.watchdog_holds == 0


def test_a_long_pause_costs_no_more_than_a_quarter_second_of_steps(hand: SimHand, clock: FakeClock) -> None:
    hand.send(np.array(START))
    before = hand.world._data.time
    clock.advance_ns(3600 * 1_000_000_000)
    state = hand.read()
    assert hand.world._data.time - before <= 0.2501
    assert hand.skipped_ns == 3600 * 1_000_000_000 - 250_000_000
    assert state.stamp_ns == clock.now_ns()
    clock.advance_ns(TICK_NS)
    hand.read()
    assert hand.world._data.time - before == pytest.approx(0.26)


def test_hold_stops_in_place(hand: SimHand, clock: FakeClock) -> None:
    drive(hand, clock, swings(30, 0.6, 1.0))
    held = hand.read().vector
    hand.hold()
    clock.advance_ns(200_000_000)
    np.testing.assert_allclose(hand.read().vector[:7], held[:7], atol=1e-12)
    np.testing.assert_allclose(hand.read().vector[7:], held[7:], atol=0.06)  # braking from up to 4 rad/s
    assert hand.watchdog_holds == 0


@pytest.mark.parametrize("bad", [np.zeros(18), np.full(19, np.nan), np.zeros(19)])
def test_an_invalid_command_is_rejected(hand: SimHand, clock: FakeClock, bad: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="19"):
        hand.send(bad)
    clock.advance_ns(TICK_NS)
    np.testing.assert_allclose(hand.read().vector, START, atol=1e-6)


def test_a_closed_hand_is_reported_and_close_may_be_called_twice(hand: SimHand) -> None:
    hand.close()
    hand.close()
    hand.hold()
    for call in (hand.read, lambda: hand.send(np.array(START))):
        with pytest.raises(HardwareFaultError, match="closed"):
            call()


def test_a_tick_is_cheap() -> None:
    """Half a period of 10 ms would already disturb the loop; a thirtieth is typical."""
    clock = FakeClock()
    with SimHand(clock) as hand:
        took = []
        for target in swings(200, 0.4, 0.5):
            begin = time.thread_time()
            hand.read()
            hand.send(target)
            took.append(time.thread_time() - begin)
            clock.advance_ns(TICK_NS)
    assert np.median(took) < 0.002, f"median tick of {np.median(took) * 1e3:.2f} ms"


def test_hands_are_found_by_name() -> None:
    assert "sim" in hand_kinds()
    with hand_from_text("sim") as hand:
        assert isinstance(hand, SimHand)
    with pytest.raises(BadInputError, match=r"unknown hand 'gripper'.*sim"):
        hand_from_text("gripper")
    with hand_from_text("sim:7") as hand:
        np.testing.assert_array_equal(hand.read().vector, SimHand(FakeClock(), episode_from_seed(7)).read().vector)
    with pytest.raises(BadInputError, match="is a seed"):
        hand_from_text("sim:/dev/ttyUSB0")
