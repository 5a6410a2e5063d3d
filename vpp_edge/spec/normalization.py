"""Convert states and actions between the policy's normalized numbers and physical units.

The state and the actions are in the layout and normalization of the training data, described by the PolicySpec
(docs/vpp.md, step 7).
"""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import Bounds, PolicySpec

_EPSILON = 1e-8  # of the released normalization


def normalized_from_state(spec: PolicySpec, state: np.ndarray) -> np.ndarray:
    """(P,) float32 in [-1, 1] from a state in physical units, (P,).

    A dimension that was constant in training is -1, as it was there: the released formula would turn the noise of a
    sensor into a jump from -1 to 1.

    Raises:
        BadInputError: the policy takes no state, or the state has another shape or is not finite.
    """
    if spec.state is None:
        raise BadInputError("this policy takes no proprioception; call infer without it")
    state = checked_vector(state, (spec.state.dims,), "state").copy()
    for start in spec.state.quaternions:
        if state[start] < 0:
            state[start : start + 4] *= -1
    if spec.state.bounds is None:
        return state.astype(np.float32)
    lower, upper = bounds_arrays(spec.state.bounds)
    normalized = np.clip(2 * (state - lower) / (upper - lower + _EPSILON) - 1, -1, 1)
    normalized[list(spec.state.bounds.constant_dimensions)] = -1
    return normalized.astype(np.float32)


def physical_from_actions(spec: PolicySpec, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
    """(T, A) float64 denormalized, each segment in its own unit and meaning.

    CALVIN: the raw actions. xhand: metres to add, radians to turn, absolute joint angles. xbot: the normalized value
    is an offset from the state at the chunk's start, so the state is added and the result is absolute.

    Args:
        actions: (T, A) normalized, as `infer` gives them.
        state: (P,) in physical units, at the observation; needed where a segment is an offset from it.

    Raises:
        BadInputError: a wrong shape, or no state where one is needed.
    """
    actions, state = checked_vector(actions, spec.chunk_shape, "actions"), _checked_state(spec, state)
    if spec.action.bounds is None:
        physical = actions.copy()
    else:
        lower, upper = bounds_arrays(spec.action.bounds)
        physical = (actions + 1) / 2 * (upper - lower) + lower
    for segment in spec.action.segments:
        if segment.offset_from_state:
            if state is None:
                raise BadInputError(f"{segment.kind} actions of this {spec.variant} policy are offsets: pass the state")
            physical[:, segment.columns] += state[segment.state_columns]
    return physical


def normalized_from_actions(spec: PolicySpec, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
    """(T, A) float64 normalized actions from physical ones: the inverse of `physical_from_actions`, same arguments.

    A dimension that was constant in training (equal bounds) becomes 0.
    """
    normalized, state = checked_vector(actions, spec.chunk_shape, "actions").copy(), _checked_state(spec, state)
    for segment in spec.action.segments:
        if segment.offset_from_state:
            if state is None:
                raise BadInputError(f"{segment.kind} actions of this {spec.variant} policy are offsets: pass the state")
            normalized[:, segment.columns] -= state[segment.state_columns]
    if spec.action.bounds is None:
        return normalized
    lower, upper = bounds_arrays(spec.action.bounds)
    width = upper - lower
    return np.where(width > 0, 2 * (normalized - lower) / np.where(width > 0, width, 1) - 1, 0.0)


def bounds_arrays(bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds, (N,) float64."""
    return np.asarray(bounds.lower, dtype=np.float64), np.asarray(bounds.upper, dtype=np.float64)


def _checked_state(spec: PolicySpec, state: np.ndarray | None) -> np.ndarray | None:
    """The state of a policy that has one, checked; None where it was left out, or means nothing."""
    return None if state is None or spec.state is None else checked_vector(state, (spec.state.dims,), "state")


def checked_vector(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """float64 of the given shape, finite; BadInputError otherwise."""
    try:
        given = np.asarray(array)
    except ValueError:  # lists of different lengths
        raise BadInputError(f"{name} is a ragged {type(array).__name__}, expected numbers of shape {shape}") from None
    if given.dtype.kind not in "fiu":
        got = type(array).__name__ if given.dtype == object else f"{given.dtype} {given.shape}"
        raise BadInputError(f"{name} is {got}, expected numbers of shape {shape}")
    if given.shape != shape:
        raise BadInputError(f"{name} has shape {given.shape}, expected {shape}")
    values = given.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadInputError(f"{name} holds NaN or infinity")
    return values
