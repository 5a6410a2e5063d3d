"""The checkpoint being trained: reads and writes its networks in the folder format of VPP's training code."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from torch import nn
from transformers import CLIPTextModelWithProjection

from video_stage import Texts
from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.config import GOAL_TEXT_LENGTH, PolicyConfig
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.checkpoint.untrained import UntrainedSizes, quiet_libraries, write_untrained_checkpoint
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint
from vpp_edge.model.text import TextStage
from vpp_edge.runtime.policy.tokenizer import InstructionTokenizer
from vpp_edge.spec.policy import PolicySpec

SIZES = UntrainedSizes(
    image=128, frames=4, channels=(32, 64, 64, 64), vae_channels=(32, 32, 64, 64), width=128, queries=16, depth=2,
    actions=18, horizon=10, proprio=19, steps=10, text_width=64,
)  # fmt: skip
TEXT_LENGTH = 20


@dataclass(frozen=True)
class CheckpointFolder:
    """A folder with svd/, clip/ and policy.pt; networks are loaded from it and saved back into it."""

    folder: Path

    def create(self, sizes: UntrainedSizes, seed: int, state_bounds: Any, action_bounds: Any) -> None:
        """Writes random weights."""
        partial = self.folder.with_name(f".{self.folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_untrained_checkpoint(partial, sizes, seed=seed, state_bounds=state_bounds, action_bounds=action_bounds)
        partial.rename(self.folder)

    def copy_of(self, other: CheckpointFolder) -> None:
        """Makes this folder a copy of another one."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(other.folder, self.folder)

    def unet(self) -> UNetSpatioTemporalConditionModel:
        with quiet_libraries():
            return UNetSpatioTemporalConditionModel.from_pretrained(self.folder / "svd" / "unet")

    def vae(self) -> AutoencoderKLTemporalDecoder:
        with quiet_libraries():
            return AutoencoderKLTemporalDecoder.from_pretrained(self.folder / "svd" / "vae")

    def scheduler(self) -> EulerDiscreteScheduler:
        return EulerDiscreteScheduler.from_pretrained(self.folder / "svd" / "scheduler")

    def text(self) -> TextStage:
        return TextStage(self._text_encoder().train(), TEXT_LENGTH, position_encoding=True)

    def _text_encoder(self) -> CLIPTextModelWithProjection:
        with quiet_libraries():
            return CLIPTextModelWithProjection.from_pretrained(self.folder / "clip", attn_implementation="eager")

    def policy(self) -> tuple[VideoPredictionPolicy, PolicySpec, PolicyConfig]:
        """The whole policy, as the package loads it."""
        checkpoint = read_checkpoint(paths_from_folder(self.folder))
        return policy_from_checkpoint(checkpoint), checkpoint.spec, checkpoint.config

    def texts(self, instructions: list[str]) -> Texts:
        """Token ids and masks of instructions, for the video model and for the goal."""
        definition = (self.folder / "clip" / "tokenizer.json").read_bytes()
        tokenizer = InstructionTokenizer(definition, self._text_encoder().config.pad_token_id)

        def both(length: int) -> tuple[torch.Tensor, torch.Tensor]:
            ids, masks = zip(*(tokenizer.encode(text, length) for text in instructions), strict=True)
            return torch.from_numpy(np.concatenate(ids)), torch.from_numpy(np.concatenate(masks))

        return Texts(*both(TEXT_LENGTH), *both(GOAL_TEXT_LENGTH))

    def put_unet(self, unet: UNetSpatioTemporalConditionModel) -> None:
        unet.save_pretrained(self.folder / "svd" / "unet")

    def put_vae(self, vae: AutoencoderKLTemporalDecoder) -> None:
        vae.save_pretrained(self.folder / "svd" / "vae")

    def put_text(self, encoder: CLIPTextModelWithProjection) -> None:
        """Writes the text encoder into clip/, and its copies into policy.pt."""
        encoder.save_pretrained(self.folder / "clip")
        tensors = {name: tensor.detach() for name, tensor in encoder.state_dict().items()}
        self._put({prefix + n: t for prefix in names.TEXT_COPY_PREFIXES for n, t in tensors.items()})

    def put_policy(self, former: nn.Module, head: nn.Module) -> None:
        """Writes Video Former and action head into policy.pt."""
        parts = ((names.FORMER_PREFIX, former), (names.HEAD_PREFIX, head))
        self._put({prefix + n: t.detach() for prefix, part in parts for n, t in part.state_dict().items()})

    def _put(self, tensors: dict[str, torch.Tensor]) -> None:
        path = self.folder / "policy.pt"
        saved = torch.load(path, weights_only=False)  # our own file
        unknown = set(tensors) - set(saved["model"])
        if unknown:
            raise KeyError(f"{path} has no tensors {sorted(unknown)[:3]}")
        saved["model"] |= {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
        partial = path.with_suffix(".partial")
        torch.save(saved, partial)
        partial.rename(path)
