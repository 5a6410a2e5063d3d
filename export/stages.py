"""The three stages of the eager policy as modules with fixed shapes and signatures, ready for export.

`act` is one call: the context is encoded once, cross-attention keys and values are computed once, the sampling steps
are unrolled, and everything that depends only on the noise level is folded into constants (docs/vpp.md, exact savings).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.exact.former import exact_former, reader_of
from vpp_edge.export.exact.video import VideoReader
from vpp_edge.model.head import ActionHead, Attention, DecoderBlock
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.model.sampler import SAMPLER_FUNCTIONS, pulled
from vpp_edge.spec.policy import PolicySpec, TensorSpec


class PerceiveStage(nn.Module):
    """frames, text_hidden and video_noise to tokens, in the lean form of `vpp_edge.export.exact`."""

    def __init__(self, policy: VideoPredictionPolicy) -> None:
        super().__init__()
        with torch.no_grad():
            self.reader = VideoReader(policy.video, reader_of(policy.former), policy.frame_stride)
            self.former = exact_former(policy.former)

    def forward(self, frames: Tensor, text_hidden: Tensor, video_noise: Tensor) -> Tensor:
        return self.former(self.reader(frames, text_hidden, video_noise))


class ActStage(nn.Module):
    """tokens, goal, proprio and action_noise to normalized actions, pulled to a prefix by its weight.

    At every step the estimate of the clean chunk is pulled to the prefix: real-time chunking's inpainting
    (arXiv 2506.07339) for a denoiser that estimates the clean chunk. With weight 0 the stage is the released sampler.
    """

    def __init__(
        self, head: ActionHead, sigmas: Sequence[float], sampler: str, horizon: int, *, prefix_pulls: int = 1
    ) -> None:
        super().__init__()
        self.prefix_pulls = prefix_pulls
        self.sample = SAMPLER_FUNCTIONS[sampler]
        self.head, self.sigmas, self.horizon = head, tuple(sigmas), horizon
        # A float32 level, as the released code computes it, so that folding changes no bit of the embedding.
        levels = torch.tensor(self.sigmas[:-1])
        with torch.no_grad():
            noise = [head.embed_noise(level[None]) for level in levels]
            # One parameter each, (D,): taken from one table, each would need three nodes in the graph.
            self.modulations = nn.ModuleList(
                nn.ModuleList(
                    nn.ParameterList(_constant(m[0, 0]) for m in b.adaLN_zero(n)) for b in head.decoder.blocks
                )
                for n in noise
            )  # (steps, blocks, 6)

    def forward(
        self,
        tokens: Tensor,
        goal: Tensor,
        proprio: Tensor | None,
        action_noise: Tensor,
        prefix: Tensor,
        prefix_weight: Tensor,
    ) -> Tensor:
        context = self.head.encode(tokens, goal, proprio)[:, : self.horizon]  # causal: action i sees context 0..i only
        blocks: list[DecoderBlock] = list(self.head.decoder.blocks)
        attended = [_CachedCrossAttention(block.cross_att, context) for block in blocks]
        data = self.head.sigma_data

        def denoise(actions: Tensor, sigma: float) -> Tensor:
            variance = sigma**2 + data**2
            x = self.head.action_emb((actions * variance**-0.5).to(tokens.dtype))
            modulations: Any = self.modulations[self.sigmas.index(sigma)]
            for block, cross, modulation in zip(blocks, attended, modulations, strict=True):
                x = block.modulated(x, modulation, cross)
            output = self.head.action_pred(self.head.decoder.ln(x))
            return output * (sigma * data * variance**-0.5) + actions * (data**2 / variance)

        pull = pulled(denoise, prefix, prefix_weight, self.prefix_pulls)
        return self.sample(pull, action_noise * self.sigmas[0], self.sigmas)


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.clone(), requires_grad=False)


class _CachedCrossAttention:
    """Cross-attention whose keys and values were computed once, for all sampling steps."""

    def __init__(self, attention: Attention, context: Tensor) -> None:
        self.attention = attention
        self.key, self.value = (self._split(linear(context)) for linear in (attention.key, attention.value))

    def __call__(self, x: Tensor) -> Tensor:
        query = self._split(self.attention.query(x))
        mixed = functional.scaled_dot_product_attention(query, self.key, self.value, is_causal=True)
        return self.attention.c_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.attention.heads, -1)).transpose(1, 2)


class _WithoutProprio(nn.Module):
    """`act` for policies without proprioception: the same stage, one input fewer."""

    def __init__(self, stage: ActStage) -> None:
        super().__init__()
        self.stage = stage

    def forward(
        self, tokens: Tensor, goal: Tensor, action_noise: Tensor, prefix: Tensor, prefix_weight: Tensor
    ) -> Tensor:
        return self.stage(tokens, goal, None, action_noise, prefix, prefix_weight)


@dataclass(frozen=True)
class Stage:
    """One stage to export.

    Attributes:
        name: `text`, `perceive` or `act`.
        module: the traced module, in evaluation mode.
        inputs, outputs: in call order.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def stages_from_policy(policy: VideoPredictionPolicy, spec: PolicySpec) -> tuple[Stage, ...]:
    """`text`, `perceive` and `act` of a policy, with the shapes of ARCHITECTURE.md at this policy's sizes."""
    short, long = spec.text_lengths
    text_hidden = TensorSpec("text_hidden", "float32", (1, short, 2 * policy.text.encoder.config.hidden_size))
    goal = TensorSpec("goal", "float32", (1, policy.text.encoder.config.projection_dim))
    tokens = TensorSpec("tokens", "float32", (1, *spec.tokens))
    chunk = (1, *spec.chunk_shape)
    text = Stage(
        name="text",
        module=policy.text,
        inputs=(
            TensorSpec("ids", "int64", (1, short)),
            TensorSpec("mask", "int64", (1, short)),
            TensorSpec("goal_ids", "int64", (1, long)),
            TensorSpec("goal_mask", "int64", (1, long)),
        ),
        outputs=(text_hidden, goal),
    )
    perceive = Stage(
        name="perceive",
        module=PerceiveStage(policy).eval(),
        inputs=(
            TensorSpec("frames", "uint8", spec.frames_shape),
            text_hidden,
            TensorSpec("video_noise", "float32", spec.video_noise_shape),
        ),
        outputs=(tokens,),
    )
    act: nn.Module = ActStage(
        policy.head, spec.sigmas, spec.sampler, spec.action.horizon, prefix_pulls=spec.prefix_pulls
    )
    proprio = () if spec.state is None else (TensorSpec("proprio", "float32", (1, 1, spec.state.dims)),)
    if spec.state is None:
        act = _WithoutProprio(act)
    act_inputs = (
        tokens,
        goal,
        *proprio,
        TensorSpec("action_noise", "float32", chunk),
        TensorSpec("prefix", "float32", chunk),
        TensorSpec("prefix_weight", "float32", (1, spec.action.horizon)),
    )
    return (
        text,
        perceive,
        Stage(name="act", module=act.eval(), inputs=act_inputs, outputs=(TensorSpec("actions", "float32", chunk),)),
    )
