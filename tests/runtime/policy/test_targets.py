"""Actions and states in physical units, against the formulas of the released code written out element by element."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from rotation_angle import rotation_angle_rad

from vpp_edge.checkpoint.policy_spec import CALVIN_METRES, CALVIN_RADIANS, segments_from_variant
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.policy.targets import actions_from_targets, state_from_hand, targets_from_actions
from vpp_edge.spec.normalization import normalized_from_actions, normalized_from_state, physical_from_actions
from vpp_edge.spec.policy import ActionSpec, Bounds, CameraSpec, PolicySpec, StateSpec
from vpp_edge.spec.rotation import quaternion_from_rpy, quaternion_product, unit_quaternion

HORIZON = 5
SIZES = {"calvin": (7, None), "xhand": (18, 19), "xbot": (38, 38)}


def random(shape: int | tuple[int, ...], low: float = -1, high: float = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape)


def bounds(dims: int, seed: int) -> Bounds:
    lower = random(dims, -2, -0.5, seed)
    return Bounds(tuple(lower), tuple(lower + random(dims, 0.5, 3, seed + 1)))


def spec(variant: str, quaternion_order: str = "xyzw") -> PolicySpec:
    dims, state_dims = SIZES[variant]
    state = None
    if state_dims is not None:
        quaternions = (3,) if variant == "xhand" else ()
        state = StateSpec(state_dims, bounds(state_dims, 7), quaternions, quaternion_order)
    action = ActionSpec(
        dims, HORIZON, 100_000_000, bounds(dims, 9) if state else None, segments_from_variant(variant, dims)
    )
    cameras = (CameraSpec("static", 64, 64),)
    return PolicySpec(variant, cameras, 16, (4, 8, 8), (32, 32), (20, 77), 1, action, state, (80.0, 0.0))


def hand(joints: int = 12, seed: int = 3) -> np.ndarray:
    return np.concatenate([random(3, seed=seed), unit_quaternion(random(4, seed=seed + 1)), random(joints, seed=seed)])


def undone(value: float, low: float, high: float) -> float:
    """Training maps low..high to -1..1; this is the way back."""
    return low + (value + 1) * (high - low) / 2


class TestState:
    def test_is_normalized_by_its_bounds_and_clipped(self) -> None:
        policy = spec("xbot")
        assert policy.state is not None and policy.state.bounds is not None
        low, high = np.array(policy.state.bounds.lower), np.array(policy.state.bounds.upper)
        np.testing.assert_allclose(normalized_from_state(policy, low), -1, atol=1e-6)
        np.testing.assert_allclose(normalized_from_state(policy, high), 1, atol=1e-6)
        np.testing.assert_allclose(normalized_from_state(policy, (low + high) / 2), 0, atol=1e-6)
        np.testing.assert_array_equal(normalized_from_state(policy, high + 10), 1)
        assert normalized_from_state(policy, low).dtype == np.float32

    @pytest.mark.parametrize("noise", [0, 1e-9, -1e-8, 1e-3])
    def test_noise_on_a_constant_dimension_changes_nothing(self, noise: float) -> None:
        """In training it was -1; the released formula turns a difference of 1e-8 into 1."""
        policy = spec("xbot")
        assert policy.state is not None and policy.state.bounds is not None
        low = np.array(policy.state.bounds.lower)
        upper = (low[0], *policy.state.bounds.upper[1:])
        still = replace(policy, state=replace(policy.state, bounds=Bounds(tuple(low), upper)))
        assert normalized_from_state(still, low + noise * np.eye(len(low))[0])[0] == -1

    @pytest.mark.parametrize("first", [0.4, -0.4])
    def test_an_xhand_quaternion_is_turned_to_its_positive_half(self, first: float) -> None:
        policy = spec("xhand")
        state = random(19)
        state[3] = first
        flipped = state.copy()
        flipped[3:7] *= -1
        np.testing.assert_array_equal(normalized_from_state(policy, state), normalized_from_state(policy, flipped))

    def test_an_xbot_quaternion_is_left_alone(self) -> None:
        policy = spec("xbot")
        state = random(38)
        flipped = state.copy()
        flipped[3:7] *= -1
        assert (normalized_from_state(policy, state) != normalized_from_state(policy, flipped)).any()

    def test_the_caller_s_state_is_not_changed(self) -> None:
        state = -np.abs(random(19))
        before = state.copy()
        normalized_from_state(spec("xhand"), state)
        np.testing.assert_array_equal(state, before)

    @pytest.mark.parametrize("wrong", [np.zeros(18), np.zeros((1, 19)), np.full(19, np.nan), np.full(19, np.inf)])
    def test_a_wrong_one_is_refused(self, wrong: np.ndarray) -> None:
        with pytest.raises(BadInputError, match="state"):
            normalized_from_state(spec("xhand"), wrong)

    def test_a_policy_without_one_says_so(self) -> None:
        with pytest.raises(BadInputError, match="takes no proprioception"):
            normalized_from_state(spec("calvin"), np.zeros(19))
        assert state_from_hand(spec("calvin"), hand()) is None

    @pytest.mark.parametrize(("order", "stored"), [("xyzw", [0, 1, 2, 3]), ("wxyz", [3, 0, 1, 2])])
    def test_is_made_from_a_hand_in_the_stored_order(self, order: str, stored: list[int]) -> None:
        vector = hand()
        state = state_from_hand(spec("xhand", order), vector)
        assert state is not None
        np.testing.assert_array_equal(state[:3], vector[:3])
        np.testing.assert_array_equal(state[3:7], vector[3:7][stored])
        np.testing.assert_array_equal(state[7:], vector[7:])

    @pytest.mark.parametrize("arm", [0, 1])
    def test_of_two_arms_holds_the_other_at_the_middle_of_its_bounds(self, arm: int) -> None:
        policy, vector = spec("xbot"), hand()
        state = state_from_hand(policy, vector, arm)
        assert state is not None
        ours = slice(19 * arm, 19 * arm + 19)
        other = slice(19 * (1 - arm), 19 * (1 - arm) + 19)
        np.testing.assert_array_equal(state[ours], vector)
        np.testing.assert_allclose(normalized_from_state(policy, state)[other], 0, atol=1e-6)

    def test_a_hand_with_other_joints_is_refused(self) -> None:
        with pytest.raises(BadInputError, match="holds 12 joints per arm, the hand has 16"):
            state_from_hand(spec("xhand"), hand(16))


class TestActions:
    def test_calvin_is_raw(self) -> None:
        actions = random((HORIZON, 7))
        np.testing.assert_array_equal(physical_from_actions(spec("calvin"), actions), actions)

    def test_xhand_is_undone_by_its_bounds(self) -> None:
        policy, actions = spec("xhand"), random((HORIZON, 18), -1.5, 1.5)
        limits = policy.action.bounds
        assert limits is not None
        physical = physical_from_actions(policy, actions)
        for t in range(HORIZON):
            for i in range(18):
                assert physical[t, i] == pytest.approx(undone(actions[t, i], limits.lower[i], limits.upper[i]))

    def test_xbot_is_added_to_the_state(self) -> None:
        policy, actions, state = spec("xbot"), random((HORIZON, 38)), random(38, seed=5)
        limits = policy.action.bounds
        assert limits is not None
        physical = physical_from_actions(policy, actions, state)
        for t in range(HORIZON):
            for i in range(38):
                expected = state[i] + undone(actions[t, i], limits.lower[i], limits.upper[i])
                assert physical[t, i] == pytest.approx(expected)

    def test_xbot_needs_the_state(self) -> None:
        with pytest.raises(BadInputError, match="are offsets: pass the state"):
            physical_from_actions(spec("xbot"), np.zeros((HORIZON, 38)))

    @pytest.mark.parametrize("wrong", [np.zeros((4, 18)), np.zeros((1, HORIZON, 18)), np.full((HORIZON, 18), np.nan)])
    def test_wrong_ones_are_refused(self, wrong: np.ndarray) -> None:
        with pytest.raises(BadInputError, match="actions"):
            physical_from_actions(spec("xhand"), wrong)


class TestTargets:
    def test_xhand_moves_from_where_the_chunk_was_seen(self) -> None:
        policy, vector = spec("xhand"), hand()
        actions = random((HORIZON, 18), -0.5, 0.5)
        targets = targets_from_actions(policy, actions, vector)
        for t in range(HORIZON):
            np.testing.assert_allclose(targets[t, :3], vector[:3] + actions[t, :3])
            turned = quaternion_product(vector[3:7], quaternion_from_rpy(actions[t, 3:6]))  # in the wrist's frame
            assert rotation_angle_rad(targets[t, 3:7], turned) == pytest.approx(0, abs=1e-6)
            np.testing.assert_array_equal(targets[t, 7:], actions[t, 6:])

    @pytest.mark.parametrize("arm", [0, 1])
    @pytest.mark.parametrize(("order", "xyzw"), [("xyzw", [0, 1, 2, 3]), ("wxyz", [1, 2, 3, 0])])
    def test_xbot_is_absolute_for_each_arm(self, arm: int, order: str, xyzw: list[int]) -> None:
        actions = random((HORIZON, 38))
        targets = targets_from_actions(spec("xbot", order), actions, hand(), arm)
        ours = actions[:, 19 * arm : 19 * arm + 19]
        np.testing.assert_array_equal(targets[:, :3], ours[:, :3])
        stored = ours[:, 3:7] / np.linalg.norm(ours[:, 3:7], axis=1, keepdims=True)
        np.testing.assert_allclose(targets[:, 3:7], stored[:, xyzw])
        np.testing.assert_array_equal(targets[:, 7:], ours[:, 7:])

    def test_calvin_s_steps_follow_one_another(self) -> None:
        """calvin_env: position and Euler angles of the last target, plus the action times 0.02 m and 0.05 rad."""
        actions, vector = np.zeros((HORIZON, 7)), hand()
        actions[:, 0], actions[:, 5], actions[:, 6] = 0.5, 1.0, [1, 0, -1, -3, 3]
        opened, closed = np.zeros(12), np.ones(12)
        targets = targets_from_actions(spec("calvin"), actions, vector, grip=(opened, closed))
        for t in range(HORIZON):
            assert targets[t, 0] == pytest.approx(vector[0] + 0.5 * CALVIN_METRES * (t + 1))
            yaw = quaternion_from_rpy(np.array([0, 0, CALVIN_RADIANS * (t + 1)]))  # about the fixed axis
            expected = quaternion_product(yaw, vector[3:7])
            assert rotation_angle_rad(targets[t, 3:7], expected) == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(targets[:, 7], [0, 0.5, 1, 1, 0])

    def test_quarter_turn_about_the_wrist_s_own_axis(self) -> None:
        """A wrist that looks along y and rolls by 90 degrees: its x axis is the base frame's y axis."""
        vector = hand()
        vector[3:7] = quaternion_from_rpy(np.array([0, 0, math.pi / 2]))
        actions = np.zeros((HORIZON, 18))
        actions[:, 3] = math.pi / 2
        targets = targets_from_actions(spec("xhand"), actions, vector)
        half = math.sqrt(0.5)
        about_base_y = np.array([0, half, 0, half])
        expected = quaternion_product(about_base_y, vector[3:7])
        assert rotation_angle_rad(targets[0, 3:7], expected) == pytest.approx(0, abs=1e-6)

    def test_zero_actions_stay(self) -> None:
        vector, actions = hand(), np.zeros((HORIZON, 18))
        actions[:, 6:] = vector[7:]
        np.testing.assert_allclose(targets_from_actions(spec("xhand"), actions, vector), np.tile(vector, (HORIZON, 1)))

    def test_what_cannot_be_driven_is_said(self) -> None:
        with pytest.raises(BadInputError, match="no arm 1; it drives 1"):
            targets_from_actions(spec("xhand"), np.zeros((HORIZON, 18)), hand(), arm=1)
        with pytest.raises(BadInputError, match="drives 12 joints, the hand has 16"):
            targets_from_actions(spec("xhand"), np.zeros((HORIZON, 18)), hand(16))
        with pytest.raises(BadInputError, match="open and closed pose"):
            targets_from_actions(spec("calvin"), np.zeros((HORIZON, 7)), hand())
        calvin = spec("calvin")
        raw = replace(calvin, action=replace(calvin.action, segments=segments_from_variant("xbot", 7)))
        with pytest.raises(BadInputError, match="no known meaning"):
            targets_from_actions(raw, np.zeros((HORIZON, 7)), hand())


