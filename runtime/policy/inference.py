"""One inference: images, the hand's pose and a noise seed in; targets for the hand out.

The only definition of it, for the policy process of a live run and for episodes in simulated time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.interfaces import Grip, Policy
from vpp_edge.runtime.policy.rtc_prefix import PreviousChunk, prefix_from_previous
from vpp_edge.runtime.policy.targets import state_from_hand, targets_from_actions
from vpp_edge.spec.sample import draw_noise


@dataclass(frozen=True)
class InferredTargets:
    """The result of one inference.

    Attributes:
        targets: (T, 7 + J) poses; NaN where the policy gave NaN or Inf.
        stages_ns: wall time per stage, in the order in which they ran.
        actions: (T, A) float32, normalized, that the targets were made from.
    """

    targets: np.ndarray
    stages_ns: dict[str, int]
    actions: np.ndarray


def infer_targets(
    policy: Policy,
    images: Sequence[np.ndarray],
    hand: np.ndarray,
    noise: tuple[int, ...],
    *,
    arm: int = 0,
    grip: Grip | None = None,
    previous: PreviousChunk | None = None,
) -> InferredTargets:
    """One inference of a policy that has its instruction.

    Args:
        images: one per view, uint8 RGB of any size, static camera first.
        hand: (7 + J,) pose measured when they were taken.
        noise: seed of the noise; the same numbers give the same targets.
        arm: which arm of a two-armed policy the hand is.
        grip: joint angles of the open and the closed hand, (J,) each, for policies that command a gripper width.
        previous: the chunk that this one should continue; None: it stands alone.
    """
    spec = policy.spec
    started_ns = time.monotonic_ns()
    frames = policy.prepare(images)
    state = state_from_hand(spec, hand, arm)
    proprio = None if state is None else policy.normalize_state(state)
    video_noise, action_noise = draw_noise(spec, np.random.default_rng(noise))
    prefix, weight = None, None
    if previous is not None:
        prefix, weight = prefix_from_previous(policy, previous, hand, state, arm=arm, grip=grip)
    prepared_ns = time.monotonic_ns()
    out = policy.infer(
        frames, proprio, video_noise=video_noise, action_noise=action_noise, prefix=prefix, prefix_weight=weight
    )
    inferred_ns = time.monotonic_ns()
    if np.isfinite(out.actions).all():
        physical = policy.denormalize(out.actions[0], state)
        targets = targets_from_actions(spec, physical, hand, arm=arm, grip=grip)
    else:  # passed on as NaN: the control loop rejects and counts it
        targets = np.full((spec.action.horizon, len(hand)), np.nan)
    targets_ns = time.monotonic_ns() - inferred_ns
    stages_ns = {"prepare": prepared_ns - started_ns, **out.timings_ns, "targets": targets_ns}
    return InferredTargets(targets, stages_ns, out.actions[0])
