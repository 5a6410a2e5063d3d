"""Text stage: token ids to the text condition of the video model and the goal of the action head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def sincos_table(length: int, width: int) -> Tensor:
    """(length, width) float32 [sin | cos] of `position / 10000**(i / (width / 2))` in float64 (docs/vpp.md, step 1)."""
    frequencies = 10000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


class TextStage(nn.Module):
    """CLIP text encoder, run once per instruction for the video model and once for the goal.

    Args:
        encoder: a transformers CLIPTextModelWithProjection.
        length: tokens of the video condition (20).
        position_encoding: add the sin-cos table to the video condition.
    """

    table: Tensor | None

    def __init__(self, encoder: nn.Module, length: int, position_encoding: bool) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        self.register_buffer("table", sincos_table(length, width) if position_encoding else None, persistent=False)

    def forward(self, ids: Tensor, mask: Tensor, goal_ids: Tensor, goal_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes one instruction.

        Args:
            ids, mask: (1, 20) int64, padded; the mask is 1 on real tokens.
            goal_ids, goal_mask: (1, 77) int64, likewise.

        Returns:
            text_hidden (1, 20, 2 * width) and goal (1, projection width), float32.
        """
        goal = self.encoder(input_ids=goal_ids, attention_mask=goal_mask).text_embeds
        return self.condition(ids, mask), goal

    def condition(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(N, 20, 2 * width), the text condition of the video model, from (N, 20) ids and masks."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.table is not None:
            hidden = hidden + self.table
        return torch.cat([hidden, hidden], dim=-1)


def text_stage(config: dict[str, Any], tensors: dict[str, Tensor], length: int, position_encoding: bool) -> TextStage:
    """The text stage from a CLIP text config and its tensors (used in place, not copied)."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    # "sdpa" would fuse the mask away on export; "eager" is CLIP's own arithmetic and runs once per instruction.
    clip_config = CLIPTextConfig(**config)
    clip_config._attn_implementation = "eager"
    encoder = CLIPTextModelWithProjection(clip_config)
    encoder.load_state_dict(tensors, strict=False, assign=True)
    return TextStage(encoder.eval(), length, position_encoding)
