"""What a policy makes of one observation: in, images, the hand and numbers for the noise; out, where to go.

The one definition of it, for the policy process of a live run and for episodes in simulated time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.runtime.policy.rtc_prefix import Guide, prefix_from_guide
from vpp_edge.runtime.policy.targets import Grip, state_from_hand, targets_from_actions
from vpp_edge.spec.sample import draw_noise


@dataclass(frozen=True)
class Thought:
    """What one inference came to.

    Attributes:
        targets: (T, 7 + J) in the layout of HandState.vector; NaN where the policy gave NaN or Inf.
        stages_ns: wall time by stage, in the order in which they ran.
        actions: (T, A) float32, normalized, that the targets were made from.
    """

    targets: np.ndarray
    stages_ns: dict[str, int]
    actions: np.ndarray


def think(
    policy: Any,
    images: Sequence[np.ndarray],
    hand: np.ndarray,
    noise: tuple[int, ...],
    arm: int = 0,
    grip: Grip | None = None,
    guide: Guide | None = None,
) -> Thought:
    """One inference of a policy with the face of EdgePolicy, which has its instruction.

    Args:
        images: one per view, uint8 RGB of any size, static camera first.
        hand: (7 + J,) measured when they were taken.
        noise: seed of the noise; the same numbers give the same targets.
        arm: which arm of a two-armed policy the hand is.
        grip: joint angles of the open and the closed hand, (J,) each, for policies that give a gripper width.
        guide: what the chunk should continue; None: nothing.
    """
    spec = policy.spec
    started_ns = time.monotonic_ns()
    frames = policy.prepare(images)
    state = state_from_hand(spec, hand, arm)
    proprio = None if state is None else policy.normalize_state(state)
    video_noise, action_noise = draw_noise(spec, np.random.default_rng(noise))
    prefix, weight = (None, None) if guide is None else prefix_from_guide(policy, guide, hand, state, arm, grip)
    prepared_ns = time.monotonic_ns()
    out = policy.infer(
        frames, proprio, video_noise=video_noise, action_noise=action_noise, prefix=prefix, prefix_weight=weight
    )
    inferred_ns = time.monotonic_ns()
    if np.isfinite(out.actions).all():
        targets = targets_from_actions(spec, policy.denormalize(out.actions[0], state), hand, arm, grip)
    else:  # handed on as it is: the control loop rejects it and counts
        targets = np.full((spec.action.horizon, len(hand)), np.nan)
    targets_ns = time.monotonic_ns() - inferred_ns
    stages_ns = {"prepare": prepared_ns - started_ns, **out.timings_ns, "targets": targets_ns}
    return Thought(targets, stages_ns, out.actions[0])