class TestWayBack:
    """From targets to the actions that lead there: what one chunk wants, in the next one's numbers."""

    @pytest.mark.parametrize(("variant", "arm"), [("calvin", 0), ("xhand", 0), ("xbot", 0), ("xbot", 1)])
    @pytest.mark.parametrize("order", ["xyzw", "wxyz"])
    def test_leads_to_the_same_targets_from_another_state(self, variant: str, arm: int, order: str) -> None:
        policy, grip = spec(variant, order), (np.zeros(12), np.full(12, 1.2))
        before, now = hand(seed=3), hand(seed=11)
        actions = normalized_and_reachable(policy)
        state_before, state_now = (state_from_hand(policy, h, arm) for h in (before, now))
        physical = physical_from_actions(policy, actions, state_before)
        targets = targets_from_actions(policy, physical, before, arm, grip)
        kept = physical_from_actions(policy, actions, state_now)
        found = actions_from_targets(policy, targets, kept, now, arm, grip)
        normalized = normalized_from_actions(policy, found, state_now)
        again = targets_from_actions(policy, physical_from_actions(policy, normalized, state_now), now, arm, grip)
        np.testing.assert_allclose(again[:, :3], targets[:, :3], atol=1e-9)
        np.testing.assert_allclose(again[:, 7:], targets[:, 7:], atol=1e-9)
        assert rotation_angle_rad(again[:, 3:7], targets[:, 3:7]).max() < 1e-6

    def test_keeps_the_numbers_of_the_arm_that_is_not_here(self) -> None:
        policy = spec("xbot")
        actions = random(policy.chunk_shape, seed=5)
        found = actions_from_targets(policy, np.tile(hand(), (HORIZON, 1)), actions, hand(), arm=0)
        np.testing.assert_array_equal(found[:, 19:], actions[:, 19:])
        assert not np.allclose(found[:, :19], actions[:, :19])

    def test_normalizing_undoes_the_denormalization(self) -> None:
        for variant in SIZES:
            policy = spec(variant)
            state = None if policy.state is None else random(policy.state.dims, seed=2)
            actions = random(policy.chunk_shape, seed=6)
            physical = physical_from_actions(policy, actions, state)
            np.testing.assert_allclose(normalized_from_actions(policy, physical, state), actions, atol=1e-12)

    def test_an_action_that_never_moved_in_training_is_zero(self) -> None:
        policy = spec("xhand")
        assert policy.action.bounds is not None
        upper = (policy.action.bounds.lower[0], *policy.action.bounds.upper[1:])
        still = replace(policy, action=replace(policy.action, bounds=Bounds(policy.action.bounds.lower, upper)))
        assert (normalized_from_actions(still, random(policy.chunk_shape))[:, 0] == 0).all()


def normalized_and_reachable(policy: PolicySpec) -> np.ndarray:
    """Actions whose rotations stay clear of the poles of roll, pitch and yaw."""
    return 0.2 * random(policy.chunk_shape, seed=4)
