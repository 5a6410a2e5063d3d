"""The prefix of real-time chunking: what the next chunk starts with, from the one being executed and the delay.

The next chunk is sampled while the present one is executed. Actions whose time will have passed when it arrives, and
the one that the hand is then moving to, can no longer be changed: the sampler is given them. Later ones pull less and
less, up to the end of the present chunk. The action head estimates clean actions, so pulling is a weighted mean with
its estimate in every step, without a gradient.

Source: arXiv 2506.07339 (real-time chunking), equation 5 for the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.control.chunk_player import pose_at
from vpp_edge.runtime.interfaces import Chunk, Grip, Policy
from vpp_edge.runtime.policy.targets import actions_from_targets
from vpp_edge.spec.prefix import prefix_weights


@dataclass(frozen=True)
class PreviousChunk:
    """The chunk that is executed during an inference.

    Attributes:
        chunk: with the time from which on it is really played.
        actions: (T, A) normalized, that its targets were made from.
        observed_ns: time of the observation that the next chunk is made from.
        delay_ns: upper bound of the time from there until the hand follows the next chunk.
    """

    chunk: Chunk
    actions: np.ndarray
    observed_ns: int
    delay_ns: int


def prefix_from_previous(
    policy: Policy,
    previous: PreviousChunk,
    hand: np.ndarray,
    state: np.ndarray | None,
    *,
    arm: int = 0,
    grip: Grip | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(1, T, A) and (1, T) float32, the `prefix` and `prefix_weight` of stage `act`.

    The present chunk is read at the times of the next one's actions. It gives poses in space, so actions that are
    relative to the measured state are computed anew, relative to the state at the new observation.

    Args:
        hand: (7 + J,) pose measured at the observation.
        state: (P,) the policy's state made from it; None for policies without one.
        arm, grip: as in `targets_from_actions`.
    """
    spec = policy.spec
    horizon, period_ns = spec.action.horizon, spec.action.period_ns
    covered = _periods_within(previous.chunk.end_ns(period_ns) - previous.observed_ns, period_ns, horizon)
    frozen = 1 + _periods_within(previous.delay_ns, period_ns, horizon)
    due_ns = previous.observed_ns + period_ns * np.arange(1, horizon + 1)
    targets = np.stack([pose_at(previous.chunk, int(at_ns), period_ns) for at_ns in due_ns])
    physical = policy.denormalize(_actions_at(previous, due_ns, period_ns), state)
    shifted = actions_from_targets(spec, targets, physical, hand, arm=arm, grip=grip)
    actions = policy.normalize_actions(shifted, state)
    return actions[None].astype(np.float32), prefix_weights(horizon, frozen, covered)[None]


def _periods_within(duration_ns: int, period_ns: int, horizon: int) -> int:
    return min(max(duration_ns // period_ns, 0), horizon)


def _actions_at(previous: PreviousChunk, due_ns: np.ndarray, period_ns: int) -> np.ndarray:
    """(T, A) the present chunk's own actions at these times; they stay for an arm that is not driven."""
    place = np.clip((due_ns - previous.chunk.observed_ns) / period_ns - 1, 0, len(due_ns) - 1)
    index = np.minimum(place.astype(int), max(len(due_ns) - 2, 0))
    share = (place - index)[:, None]
    following = np.minimum(index + 1, len(due_ns) - 1)
    return (1 - share) * previous.actions[index] + share * previous.actions[following]
