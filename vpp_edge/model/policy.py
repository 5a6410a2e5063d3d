"""The whole policy in eager PyTorch: in, a checkpoint; out, text, tokens and actions as the released code has them.

It keeps the released code's redundant work (the context is encoded again in every sampling step), so it is both the
reference for parity and the baseline of every speed ratio (backend `torch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.model.former import tokens_from_views, video_former
from vpp_edge.model.head import ActionHead, action_head
from vpp_edge.model.sampler import sample_ddim
from vpp_edge.model.text import TextStage, text_stage
from vpp_edge.model.tvp import VideoPredictionModel, video_prediction_model


@dataclass
class VideoPredictionPolicy:
    """The three stages of a policy. Attributes are modules in evaluation mode, float32."""

    text: TextStage
    video: VideoPredictionModel
    former: nn.Module
    head: ActionHead
    sigmas: Sequence[float]

    @torch.no_grad()
    def encode_text(self, ids: Tensor, mask: Tensor, goal_ids: Tensor, goal_mask: Tensor) -> tuple[Tensor, Tensor]:
        """text_hidden (1, 20, 1024) and goal (1, 512); see TextStage.forward."""
        return self.text(ids, mask, goal_ids, goal_mask)

    @torch.no_grad()
    def perceive(self, frames: Tensor, text_hidden: Tensor, video_noise: Tensor) -> Tensor:
        """(1, L, D) tokens; see VideoPredictionModel.forward for the arguments."""
        return self.former(tokens_from_views(self.video(frames, text_hidden, video_noise)))

    @torch.no_grad()
    def act(self, tokens: Tensor, goal: Tensor, proprio: Tensor | None, action_noise: Tensor) -> Tensor:
        """(1, T, A) normalized actions from standard normal noise (1, T, A); encodes the context at every step."""

        def denoise(actions: Tensor, sigma: float) -> Tensor:
            context = self.head.encode(tokens, goal, proprio)
            return self.head.denoise(actions, torch.tensor([sigma]), context)

        return sample_ddim(denoise, action_noise * self.sigmas[0], self.sigmas)


def policy_from_checkpoint(checkpoint: Checkpoint) -> VideoPredictionPolicy:
    """The eager policy of a checkpoint; its tensors are used in place."""
    c = checkpoint
    return VideoPredictionPolicy(
        text=text_stage(c.text.config, c.text.tensors, c.config.text_length, c.config.position_encoding),
        video=video_prediction_model(c.unet.config, c.unet.tensors, c.vae.config, c.vae.tensors, c.scheduler, c.config),
        former=video_former(c.config.former, c.former),
        head=action_head(c.config.head, c.head),
        sigmas=c.spec.sigmas,
    )
