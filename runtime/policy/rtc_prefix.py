"""Real-time chunking's prefix: in, the chunk being executed and how late the next one will be; out, where to pull it.

The next chunk is sampled while the present one is executed. Actions that will have passed before it arrives, and the
one that the hand is then on its way to, are as good as done: the sampler is given them. Later ones pull less and less,
up to the end of the present chunk. The head estimates clean actions, so pulling is a weighted mean with its estimate in
every step, without a gradient.

Source: arXiv 2506.07339 (real-time chunking), equation 5 for the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.runtime.control.chunk_player import Chunk, pose_at
from vpp_edge.runtime.policy.targets import Grip, actions_from_targets


@dataclass(frozen=True)
class Guide:
    """What is being executed while a policy thinks.

    Attributes:
        plan: the chunk, with the time at which it really began.
        actions: (T, A) normalized, that its targets were made from.
        observed_ns: time of the observation that the next chunk is made from.
        delay_ns: upper bound of the time from there to the moment at which the hand follows the next chunk.
    """

    plan: Chunk
    actions: np.ndarray
    observed_ns: int
    delay_ns: int


def prefix_weights(horizon: int, frozen: int, covered: int) -> np.ndarray:
    """(T,) float32: 1 for the first `frozen` actions, falling to 0 at `covered`, how many the present chunk knows."""
    steps = np.arange(horizon)
    share = np.clip((covered - steps) / (covered - frozen + 1), 0, 1) if covered > frozen else np.zeros(horizon)
    falling = share * np.expm1(share) / math.expm1(1)
    return np.where(steps < min(frozen, covered), 1.0, falling).astype(np.float32)


def prefix_from_guide(
    policy: Any, guide: Guide, hand: np.ndarray, state: np.ndarray | None, arm: int = 0, grip: Grip | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(1, T, A) and (1, T) float32, the `prefix` and `prefix_weight` of stage `act`.

    The present chunk is read at the times of the next one's actions. What it wants is a pose in space, so actions that
    count from the measured state are counted anew from the state at the new observation.

    Args:
        policy: with the face of EdgePolicy.
        hand: (7 + J,) measured at the observation; `state`: the policy's state made from it, None without one.
        arm, grip: as in `targets_from_actions`.
    """
    spec = policy.spec
    horizon, period_ns = spec.action.horizon, spec.action.period_ns
    covered = _targets_within(guide.plan.observed_ns + horizon * period_ns - guide.observed_ns, period_ns, horizon)
    frozen = 1 + _targets_within(guide.delay_ns, period_ns, horizon)
    due_ns = guide.observed_ns + period_ns * np.arange(1, horizon + 1)
    targets = np.stack([pose_at(guide.plan, int(at_ns), period_ns) for at_ns in due_ns])
    physical = policy.denormalize(_actions_at(guide, due_ns, period_ns), state)
    actions = policy.normalize_actions(actions_from_targets(spec, targets, physical, hand, arm, grip), state)
    return actions[None].astype(np.float32), prefix_weights(horizon, frozen, covered)[None]


def _targets_within(duration_ns: int, period_ns: int, horizon: int) -> int:
    return min(max(duration_ns // period_ns, 0), horizon)


def _actions_at(guide: Guide, due_ns: np.ndarray, period_ns: int) -> np.ndarray:
    """(T, A) the present chunk's own numbers at these times; they remain for an arm that is not driven."""
    place = np.clip((due_ns - guide.plan.observed_ns) / period_ns - 1, 0, len(due_ns) - 1)
    index = np.minimum(place.astype(int), max(len(due_ns) - 2, 0))
    share = (place - index)[:, None]
    following = np.minimum(index + 1, len(due_ns) - 1)
    return (1 - share) * guide.actions[index] + share * guide.actions[following]
