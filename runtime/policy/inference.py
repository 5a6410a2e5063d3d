"""One inference: images, the hand's pose and a noise seed in; targets for the hand out.

The only definition of it, for the policy process of a live run and for episodes in simulated time. Its two halves are
separate, so that a policy can act several times on one look.
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
class Look:
    """What a policy has made of one set of images.

    Attributes:
        tokens: (1, L, D), output of stage `perceive`.
        action_noise: (1, T, A) of all acts on it: with new noise, a second act could decide for something else.
        stages_ns: wall time per stage.
    """

    tokens: np.ndarray
    action_noise: np.ndarray
    stages_ns: dict[str, int]


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


def look_at(policy: Policy, images: Sequence[np.ndarray], noise: tuple[int, ...]) -> Look:
    """The first half of an inference of a policy that has its instruction.

    Args:
        images: one per view, uint8 RGB of any size, static camera first.
        noise: seed of the noise of this look and its acts; the same numbers give the same targets.
    """
    started_ns = time.monotonic_ns()
    frames = policy.prepare(images)
    video_noise, action_noise = draw_noise(policy.spec, np.random.default_rng(noise))
    prepared_ns = time.monotonic_ns()
    tokens = policy.perceive(frames, video_noise=video_noise)
    stages_ns = {"prepare": prepared_ns - started_ns, "perceive": time.monotonic_ns() - prepared_ns}
    return Look(tokens, action_noise, stages_ns)


def targets_from_look(
    policy: Policy,
    look: Look,
    hand: np.ndarray,
    *,
    arm: int = 0,
    grip: Grip | None = None,
    previous: PreviousChunk | None = None,
) -> InferredTargets:
    """The second half; `stages_ns` has its own stages only.

    Args:
        look: what the policy saw; used again, it gives the next act.
        hand: (7 + J,) measured pose that the chunk starts from.
        arm: which arm of a two-armed policy the hand is.
        grip: joint angles of the open and the closed hand, (J,) each, for policies that command a gripper width.
        previous: the chunk that this one should continue; None: it stands alone.
    """
    spec = policy.spec
    started_ns = time.monotonic_ns()
    state = state_from_hand(spec, hand, arm)
    proprio = None if state is None else policy.normalize_state(state)
    prefix, weight = None, None
    if previous is not None:
        prefix, weight = prefix_from_previous(policy, previous, hand, state, arm=arm, grip=grip)
    actions = policy.act(look.tokens, proprio, action_noise=look.action_noise, prefix=prefix, prefix_weight=weight)
    acted_ns = time.monotonic_ns()
    if np.isfinite(actions).all():
        physical = policy.denormalize(actions[0], state)
        targets = targets_from_actions(spec, physical, hand, arm=arm, grip=grip)
    else:  # passed on as NaN: the control loop rejects and counts it
        targets = np.full((spec.action.horizon, len(hand)), np.nan)
    stages_ns = {"act": acted_ns - started_ns, "targets": time.monotonic_ns() - acted_ns}
    return InferredTargets(targets, stages_ns, actions[0])
