"""The whole policy in eager PyTorch, with the same text, tokens and actions as the released code.

It keeps the released code's redundant work (the context is encoded again in every sampling step), so it is both the
reference for parity and the baseline of every speed ratio (backend `torch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.model.former import tokens_from_views, video_former
from vpp_edge.model.head import ActionHead, action_head
from vpp_edge.model.sampler import SAMPLER_FUNCTIONS
from vpp_edge.model.text import TextStage, text_stage
from vpp_edge.model.tvp import VideoPredictionModel, video_prediction_model


@dataclass
class VideoPredictionPolicy:
    """The three stages of a policy, in evaluation mode, float32.

    Attributes:
        sigmas, sampler: noise levels and name of the action sampler.
        frame_stride: the video model computes every `frame_stride`-th of the F frames, and its features are repeated
            for the frames in between; 1 is the trained policy.
    """

    text: TextStage
    video: VideoPredictionModel
    former: nn.Module
    head: ActionHead
    sigmas: Sequence[float]
    sampler: str = "ddim"
    frame_stride: int = 1

    @torch.no_grad()
    def encode_text(self, ids: Tensor, mask: Tensor, goal_ids: Tensor, goal_mask: Tensor) -> tuple[Tensor, Tensor]:
        """text_hidden (1, 20, 1024) and goal (1, 512); see TextStage.forward."""
        return self.text(ids, mask, goal_ids, goal_mask)

    @torch.no_grad()
    def perceive(self, frames: Tensor, text_hidden: Tensor, video_noise: Tensor) -> Tensor:
        """(1, L, D) tokens; see VideoPredictionModel.forward for the arguments."""
        return self.tokens(self.video(frames, text_hidden, video_noise[:, :: self.frame_stride]))

    def tokens(self, features: Tensor) -> Tensor:
        """(1, L, D) tokens from the features (V, F / frame_stride, C, h', w') of one observation."""
        return self.former(tokens_from_views(features.repeat_interleave(self.frame_stride, dim=1))[None])

    @torch.no_grad()
    def act(self, tokens: Tensor, goal: Tensor, proprio: Tensor | None, action_noise: Tensor) -> Tensor:
        """(1, T, A) normalized actions from standard normal noise (1, T, A); encodes the context in every step."""

        def denoise(actions: Tensor, sigma: float) -> Tensor:
            context = self.head.encode(tokens, goal, proprio)
            level = torch.tensor([sigma], dtype=actions.dtype, device=actions.device)
            return self.head.denoise(actions, level, context)

        sample = SAMPLER_FUNCTIONS[self.sampler]
        return sample(denoise, action_noise * self.sigmas[0], self.sigmas)

    def to(self, device: torch.device) -> None:
        """Moves all weights."""
        for module in (self.text, self.video, self.former, self.head):
            module.to(device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.former.parameters()).device

    def with_settings(self, sigmas: Sequence[float], sampler: str, frame_stride: int) -> VideoPredictionPolicy:
        """The policy with other settings and the same weights."""
        return replace(self, sigmas=sigmas, sampler=sampler, frame_stride=frame_stride)


def policy_from_checkpoint(checkpoint: Checkpoint) -> VideoPredictionPolicy:
    """The eager policy of a checkpoint; its tensors are used in place."""
    c = checkpoint
    return VideoPredictionPolicy(
        text=text_stage(c.text.config, c.text.tensors, c.config.text_length, c.config.position_encoding),
        video=video_model_from_checkpoint(c),
        former=video_former(c.config.former, c.former),
        head=action_head(c.config.head, c.head),
        sigmas=c.spec.sigmas,
        sampler=c.spec.sampler,
        frame_stride=c.config.former.frames // c.config.computed_frames,
    )


def video_model_from_checkpoint(checkpoint: Checkpoint) -> VideoPredictionModel:
    """The video model of a checkpoint; its tensors are used in place."""
    return video_prediction_model(
        checkpoint.unet.config,
        unet_tensors=checkpoint.unet.tensors,
        vae_config=checkpoint.vae.config,
        vae_tensors=checkpoint.vae.tensors,
        scheduler_config=checkpoint.scheduler,
        config=checkpoint.config,
    )
