"""The prefix of real-time chunking says in the next chunk's numbers what the present chunk does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.runtime.policy.inference import look_at, targets_from_look
from vpp_edge.runtime.policy.rtc_prefix import PreviousChunk, prefix_from_previous
from vpp_edge.runtime.policy.scripted import ScriptedPolicy
from vpp_edge.runtime.policy.targets import state_from_hand, targets_from_actions
from vpp_edge.runtime.sim.smoothness import seam_jumps
from vpp_edge.spec.prefix import prefix_weights

MS = 1_000_000
PERIOD_NS = 100 * MS
HORIZON = 8
RANDOM = np.random.default_rng(0)
HAND = np.concatenate([[0.1, 0.2, 0.3, 0, 0, 0, 1], np.full(12, 0.2)])


def policy() -> ScriptedPolicy:
    return ScriptedPolicy({"latency_ms": 0})


def plan_of(actions: np.ndarray, observed_ns: int = 0) -> Chunk:
    return Chunk(targets_from_actions(policy().spec, actions, HAND), HAND, observed_ns)


def moved(hand: np.ndarray, by_m: float) -> np.ndarray:
    return np.concatenate([[hand[0] + by_m], hand[1:]])


@given(st.integers(1, 12), st.integers(0, 14), st.integers(0, 12))
def test_weights_are_one_then_fall_to_nothing(horizon: int, frozen: int, covered: int) -> None:
    covered = min(covered, horizon)
    weights = prefix_weights(horizon, frozen, covered)
    assert weights.shape == (horizon,) and weights.dtype == np.float32
    assert (weights[: min(frozen, covered)] == 1).all()
    assert (weights[covered:] == 0).all()
    assert (np.diff(weights) <= 0).all()
    assert (weights[min(frozen, covered) :] < 1).all()


def test_weights_fall_as_in_the_paper() -> None:
    # H = 8, d = 2, s = 3: c_i = (5 - i) / 4, W_i = c_i (e^c_i - 1) / (e - 1)
    expected = [1, 1, *(c * (np.exp(c) - 1) / (np.e - 1) for c in (0.75, 0.5, 0.25)), 0, 0, 0]
    np.testing.assert_allclose(prefix_weights(8, 2, 5), expected, rtol=1e-6)


def test_what_counts_from_the_state_is_counted_anew() -> None:
    actions = 0.01 * RANDOM.standard_normal((HORIZON, 18))
    previous = PreviousChunk(plan_of(actions), actions, 3 * PERIOD_NS, 0)
    there = moved(HAND, 0.02)
    prefix, weight = prefix_from_previous(policy(), previous, there, state_from_hand(policy().spec, there))
    targets = targets_from_actions(policy().spec, prefix[0].astype(np.float64), there)
    known = HORIZON - 3
    np.testing.assert_allclose(targets[:known], previous.chunk.targets[3:], atol=1e-6)
    assert weight[0, 0] == 1 and (weight[0, known:] == 0).all() and (weight[0, :known] > 0).all()


@pytest.mark.parametrize(("delay_ms", "frozen"), [(0, 1), (90, 1), (100, 2), (250, 3)])
def test_freezes_what_has_passed_and_where_the_hand_is_going(delay_ms: int, frozen: int) -> None:
    actions = np.zeros((HORIZON, 18))
    previous = PreviousChunk(plan_of(actions), actions, 0, delay_ms * MS)
    _, weight = prefix_from_previous(policy(), previous, HAND, state_from_hand(policy().spec, HAND))
    assert (weight[0] == 1).sum() == frozen


def test_a_plan_that_is_nearly_over_pulls_no_longer_than_it_lasts() -> None:
    actions = np.zeros((HORIZON, 18))
    previous = PreviousChunk(plan_of(actions), actions, 7 * PERIOD_NS + 1, 500 * MS)
    _, weight = prefix_from_previous(policy(), previous, HAND, state_from_hand(policy().spec, HAND))
    assert not weight.any()


@given(st.integers(0, 5 * PERIOD_NS), st.integers(0, 2 * PERIOD_NS))
def test_a_chunk_with_a_prefix_takes_over_without_a_jump(observed_ns: int, delay_ns: int) -> None:
    actions = 0.02 * RANDOM.standard_normal((HORIZON, 18))
    plan, there = plan_of(actions), moved(HAND, 0.01)
    images = [np.zeros((64, 64, 3), np.uint8)] * 2
    jumps = []
    for previous in (None, PreviousChunk(plan, actions, observed_ns, delay_ns)):
        inferred = targets_from_look(policy(), look_at(policy(), images, (0,)), there, previous=previous)
        chunk = Chunk(inferred.targets, there, observed_ns)
        jumps.append(seam_jumps([(plan, 0), (chunk, observed_ns + delay_ns)], PERIOD_NS)[0])
    assert jumps[1].max() < 1e-6 < jumps[0][2]
