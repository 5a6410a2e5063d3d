"""A policy from its bundle: camera images, state and an instruction in, a chunk of actions out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from vpp_edge.bundle.engine import ONNXRUNTIME, Engine, EngineOptions, close_engines, closed_on_error
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.files.paths import checked_path
from vpp_edge.number_range import SEED
from vpp_edge.runtime.interfaces import Inference
from vpp_edge.runtime.policy.engines.registry import open_engines
from vpp_edge.runtime.policy.tokenizer import InstructionTokenizer
from vpp_edge.spec.instruction import warn_if_truncated
from vpp_edge.spec.normalization import normalized_from_actions, normalized_from_state, physical_from_actions
from vpp_edge.spec.policy import PolicySpec, TensorSpec
from vpp_edge.spec.preprocess import frames_from_images
from vpp_edge.spec.sample import draw_action_noise, draw_video_noise
from vpp_edge.spec.stage_inputs import act_inputs, perceive_inputs

_STAGES = ("text", "perceive", "act")


class EdgePolicy:
    """A loaded policy; a context manager that closes it. Not thread-safe; one inference at a time.

    Only `perceive` may run in one thread while another one calls anything else but `instruct` and `close`.

    Attributes:
        spec: sizes and meaning of everything that goes in and out.
        bundle: where it was loaded from.
    """

    def __init__(self, bundle: Bundle, engines: Mapping[str, Engine], seed: int | None = None) -> None:
        self.bundle = bundle
        self.spec: PolicySpec = bundle.manifest.policy
        self._engines: Mapping[str, Engine] = engines
        self._inputs = {name: bundle.stage(name).inputs for name in _STAGES}
        self._random = np.random.default_rng(seed)
        definition = bytes(bundle.open_verified(bundle.manifest.tokenizer))
        self._tokenizer = InstructionTokenizer(definition, self.spec.pad_token_id)
        self._text: tuple[np.ndarray, np.ndarray] | None = None
        self._instruction = ""

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        backend: str = ONNXRUNTIME,
        *,
        threads: int | None = None,
        seed: int | None = None,
        checkpoint: str | Path | None = None,
        provider: str | None = None,
    ) -> EdgePolicy:
        """Opens a bundle; every file is verified against the manifest before an engine sees it.

        Args:
            bundle: folder that `vpp-edge export` wrote.
            backend: `onnxruntime`; `tensorrt` or `tensorrt-rtx`, for which `vpp-edge build` has made engines; or
                `torch` for the eager baseline and `torch-cuda` for our kernels, which need the trained checkpoint.
            threads: CPU threads; None lets the backend choose.
            seed: of the noise that `infer` draws when none is passed; None: a different seed each time.
            checkpoint: for backends `torch` and `torch-cuda`: folder of the trained policy, if it has been moved since
                the export.
            provider: for backend `onnxruntime`: its execution provider, `cpu` (None), `cuda` or `tensorrt`; one that
                is missing or does not start is an error, never a silent fallback to the CPU.

        Raises:
            BundleError: the bundle is missing, damaged, forged or of another schema version.
            BadInputError: the backend or provider is unknown, or does not start here; an argument of another type.
            MissingDependencyError: the library of the backend is not installed, or lacks the provider.
        """
        if seed is not None:
            SEED.check("seed", seed)
        moved = None if checkpoint is None else str(checked_path("checkpoint", checkpoint))
        opened = Bundle(checked_path("bundle", bundle))
        for stage in _STAGES:
            opened.stage(stage)
        options = EngineOptions(threads, moved, provider)
        engines = open_engines(opened, backend, options)
        with closed_on_error(engines):
            return cls(opened, engines, seed)

    def close(self) -> None:
        """Releases the engines. May be called twice; no stage can run afterwards.

        Raises:
            HardwareFaultError: an engine could not release everything.
        """
        engines, self._engines = self._engines, {}
        close_engines(engines)

    def __enter__(self) -> EdgePolicy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except HardwareFaultError:
            if error is None:  # the first error says more
                raise

    def instruct(self, instruction: str) -> None:
        """Sets the instruction of the following inferences.

        Text that is too long is truncated, as in training, with a TruncatedInstructionWarning that names the lost words
        unless it is already the present instruction.

        Raises:
            BadInputError: it is no text, or empty.
        """
        inputs = self.text_inputs(instruction)
        if instruction != self._instruction:
            warn_if_truncated(instruction, [self._tokenizer.tokens(instruction, n) for n in self.spec.text_lengths])
        outputs = self._engine("text").run(inputs)
        self._text, self._instruction = (outputs["text_hidden"], outputs["goal"]), instruction

    def text_inputs(self, instruction: str) -> dict[str, np.ndarray]:
        """Inputs of stage `text`: token ids and masks, (1, 20) and (1, 77) int64."""
        (short, long), spec = self.spec.text_lengths, self._inputs["text"]
        arrays = [*self._tokenizer.encode(instruction, short), *self._tokenizer.encode(instruction, long)]
        return {t.name: a for t, a in zip(spec, arrays, strict=True)}

    @property
    def text(self) -> tuple[np.ndarray, np.ndarray]:
        """text_hidden (1, 20, 1024) and goal (1, 512) of the current instruction."""
        if self._text is None:
            raise BadInputError("no instruction yet; call instruct() first")
        return self._text

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(V, H, W, 3) uint8 frames from one camera image per view; see `frames_from_images`."""
        return frames_from_images(self.spec, images)

    def normalize_state(self, state: np.ndarray) -> np.ndarray:
        """(P,) float32 in [-1, 1] from a state in physical units (P,); see `normalized_from_state`."""
        return normalized_from_state(self.spec, state)

    def denormalize(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """(T, A) float64 in physical units from normalized actions (T, A); see `physical_from_actions`."""
        return physical_from_actions(self.spec, actions, state)

    def normalize_actions(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """(T, A) float64 normalized from actions in physical units (T, A); see `normalized_from_actions`."""
        return normalized_from_actions(self.spec, actions, state)

    def infer(
        self,
        frames: np.ndarray,
        proprio: np.ndarray | None = None,
        *,
        video_noise: np.ndarray | None = None,
        action_noise: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
        prefix_weight: np.ndarray | None = None,
    ) -> Inference:
        """One chunk of actions for one observation.

        Args:
            frames: (V, H, W, 3) uint8 RGB at the model's size, static camera first (`prepare` makes them).
            proprio: normalized state, (P,) or (1, 1, P) float32 (`normalize_state` makes it); None for policies
                without one.
            video_noise: (V, F, 4, h, w) float32, standard normal; drawn when left out.
            action_noise: (1, T, A) float32, standard normal; drawn when left out.
            prefix, prefix_weight: what the chunk is pulled to, as for `act`; nothing when left out.

        Raises:
            BadInputError: an array has another dtype or shape, a value is not finite, or no instruction was given.
        """
        started_ns = time.monotonic_ns()
        tokens = self.perceive(frames, video_noise=video_noise)
        perceived_ns = time.monotonic_ns()
        actions = self.act(tokens, proprio, action_noise=action_noise, prefix=prefix, prefix_weight=prefix_weight)
        timings = {"perceive": perceived_ns - started_ns, "act": time.monotonic_ns() - perceived_ns}
        return Inference(tokens, actions, timings)

    def perceive(self, frames: np.ndarray, *, video_noise: np.ndarray | None = None) -> np.ndarray:
        """(1, L, D) tokens of an observation; arguments as for `infer`."""
        if video_noise is None:
            video_noise = draw_video_noise(self.spec, self._random)
        return self.run_stage("perceive", perceive_inputs(frames, self.text[0], video_noise))["tokens"]

    def act(
        self,
        tokens: np.ndarray,
        proprio: np.ndarray | None = None,
        *,
        action_noise: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
        prefix_weight: np.ndarray | None = None,
    ) -> np.ndarray:
        """(1, T, A) normalized actions from tokens, those of an `infer` included; arguments as for `infer`.

        Acting again on the tokens that it has takes a policy a small part of an inference: the images are those of
        before, the state is new. The tokens must be of the present instruction.

        Args:
            prefix: (1, T, A) normalized actions that the chunk is pulled to, and prefix_weight: (1, T) how much, 0 to
                1 per action (real-time chunking, arXiv 2506.07339). None: not at all.
        """
        if action_noise is None:
            action_noise = draw_action_noise(self.spec, self._random)
        inputs = act_inputs(
            self.spec,
            tokens=tokens,
            goal=self.text[1],
            action_noise=action_noise,
            proprio=proprio,
            prefix=prefix,
            prefix_weight=prefix_weight,
        )
        return self.run_stage("act", inputs)["actions"]

    def run_stage(self, stage: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of one stage for given inputs, both by the names of the manifest.

        Raises:
            BadInputError: an input has another dtype or shape, or a value is not finite.
        """
        checked = {spec.name: checked_input(spec, inputs[spec.name]) for spec in self._inputs[stage]}
        return self._engine(stage).run(checked)

    def _engine(self, stage: str) -> Engine:
        if stage not in self._engines:
            raise BadInputError("this policy is closed; load it again")
        return self._engines[stage]


def checked_input(spec: TensorSpec, value: np.ndarray) -> np.ndarray:
    """`value` as the stage wants it: other float types become float32, everything else must fit as it is.

    Raises:
        BadInputError: no array, another shape or kind of number, NaN or infinity.
    """
    array = value
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and spec.dtype == "float32":
        array = value.astype(np.float32, copy=False)
    if not isinstance(array, np.ndarray) or array.shape != spec.shape or array.dtype != spec.dtype:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise BadInputError(f"{spec.name} must be {spec.dtype} {spec.shape}, got {got}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadInputError(f"{spec.name} holds NaN or infinity")
    return array
