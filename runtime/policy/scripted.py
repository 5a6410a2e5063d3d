"""A policy without a network: it opens and closes the hand slowly, whatever the cameras see.

A real implementation of `Policy` for tests, fault injection, and trying cameras and hand before there is a bundle:
`--backend scripted`, with options such as `latency_ms=50,nan_every=7` in the place of the bundle.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import COUNT, whole
from vpp_edge.spec.instruction import checked_instruction
from vpp_edge.spec.normalization import normalized_from_state
from vpp_edge.spec.policy import ActionSegment, ActionSpec, CameraSpec, PolicySpec, StateSpec
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.spec.preprocess import frames_from_images
from vpp_edge.suggestion import did_you_mean

SWING_S = 4.0
VIEWS = ("static", "wrist", "wrist2", "wrist3")
MILLISECONDS = whole(0, 3_600_000)
OPTIONS = {
    "period_ms": whole(1, 10_000),
    "views": whole(1, len(VIEWS)),
    "joints": whole(1, 64),
    "latency_ms": MILLISECONDS,
    "load_ms": MILLISECONDS,
    "nan_every": COUNT,
    "hang_after": COUNT,
    "fail_after": COUNT,
}


def scripted_spec(options: dict[str, int]) -> PolicySpec:
    """An xhand-like spec: wrist deltas, absolute joints, 8 actions; options `period_ms`, `views`, `joints`."""
    joints, size, period_ms = options.get("joints", 12), 64, options.get("period_ms", 100)
    segments = (
        ActionSegment("delta_position", 0, 3, "m", state_start=0),
        ActionSegment("relative_rotation", 3, 3, "rad", state_start=3),
        ActionSegment("joint_position", 6, joints, "rad", state_start=7),
    )
    names = VIEWS[: options.get("views", 2)]
    return PolicySpec(
        variant="xhand",
        cameras=tuple(CameraSpec(name, size, size) for name in names),
        frames=16,
        latent=(4, size // 8, size // 8),
        tokens=(4, 8),
        text_lengths=(20, 77),
        pad_token_id=0,
        action=ActionSpec(dims=6 + joints, horizon=8, period_ns=period_ms * 1_000_000, bounds=None, segments=segments),
        state=StateSpec(PoseLayout.dims(joints), bounds=None, quaternions=(3,)),
        sigmas=(1.0, 0.5, 0.0),
        notes=("scripted: no network behind it",),
    )


class ScriptedPolicy:
    """Swings every joint between 0.1 and 0.6 rad; a look takes `latency_ms`, every `nan_every`th act gives NaN.

    Options: those of `scripted_spec`, `latency_ms`, `load_ms`, `nan_every` (acts), `hang_after`, `fail_after` (looks).
    """

    def __init__(self, options: dict[str, int]) -> None:
        self._options = options
        self.spec = scripted_spec(options)
        self._looks = self._acts = 0
        time.sleep(options.get("load_ms", 0) / 1e3)

    def instruct(self, instruction: str) -> None:
        checked_instruction(instruction)

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return frames_from_images(self.spec, images)

    def normalize_state(self, state: np.ndarray) -> np.ndarray:
        return normalized_from_state(self.spec, state)

    def denormalize(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        return np.asarray(actions, dtype=np.float64)

    def normalize_actions(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        return np.asarray(actions, dtype=np.float64)

    def perceive(self, frames: np.ndarray, *, video_noise: np.ndarray | None = None) -> np.ndarray:
        self._looks += 1
        if self._looks == self._options.get("fail_after"):
            raise RuntimeError("CUDA error: an illegal memory access was encountered (scripted)")
        if self._looks == self._options.get("hang_after"):
            time.sleep(3600)
        if (shape := getattr(frames, "shape", None)) != self.spec.frames_shape:
            raise BadInputError(f"frames have shape {shape}, expected {self.spec.frames_shape}")
        time.sleep(self._options.get("latency_ms", 40) / 1e3)
        return np.zeros((1, *self.spec.tokens), np.float32)

    def act(
        self,
        tokens: np.ndarray,
        proprio: np.ndarray | None = None,
        *,
        action_noise: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
        prefix_weight: np.ndarray | None = None,
    ) -> np.ndarray:
        self._acts += 1
        start_ns = time.monotonic_ns()
        horizon, dims = self.spec.chunk_shape
        actions = np.zeros((1, horizon, dims))
        for i in range(horizon):
            phase = start_ns / 1e9 + (i + 1) * self.spec.action.period_ns / 1e9
            actions[0, i, 6:] = 0.35 - 0.25 * math.cos(2 * math.pi * phase / SWING_S)
        if prefix is not None and prefix_weight is not None:
            actions += prefix_weight[..., None] * (prefix - actions)
        if "nan_every" in self._options and self._acts % self._options["nan_every"] == 0:
            actions[0, horizon // 2] = np.nan
        return actions

    def close(self) -> None:
        """Nothing to release."""


def options_from_text(text: str) -> dict[str, int]:
    """`{"latency_ms": 50}` from `latency_ms=50`; none from the path of a bundle, which may be in its place.

    Raises:
        BadInputError: an unknown option, or a value out of its range.
    """
    if "=" not in text or os.path.exists(text):
        return {}
    options = {}
    for part in text.split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        if name not in OPTIONS:
            raise BadInputError(
                f"unknown option {name!r}{did_you_mean(name, OPTIONS)} of the scripted policy; expected "
                f"{', '.join(OPTIONS)}"
            )
        try:
            options[name] = OPTIONS[name].from_text(value)
        except BadInputError as error:
            raise BadInputError(f"option {name} of the scripted policy, {error}") from None
    return options
