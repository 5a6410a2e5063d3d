"""From the policy's physical actions to where the hand should go: segments and arms (docs/vpp.md, step 7).

The hand's vector is that of `HandState.vector`: wrist xyz (m), wrist quaternion (xyzw), J joint angles (rad). The
policy's state and actions are in the layout and normalization of its training data, described by its PolicySpec.
"""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.spec.normalization import bounds_arrays, checked_vector
from vpp_edge.spec.policy import ActionSegment, PolicySpec
from vpp_edge.spec.rotation import (
    conjugate_quaternion,
    quaternion_from_rpy,
    quaternion_product,
    rpy_from_quaternion,
    stored_from_xyzw,
    unit_quaternion,
    xyzw_from,
)

Grip = tuple[np.ndarray, np.ndarray]  # joint angles of the open and of the closed hand, (J,) each

_WRIST = 7


def state_from_hand(spec: PolicySpec, hand: np.ndarray, arm: int = 0) -> np.ndarray | None:
    """(P,) policy state from a hand's vector (7 + J,); None for policies without one.

    A two-armed policy that drives one hand sees that hand at `arm`, the other arm at the middle of its bounds.
    """
    if spec.state is None:
        return None
    state = np.zeros(spec.state.dims)
    if spec.state.bounds is not None:
        state[:] = np.mean(bounds_arrays(spec.state.bounds), axis=0)
    start = _arm_start(spec, arm)
    width = _next_start(spec, start) - start
    if hand.shape != (width,):
        raise BadInputError(
            f"this policy's state holds {width - _WRIST} joints per arm, the hand has {hand.shape[0] - _WRIST}"
        )
    state[start : start + width] = hand
    state[start + 3 : start + _WRIST] = stored_from_xyzw(hand[3:_WRIST], spec.state.quaternion_order)
    return state


def targets_from_actions(
    spec: PolicySpec,
    actions: np.ndarray,
    hand: np.ndarray,
    arm: int = 0,
    grip: Grip | None = None,
) -> np.ndarray:
    """(T, 7 + J) absolute targets of one arm, in the layout of the hand's vector.

    Args:
        actions: (T, A) physical, from `physical_from_actions`.
        hand: (7 + J,) measured at the observation that the chunk was computed from; the anchor of its deltas.
        arm: which arm of a two-armed policy.
        grip: joint angles of the open and the closed hand, (J,) each, for policies that give a gripper width.

    Raises:
        BadInputError: the policy does not drive a wrist and joints, or not so many of them.
    """
    actions = checked_vector(actions, spec.chunk_shape, "actions")
    segments = [s for s in spec.action.segments if s.arm == arm]
    if not segments:
        raise BadInputError(f"this policy has no arm {arm}; it drives {1 + max(s.arm for s in spec.action.segments)}")
    targets = np.tile(hand, (len(actions), 1))
    order = spec.state.quaternion_order if spec.state is not None else "xyzw"
    for segment in segments:
        _apply(segment, actions[:, segment.columns] * segment.scale, targets, order, grip)
    return targets


def _apply(
    segment: ActionSegment,
    values: np.ndarray,
    targets: np.ndarray,
    order: str,
    grip: Grip | None,
) -> None:
    anchored = segment.state_start is not None  # to the chunk's start; CALVIN's deltas follow one another
    if segment.kind == "delta_position":
        targets[:, :3] += values if anchored else np.cumsum(values, axis=0)
    elif segment.kind == "relative_rotation":
        turns = quaternion_from_rpy(values if anchored else np.cumsum(values, axis=0))
        wrist = unit_quaternion(targets[:, 3:_WRIST])
        targets[:, 3:_WRIST] = quaternion_product(wrist, turns) if anchored else quaternion_product(turns, wrist)
    elif segment.kind == "position":
        targets[:, :3] = values
    elif segment.kind == "quaternion":
        targets[:, 3:_WRIST] = unit_quaternion(xyzw_from(values, order))
    elif segment.kind == "joint_position":
        if targets.shape[1] - _WRIST != segment.size:
            raise BadInputError(f"this policy drives {segment.size} joints, the hand has {targets.shape[1] - _WRIST}")
        targets[:, _WRIST:] = values
    elif segment.kind == "gripper":
        if grip is None:
            raise BadInputError("this policy gives a gripper width; the hand must name its open and closed pose")
        closed = (1 - np.clip(values, -1, 1)) / 2
        targets[:, _WRIST:] = grip[0] + closed * (grip[1] - grip[0])
    else:
        raise BadInputError(
            f"{segment.size} actions of this policy have no known meaning; no hand can be driven with it"
        )


def actions_from_targets(
    spec: PolicySpec,
    targets: np.ndarray,
    actions: np.ndarray,
    hand: np.ndarray,
    arm: int = 0,
    grip: Grip | None = None,
) -> np.ndarray:
    """(T, A) physical actions that lead to these targets; undoes `targets_from_actions`, other arguments as there.

    Args:
        targets: (T, 7 + J) of one arm.
        actions: (T, A) physical, kept where they do not move this arm.
    """
    found = checked_vector(actions, spec.chunk_shape, "actions").copy()
    order = spec.state.quaternion_order if spec.state is not None else "xyzw"
    for segment in spec.action.segments:
        if segment.arm == arm:
            found[:, segment.columns] = _undone(segment, targets, hand, order, grip) / segment.scale
    return found


def _undone(segment: ActionSegment, targets: np.ndarray, hand: np.ndarray, order: str, grip: Grip | None) -> np.ndarray:
    """(T, size) what `_apply` was given to come to these targets."""
    anchored = segment.state_start is not None
    wrist, turned = unit_quaternion(hand[3:_WRIST]), unit_quaternion(targets[:, 3:_WRIST])
    if segment.kind == "delta_position":
        away = targets[:, :3] - hand[:3]
        return away if anchored else np.diff(away, axis=0, prepend=0)
    if segment.kind == "relative_rotation":
        back = conjugate_quaternion(wrist)
        turns = quaternion_product(back, turned) if anchored else quaternion_product(turned, back)
        rpy = rpy_from_quaternion(turns)
        return rpy if anchored else np.diff(np.unwrap(rpy, axis=0), axis=0, prepend=0)
    if segment.kind == "position":
        return targets[:, :3]
    if segment.kind == "quaternion":
        near = np.where(turned @ wrist < 0, -1.0, 1.0)[:, None]  # of the two signs, the one of the state
        return stored_from_xyzw(near * turned, order)
    if segment.kind == "joint_position":
        return targets[:, _WRIST:]
    if segment.kind == "gripper" and grip is not None:
        way = grip[1] - grip[0]
        closed = (targets[:, _WRIST:] - grip[0]) @ way / max(float(way @ way), 1e-12)
        return (1 - 2 * np.clip(closed, 0, 1))[:, None]
    raise BadInputError(f"{segment.kind} actions cannot be found from where the hand should go")


def _arm_start(spec: PolicySpec, arm: int) -> int:
    starts = [s.state_start for s in spec.action.segments if s.arm == arm and s.state_start is not None]
    if not starts:
        raise BadInputError(f"this policy has no arm {arm} with a state")
    return min(starts)


def _next_start(spec: PolicySpec, start: int) -> int:
    """Where the next arm's state begins, or the state ends."""
    starts = {_arm_start(spec, segment.arm) for segment in spec.action.segments if segment.state_start is not None}
    return min((other for other in starts if other > start), default=0 if spec.state is None else spec.state.dims)
