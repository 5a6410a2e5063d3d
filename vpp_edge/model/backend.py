"""Backend `torch`: run the checkpoint that a bundle was exported from, as the eager policy, behind the bundle's stages.

It runs the policy as released, redundant work included: the baseline of every speed ratio and an independent check of
every output. It is not meant for the robot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle, file_record
from vpp_edge.checkpoint.paths import CheckpointPaths, paths_from_folder
from vpp_edge.checkpoint.reader import Choices, read_checkpoint
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint


def checkpoint_paths(bundle: Bundle, folder: str | None) -> CheckpointPaths:
    """Paths of a bundle's checkpoint, after checking that its policy.pt is the one that was exported.

    Args:
        folder: current folder of the checkpoint; None: its path at export.

    Raises:
        BadInputError: the checkpoint is missing, or it is a different one.
    """
    stated = bundle.manifest.provenance.get("checkpoint", {})
    try:
        paths = (
            CheckpointPaths(
                video_model=Path(stated["video_model"]),
                text_encoder=Path(stated["text_encoder"]),
                policy=Path(stated["policy"]),
            )
            if folder is None
            else paths_from_folder(Path(folder))
        )
        expected = next(iter(bundle.manifest.provenance["checkpoint_sha256"]["policy"].values()))
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise BundleError(f"{bundle.path}: the manifest does not say which checkpoint it was exported from") from error
    if not paths.policy.is_file():
        raise BadInputError(
            f"{paths.policy}: the trained policy is no longer there. Pass its folder with --checkpoint."
        )
    if file_record(paths.policy).sha256 != expected:
        raise BadInputError(f"{paths.policy} is not the policy that {bundle.path} was exported from (another SHA-256)")
    return paths


def eager_policy(bundle: Bundle, folder: str | None) -> VideoPredictionPolicy:
    """The eager float32 policy that a bundle was exported from, with the bundle's sampling steps, solver and frames."""
    spec = bundle.manifest.policy
    chosen = bundle.manifest.provenance.get("options", {}).get("choices", {})
    choices = Choices(
        variant=spec.variant,
        cameras=len(spec.cameras),
        action_rate_hz=1e9 / spec.action.period_ns,
        quaternion_order=spec.state.quaternion_order if spec.state else Choices.quaternion_order,
        steps=len(spec.sigmas) - 1,
        solver=spec.sampler,
        frames=spec.computed_frames,
        raw_actions=spec.raw_actions,
        weights=chosen.get("weights"),
    )
    return policy_from_checkpoint(read_checkpoint(checkpoint_paths(bundle, folder), choices))


@dataclass(frozen=True)
class _Engine:
    policy: VideoPredictionPolicy

    def close(self) -> None:
        """Nothing to do: the policy is freed with its last reference."""


class _TextEngine(_Engine):
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        i = _tensors(inputs)
        hidden, goal = self.policy.encode_text(i["ids"], i["mask"], i["goal_ids"], i["goal_mask"])
        return {"text_hidden": hidden.numpy(), "goal": goal.numpy()}


class _PerceiveEngine(_Engine):
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        i = _tensors(inputs)
        return {"tokens": self.policy.perceive(i["frames"], i["text_hidden"], i["video_noise"]).numpy()}


class _ActEngine(_Engine):
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        i = _tensors(inputs)
        if i["prefix_weight"].any():
            raise BadInputError("the eager baseline has no prefix; run real-time chunking on an exported backend")
        return {"actions": self.policy.act(i["tokens"], i["goal"], i.get("proprio"), i["action_noise"]).numpy()}


def open_bundle(bundle: Bundle, options: EngineOptions) -> dict[str, _TextEngine | _PerceiveEngine | _ActEngine]:
    """The eager policy behind the three stages of a bundle; see `vpp_edge.bundle.engine.Backend`."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    policy = eager_policy(bundle, options.checkpoint)
    return {"text": _TextEngine(policy), "perceive": _PerceiveEngine(policy), "act": _ActEngine(policy)}


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
