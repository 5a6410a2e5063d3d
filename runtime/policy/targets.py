"""From the policy's physical actions to target poses of the hand, and back: segments and arms (docs/vpp.md, step 7).

Poses are laid out as PoseLayout says. The policy's state and actions have the layout and normalization of its training
data, described by its PolicySpec.
"""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.interfaces import Grip
from vpp_edge.spec.normalization import bounds_arrays, checked_vector
from vpp_edge.spec.policy import ActionSegment, PolicySpec
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.spec.rotation import (
    conjugate_quaternion,
    quaternion_from_rpy,
    quaternion_product,
    rpy_from_quaternion,
    stored_from_xyzw,
    unit_quaternion,
    xyzw_from,
)

POSITION, QUATERNION, JOINTS = PoseLayout.POSITION, PoseLayout.QUATERNION, PoseLayout.JOINTS


def state_from_hand(spec: PolicySpec, hand: np.ndarray, arm: int = 0) -> np.ndarray | None:
    """(P,) policy state from a hand's pose (7 + J,); None for policies without one.

    For a two-armed policy that drives one hand, the other arm is at the middle of its bounds.
    """
    if spec.state is None:
        return None
    state = np.zeros(spec.state.dims)
    if spec.state.bounds is not None:
        state[:] = np.mean(bounds_arrays(spec.state.bounds), axis=0)
    start = _arm_start(spec, arm)
    width = _next_start(spec, start) - start
    if hand.shape != (width,):
        expected, found = width - PoseLayout.WRIST_DIMS, hand.shape[0] - PoseLayout.WRIST_DIMS
        raise BadInputError(f"this policy's state holds {expected} joints per arm, the hand has {found}")
    pose = state[start : start + width]
    pose[:] = hand
    pose[QUATERNION] = stored_from_xyzw(hand[QUATERNION], spec.state.quaternion_order)
    return state


def targets_from_actions(
    spec: PolicySpec,
    actions: np.ndarray,
    hand: np.ndarray,
    arm: int = 0,
    grip: Grip | None = None,
) -> np.ndarray:
    """(T, 7 + J) absolute target poses of one arm.

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
        _apply(segment, actions[:, segment.columns] * segment.scale, targets, order=order, grip=grip)
    return targets


def _apply(
    segment: ActionSegment,
    values: np.ndarray,
    targets: np.ndarray,
    order: str,
    grip: Grip | None,
) -> None:
    anchored = segment.state_start is not None  # to the chunk's start; CALVIN's deltas accumulate
    if segment.kind == "delta_position":
        targets[:, POSITION] += values if anchored else np.cumsum(values, axis=0)
    elif segment.kind == "relative_rotation":
        turns = quaternion_from_rpy(values if anchored else np.cumsum(values, axis=0))
        wrist = unit_quaternion(targets[:, QUATERNION])
        targets[:, QUATERNION] = quaternion_product(wrist, turns) if anchored else quaternion_product(turns, wrist)
    elif segment.kind == "position":
        targets[:, POSITION] = values
    elif segment.kind == "quaternion":
        targets[:, QUATERNION] = unit_quaternion(xyzw_from(values, order))
    elif segment.kind == "joint_position":
        joints = targets.shape[1] - PoseLayout.WRIST_DIMS
        if joints != segment.size:
            raise BadInputError(f"this policy drives {segment.size} joints, the hand has {joints}")
        targets[:, JOINTS] = values
    elif segment.kind == "gripper":
        if grip is None:
            raise BadInputError("this policy commands a gripper width; the hand must name its open and closed pose")
        closed = (1 - np.clip(values, -1, 1)) / 2
        targets[:, JOINTS] = grip[0] + closed * (grip[1] - grip[0])
    else:
        raise BadInputError(f"{segment.size} actions of this policy have no known meaning; it cannot drive a hand")


def actions_from_targets(
    spec: PolicySpec,
    targets: np.ndarray,
    actions: np.ndarray,
    hand: np.ndarray,
    arm: int = 0,
    grip: Grip | None = None,
) -> np.ndarray:
    """(T, A) physical actions that lead to these targets: the inverse of `targets_from_actions`.

    Args:
        targets: (T, 7 + J) of one arm.
        actions: (T, A) physical, kept where they do not move this arm.
    """
    found = checked_vector(actions, spec.chunk_shape, "actions").copy()
    order = spec.state.quaternion_order if spec.state is not None else "xyzw"
    for segment in spec.action.segments:
        if segment.arm == arm:
            found[:, segment.columns] = _inverted(segment, targets, hand, order=order, grip=grip) / segment.scale
    return found


def _inverted(
    segment: ActionSegment, targets: np.ndarray, hand: np.ndarray, order: str, grip: Grip | None
) -> np.ndarray:
    """(T, size) the values from which `_apply` makes these targets."""
    anchored = segment.state_start is not None
    wrist, turned = unit_quaternion(hand[QUATERNION]), unit_quaternion(targets[:, QUATERNION])
    if segment.kind == "delta_position":
        away = targets[:, POSITION] - hand[POSITION]
        return away if anchored else np.diff(away, axis=0, prepend=0)
    if segment.kind == "relative_rotation":
        back = conjugate_quaternion(wrist)
        turns = quaternion_product(back, turned) if anchored else quaternion_product(turned, back)
        rpy = rpy_from_quaternion(turns)
        return rpy if anchored else np.diff(np.unwrap(rpy, axis=0), axis=0, prepend=0)
    if segment.kind == "position":
        return targets[:, POSITION]
    if segment.kind == "quaternion":
        near = np.where(turned @ wrist < 0, -1.0, 1.0)[:, None]  # of the two signs, the one of the state
        return stored_from_xyzw(near * turned, order)
    if segment.kind == "joint_position":
        return targets[:, JOINTS]
    if segment.kind == "gripper" and grip is not None:
        way = grip[1] - grip[0]
        closed = (targets[:, JOINTS] - grip[0]) @ way / max(float(way @ way), 1e-12)
        return (1 - 2 * np.clip(closed, 0, 1))[:, None]
    raise BadInputError(f"{segment.kind} actions cannot be computed from target poses")


def _arm_start(spec: PolicySpec, arm: int) -> int:
    starts = [s.state_start for s in spec.action.segments if s.arm == arm and s.state_start is not None]
    if not starts:
        raise BadInputError(f"this policy has no arm {arm} with a state")
    return min(starts)


def _next_start(spec: PolicySpec, start: int) -> int:
    """Where the next arm's state begins, or the state ends."""
    starts = {_arm_start(spec, segment.arm) for segment in spec.action.segments if segment.state_start is not None}
    return min((other for other in starts if other > start), default=0 if spec.state is None else spec.state.dims)
