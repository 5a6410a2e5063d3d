"""Video Former: features of all views to a fixed number of tokens (paper section 3.3; docs/vpp.md, step 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.checkpoint.config import FormerConfig


class PerceiverAttention(nn.Module):
    """Queries attend to the features of their frame and to themselves; each side has its own LayerNorm, no biases."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_media, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, heads * head_width, bias=False) for _ in range(3))
        self.to_out = nn.Linear(heads * head_width, width, bias=False)

    def forward(self, features: Tensor, queries: Tensor) -> Tensor:
        """(F, q, D) from features (F, n, D) and queries (F, q, D)."""
        queries = self.norm_latents(queries)
        context = torch.cat([self.norm_media(features), queries], dim=1)
        q, k, v = (self._split(x) for x in (self.to_q(queries), self.to_k(context), self.to_v(context)))
        return self.to_out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FrameAttention(nn.Module):
    """Self-attention over the frames, separately for each query position."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, queries: Tensor) -> Tensor:
        """(F, q, D) from (F, q, D)."""
        q, k, v = self.qkv(queries.transpose(0, 1)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2)).transpose(0, 1)


class FeedForward(nn.Sequential):
    """LayerNorm, Linear, GELU, Linear; no biases."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(
            nn.LayerNorm(width), nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, width, bias=False)
        )


class VideoFormer(nn.Module):
    """The 3D variant and, without frame attention, the 2D variant.

    Args:
        config: sizes; `kind` is `3d` or `2d`.
    """

    def __init__(self, config: FormerConfig) -> None:
        super().__init__()
        c = config
        self.goal_emb = nn.Sequential(nn.Linear(c.channels, c.hidden), nn.GELU(), nn.Linear(c.hidden, c.width))
        self.latents = nn.Parameter(torch.empty(c.frames, c.queries_per_frame, c.width))
        self.time_pos_emb = nn.Parameter(torch.empty(c.time_embeddings, 1, c.width))
        self.layers = nn.ModuleList()
        for _ in range(c.depth):
            layer: list[nn.Module] = [
                PerceiverAttention(c.width, c.heads, c.head_width),
                FeedForward(c.width, c.feed_forward),
            ]
            if c.kind == "3d":
                layer.insert(1, FrameAttention(c.width, c.heads))
            self.layers.append(nn.ModuleList(layer))
        self.norm = nn.LayerNorm(c.width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F * q, D) tokens from features (B, F, V * h' * w', C)."""
        count, frames = features.shape[:2]
        features = (self.goal_emb(features) + self.time_pos_emb[:frames]).flatten(0, 1)
        queries = self.latents.repeat(count, 1, 1)
        for perceive, *mix in self.layers:
            queries = queries + perceive(features, queries)
            for module in mix:
                if isinstance(module, FrameAttention):  # over the frames; to it, observations are more query positions
                    by_frame = queries.unflatten(0, (count, frames)).transpose(0, 1).flatten(1, 2)
                    mixed = module(by_frame).unflatten(1, (count, -1)).transpose(0, 1).flatten(0, 1)
                else:
                    mixed = module(queries)
                queries = queries + mixed
        return self.norm(queries.unflatten(0, (count, frames)).flatten(1, 2))


class LinearFormer(nn.Linear):
    """The `linear` variant: every feature vector becomes a token."""

    def __init__(self, config: FormerConfig) -> None:
        super().__init__(config.channels, config.width)
        self.frames = config.frames

    def forward(self, features: Tensor) -> Tensor:
        """(B, F * V * h' * w', D) tokens from features (B, F, V * h' * w', C)."""
        return super().forward(features[:, : self.frames]).flatten(1, 2)


def video_former(config: FormerConfig, tensors: dict[str, Tensor]) -> nn.Module:
    """The Video Former of a checkpoint from its sizes and tensors (used in place, not copied)."""
    with torch.device("meta"):
        former = LinearFormer(config) if config.kind == "linear" else VideoFormer(config)
    former.load_state_dict(tensors, assign=True)
    return former.eval()


def tokens_from_views(features: Tensor) -> Tensor:
    """(F, V * h' * w', C) from (V, F, C, h', w'): the views of a frame are concatenated on tokens, static first.

    Dimensions before these stay, such as that of a batch.
    """
    return features.movedim((-4, -5, -2, -1, -3), (-5, -4, -3, -2, -1)).flatten(-4, -2)
