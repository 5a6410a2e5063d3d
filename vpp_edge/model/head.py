"""Action head: estimate clean actions from goal, tokens, proprioception and noisy actions.

An MDT-style transformer (arXiv 2407.05996) under EDM preconditioning (arXiv 2206.00364); docs/vpp.md, step 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.checkpoint.config import HeadConfig


class Attention(nn.Module):
    """Multi-head attention with separate key, query and value; causal: query i sees keys 0..i, aligned top-left."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.key, self.query, self.value = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(1, n, D) from x (1, n, D), attending to context (1, m, D) or to x itself."""
        context = x if context is None else context
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.query(x), self.key(context), self.value(context))
        )
        return self.c_proj(
            functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).flatten(2)
        )


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(functional.gelu(self.c_fc(x)))


class EncoderBlock(nn.Module):
    def __init__(self, c: HeadConfig) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(c.width, bias=False) for _ in range(2))
        self.attn = Attention(c.width, c.heads, causal=False)
        self.mlp = FeedForward(c.width, c.feed_forward)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Modulation(nn.Module):
    """AdaLN: shift, scale and gate for attention and MLP from the noise level's embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, noise: Tensor) -> tuple[Tensor, ...]:
        return self.modulation(noise).chunk(6, dim=-1)


class DecoderBlock(nn.Module):
    def __init__(self, c: HeadConfig) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(c.width, bias=False) for _ in range(2))
        self.ln3 = nn.LayerNorm(c.width)
        self.attn = Attention(c.width, c.heads, causal=True)
        self.cross_att = Attention(c.width, c.heads, causal=True)
        self.mlp = FeedForward(c.width, c.feed_forward)
        self.adaLN_zero = Modulation(c.width)

    def forward(self, x: Tensor, noise: Tensor, context: Tensor) -> Tensor:
        return self.modulated(x, self.adaLN_zero(noise), lambda queries: self.cross_att(queries, context))

    def modulated(self, x: Tensor, modulation: Iterable[Tensor], attend: Callable[[Tensor], Tensor]) -> Tensor:
        """One block with given modulations (six) and cross-attention.

        `modulate` is shift + x * scale, without the usual 1.
        """
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation
        x = x + gate * self.attn(shift + self.ln_1(x) * scale)
        x = x + attend(self.ln3(x))
        return x + gate_mlp * self.mlp(shift_mlp + self.ln_2(x) * scale_mlp)


class Encoder(nn.Module):
    def __init__(self, c: HeadConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(c) for _ in range(c.encoder_layers))
        self.ln = nn.LayerNorm(c.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.ln(x)


class Decoder(nn.Module):
    def __init__(self, c: HeadConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(c) for _ in range(c.decoder_layers))
        self.ln = nn.LayerNorm(c.width, bias=False)

    def forward(self, x: Tensor, noise: Tensor, context: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, noise, context)
        return self.ln(x)


class NoiseEmbedding(nn.Module):
    """Sinusoidal embedding of log(sigma) / 4; the frequency table divides by half_width - 1, as released."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.half = width // 2

    def forward(self, level: Tensor) -> Tensor:
        exponents = torch.arange(self.half, device=level.device, dtype=level.dtype) * -(
            math.log(10000) / (self.half - 1)
        )
        angles = level[..., None] * exponents.exp()
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ActionHead(nn.Module):
    """Encoder-decoder denoiser of an action chunk.

    Args:
        config: sizes.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        c = config
        self.sigma_data, self.uses_proprio = c.sigma_data, c.proprio is not None
        self.tok_emb = nn.Linear(c.token_width, c.width)
        self.lang_emb = nn.Sequential(
            nn.Linear(c.goal_width, c.projection_hidden), nn.GELU(), nn.Linear(c.projection_hidden, c.width)
        )
        if c.proprio_tensor:
            self.proprio_emb = nn.Sequential(
                nn.Linear(c.proprio_tensor, 2 * c.width), nn.Mish(), nn.Linear(2 * c.width, c.width)
            )
        self.encoder, self.decoder = Encoder(c), Decoder(c)
        self.sigma_emb = nn.Sequential(
            NoiseEmbedding(c.width), nn.Linear(c.width, 2 * c.width), nn.Mish(), nn.Linear(2 * c.width, c.width)
        )
        self.action_emb, self.action_pred = nn.Linear(c.actions, c.width), nn.Linear(c.width, c.actions)

    def encode(self, tokens: Tensor, goal: Tensor, proprio: Tensor | None) -> Tensor:
        """(1, 1 + L + (1 if proprio), D) context: encoded [goal ; tokens ; proprio].

        Args:
            tokens: (1, L, D).
            goal: (1, G).
            proprio: (1, 1, P) normalized; None for policies without it.
        """
        parts = [self.lang_emb(goal)[:, None], self.tok_emb(tokens)]
        if self.uses_proprio:
            if proprio is None:
                raise ValueError("this policy needs proprioception")
            parts.append(self.proprio_emb(proprio))
        return self.encoder(torch.cat(parts, dim=1))

    def embed_noise(self, sigma: Tensor) -> Tensor:
        """(1, 1, D) from sigma (1,)."""
        return self.sigma_emb(sigma.log()[:, None] / 4)

    def denoise(self, actions: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """(1, T, A): estimate of the clean actions from noisy ones at level sigma (1,), EDM preconditioned."""
        variance, data = sigma**2 + self.sigma_data**2, self.sigma_data
        x = self.action_emb(actions / variance.sqrt())
        output = self.action_pred(self.decoder(x, self.embed_noise(sigma), context))
        return output * (sigma * data / variance.sqrt()) + actions * (data**2 / variance)


def action_head(config: HeadConfig, tensors: dict[str, Tensor]) -> ActionHead:
    """The action head of a checkpoint from its sizes and tensors (used in place, not copied)."""
    with torch.device("meta"):
        head = ActionHead(config)
    head.load_state_dict(tensors, assign=True)
    return head.eval()
