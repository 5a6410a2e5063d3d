"""Policy specs: sizes, units and meaning of everything that goes in and out, as frozen records for every floor.

Dimension letters are those of ARCHITECTURE.md: V cameras, F frames, H W image, h w latent, T chunk, A action,
P proprioception. A spec holds plain numbers and strings only, so that it goes into ``manifest.json`` as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from vpp_edge.errors import BadInputError

DTYPES = ("float32", "float16", "int64", "int32", "uint8", "bool")

# Meaning of the numbers of an action segment after denormalization (docs/vpp.md, step 7).
SEGMENT_KINDS = {
    "delta_position": "xyz to add to the wrist position of the state that the chunk starts from (base frame)",
    "relative_rotation": "roll, pitch, yaw (extrinsic xyz) applied in the wrist frame of that state",
    "position": "xyz of the wrist (base frame)",
    "quaternion": "orientation of the wrist, stored in the order that the spec names",
    "joint_position": "absolute hand joint angles",
    "gripper": "one number from -1 (closed) to 1 (open)",
    "raw": "network outputs of unknown meaning; they cannot drive a hand",
}
QUATERNION_ORDERS = ("xyzw", "wxyz")
_CONSTANT = 1e-6  # m, rad: a state that varied less in training varied by noise only


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype and fixed shape of one stage input or output."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise BadInputError(f"tensor {self.name!r}: unknown dtype {self.dtype!r}; expected one of {DTYPES}")
        if not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise BadInputError(f"tensor {self.name!r}: shape {self.shape} must hold positive integers only")


@dataclass(frozen=True)
class CameraSpec:
    """One view of the policy, in the order of the batch (static first, then wrist).

    Attributes:
        name: `static`, `wrist`, `wrist2`...
        height, width: pixels of the image that the model sees, after crop and resize.
    """

    name: str
    height: int
    width: int


@dataclass(frozen=True)
class ActionSegment:
    """Consecutive action dimensions with one meaning.

    Attributes:
        kind: one of SEGMENT_KINDS.
        start, size: columns of the action vector.
        unit: `m`, `rad` or `1`, after denormalization.
        arm: which wrist and hand it belongs to, from 0.
        state_start: column of the state vector that the segment refers to; None when the policy has no state.
        offset_from_state: the normalized value is target minus state, per dimension (xbot); denormalization
            adds the state.
        scale: one unit of the raw value in `unit` (CALVIN: 0.02 m, 0.05 rad); 1 where the value is in `unit` itself.
    """

    kind: str
    start: int
    size: int
    unit: str
    arm: int = 0
    state_start: int | None = None
    offset_from_state: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in SEGMENT_KINDS:
            raise BadInputError(f"unknown action segment kind {self.kind!r}; expected one of {sorted(SEGMENT_KINDS)}")
        if self.start < 0 or self.size < 1:
            raise BadInputError(f"action segment {self.kind!r}: start {self.start}, size {self.size} is not a range")

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.size)

    @property
    def state_columns(self) -> slice:
        if self.state_start is None:
            raise BadInputError(f"action segment {self.kind!r} at {self.start} does not refer to the state")
        return slice(self.state_start, self.state_start + self.size)


@dataclass(frozen=True)
class Bounds:
    """Per-dimension normalization: `lower` maps to -1 and `upper` to 1 (1st and 99th percentile in training)."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.lower) != len(self.upper):
            raise BadInputError(f"bounds have {len(self.lower)} lower and {len(self.upper)} upper values")
        for i, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if not low <= high or low in (float("-inf"), float("inf")) or high in (float("-inf"), float("inf")):
                raise BadInputError(f"bounds of dimension {i} are not finite and ordered: {low} .. {high}")

    @property
    def constant_dimensions(self) -> tuple[int, ...]:
        """The dimensions whose bounds are equal, or so close that only noise lies between them."""
        widths = (high - low for low, high in zip(self.lower, self.upper, strict=True))
        return tuple(i for i, width in enumerate(widths) if width < _CONSTANT)


@dataclass(frozen=True)
class ActionSpec:
    """The T x A output of `act` and how it becomes motion.

    Attributes:
        dims: A.
        horizon: T, actions in a chunk.
        period_ns: time between two actions of a chunk.
        bounds: normalization of the actions; None for raw actions (CALVIN).
        segments: cover the A columns once, in order.
    """

    dims: int
    horizon: int
    period_ns: int
    bounds: Bounds | None
    segments: tuple[ActionSegment, ...]

    def __post_init__(self) -> None:
        covered = [i for s in self.segments for i in range(s.start, s.start + s.size)]
        if covered != list(range(self.dims)):
            raise BadInputError(f"action segments cover columns {covered}, expected 0..{self.dims - 1} once, in order")
        if self.bounds is not None and len(self.bounds.lower) != self.dims:
            raise BadInputError(f"action bounds have {len(self.bounds.lower)} dimensions, expected {self.dims}")

    @property
    def chunk_ns(self) -> int:
        """How long a chunk lasts from its observation."""
        return self.horizon * self.period_ns


