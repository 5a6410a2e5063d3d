"""One inference: reproducible by the numbers of its noise, anchored at the hand, NaN where the policy gave NaN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpp_edge.runtime.interfaces import Policy
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.runtime.policy.inference import InferredTargets, look_at, targets_from_look
from vpp_edge.runtime.policy.scripted import ScriptedPolicy
from vpp_edge.runtime.sim.task import START

HAND = np.array(START)
IMAGES = [np.full((48, 64, 3), level, np.uint8) for level in (40, 200)]


def inferred(policy: Policy, hand: np.ndarray, noise: tuple[int, ...]) -> InferredTargets:
    return targets_from_look(policy, look_at(policy, IMAGES, noise), hand)


@pytest.fixture
def policy(small_bundle: Path) -> EdgePolicy:
    policy = EdgePolicy.load(small_bundle, threads=1)
    policy.instruct("press the red button")
    return policy


def test_the_same_numbers_give_the_same_targets(policy: EdgePolicy) -> None:
    first, again, other = (inferred(policy, HAND, noise).targets for noise in ((1, 2), (1, 2), (1, 3)))
    assert first.shape == (policy.spec.action.horizon, len(HAND))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_every_stage_is_timed_in_its_order(policy: EdgePolicy) -> None:
    look = look_at(policy, IMAGES, (0,))
    stages_ns = {**look.stages_ns, **targets_from_look(policy, look, HAND).stages_ns}
    assert list(stages_ns) == ["prepare", "perceive", "act", "targets"]
    assert all(duration_ns > 0 for duration_ns in stages_ns.values())


def test_an_act_depends_on_its_look_and_the_hand_only(policy: EdgePolicy) -> None:
    look, there = look_at(policy, IMAGES, (1, 2)), HAND + 0.02
    first, moved, again = (targets_from_look(policy, look, hand).targets for hand in (HAND, there, HAND))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[:, 7:] - moved[:, 7:]).max() > 1e-5


def test_wrist_targets_are_relative_to_the_hand_and_joints_are_not(policy: EdgePolicy) -> None:
    """Seen at the edge of its bounds or beyond, the state is the same to the policy; only the anchor moves."""
    there = HAND.copy()
    there[0] += 100.0
    further = there.copy()
    further[0] += 0.5
    found, moved = (inferred(policy, hand, (0,)).targets for hand in (there, further))
    np.testing.assert_allclose(moved[:, 0] - found[:, 0], 0.5)
    np.testing.assert_array_equal(moved[:, 1:], found[:, 1:])


def test_what_is_no_number_is_handed_on_as_none() -> None:
    policy = ScriptedPolicy({"nan_every": 2, "latency_ms": 0})
    assert np.isfinite(inferred(policy, HAND, (0,)).targets).all()
    thought = inferred(policy, HAND, (0,))
    assert thought.targets.shape == (8, 19) and np.isnan(thought.targets).all()