@dataclass(frozen=True)
class StateSpec:
    """The proprioception vector: P numbers, normalized by `bounds` and clipped to [-1, 1].

    Attributes:
        quaternions: first columns of the quaternions, each made canonical (first stored component >= 0).
        quaternion_order: `xyzw` or `wxyz`, as stored.
    """

    dims: int
    bounds: Bounds | None
    quaternions: tuple[int, ...] = ()
    quaternion_order: str = "xyzw"

    def __post_init__(self) -> None:
        if self.quaternion_order not in QUATERNION_ORDERS:
            raise BadInputError(
                f"quaternion order {self.quaternion_order!r}; expected {' or '.join(QUATERNION_ORDERS)}"
            )
        if self.bounds is not None and len(self.bounds.lower) != self.dims:
            raise BadInputError(f"state bounds have {len(self.bounds.lower)} dimensions, expected {self.dims}")


@dataclass(frozen=True)
class PolicySpec:
    """Everything the runtime must know about a policy besides its graphs.

    Attributes:
        variant: `calvin`, `xhand` or `xbot`; decides the meaning of the actions.
        cameras: the V views in batch order.
        frames: F, predicted video frames.
        latent: (channels, h, w) of the video noise.
        tokens: (L, D) of the Video Former output.
        text_lengths: token counts of the video condition and of the goal (20, 77).
        pad_token_id: id that pads both.
        state: None for policies without proprioception.
        sigmas: noise levels of the action sampler, steps + 1 of them, the last one 0.
        sampler: name of the sampler that `act` unrolls.
        prefix_pulls: how often a sampling step pulls to the prefix; more than once in a distilled head, whose few steps
            stand for many.
        computed_frames: frames that the video model computes, whose features are repeated to make F; None: all.
        raw_actions: a real-robot policy that is not normalized, as the user who exported it said.
    """

    variant: str
    cameras: tuple[CameraSpec, ...]
    frames: int
    latent: tuple[int, int, int]
    tokens: tuple[int, int]
    text_lengths: tuple[int, int]
    pad_token_id: int
    action: ActionSpec
    state: StateSpec | None
    sigmas: tuple[float, ...]
    sampler: str = "ddim"
    notes: tuple[str, ...] = field(default=())
    computed_frames: int | None = None
    raw_actions: bool = False
    prefix_pulls: int = 1

    @property
    def video_noise_shape(self) -> tuple[int, ...]:
        """(V, F, 4, h, w), of standard normal noise before `init_noise_sigma`."""
        return (len(self.cameras), self.frames, *self.latent)

    @property
    def frames_shape(self) -> tuple[int, ...]:
        """(V, H, W, 3), uint8 RGB."""
        return (len(self.cameras), self.cameras[0].height, self.cameras[0].width, 3)

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """(T, A)."""
        return (self.action.horizon, self.action.dims)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; `policy_spec_from_json` reads it back."""
        return asdict(self)


def policy_spec_from_json(data: dict[str, Any]) -> PolicySpec:
    """The PolicySpec that `PolicySpec.to_json` wrote.

    Raises:
        BadInputError: a field is missing, unknown or of the wrong type.
    """
    try:
        action = dict(data["action"])
        action["bounds"] = _bounds(action["bounds"])
        action["segments"] = tuple(ActionSegment(**s) for s in action["segments"])
        state = data["state"]
        if state is not None:
            state = dict(state)
            state["bounds"] = _bounds(state["bounds"])
            state["quaternions"] = tuple(state["quaternions"])
            state = StateSpec(**state)
        fields = dict(data)
        fields["cameras"] = tuple(CameraSpec(**c) for c in data["cameras"])
        for name in ("latent", "tokens", "text_lengths", "sigmas", "notes"):
            fields[name] = tuple(data[name])
        fields["action"] = ActionSpec(**action)
        fields["state"] = state
        return PolicySpec(**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"policy spec is not what this version writes: {type(error).__name__}: {error}") from error


def _bounds(data: dict[str, Any] | None) -> Bounds | None:
    return None if data is None else Bounds(tuple(data["lower"]), tuple(data["upper"]))
