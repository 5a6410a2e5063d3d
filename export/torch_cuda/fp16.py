"""The stages of a policy in FP16, with inputs and outputs in the types of the bundle.

Three parts stay in float32: the text encoder, which runs once per instruction; the VAE, which overflows in FP16 (the
video model's own pipeline upcasts it, `force_upcast`) and gets TF32 products, with the rounding of FP16 but the range
of float32; and the sampler, which adds small steps to large noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.stages import Stage, stages_from_policy
from vpp_edge.export.torch_cuda.fused import FusedPerceiveStage
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.export.torch_cuda.resnet import TransposedConv
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec.policy import PolicySpec

HALF = torch.float16


class Fp16PerceiveStage(nn.Module):
    """FusedPerceiveStage in FP16: uint8 frames and float32 noise in, float32 tokens out."""

    def __init__(self, fused: FusedPerceiveStage) -> None:
        super().__init__()
        reader: Any = fused.reader
        encoder = reader.encoder
        reader.encoder = nn.Identity()
        self.fused = fused.to(HALF)
        reader.encoder = _Tf32Encoder(encoder)
        # Required, not just faster: the fused modules view an image as rows of channels.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | TransposedConv):
                module.to(memory_format=torch.channels_last)

    def cache_text(self, text_hidden: Tensor) -> None:
        """Set the instruction's text (1, 20, S) for all following calls."""
        self.fused.cache_text(text_hidden.to(HALF))

    def forward(self, frames: Tensor, video_noise: Tensor) -> Tensor:
        noise = video_noise.flatten(0, 1).to(HALF, memory_format=torch.channels_last)
        tokens: Tensor = self.fused(frames, noise.unflatten(0, video_noise.shape[:2]))
        return tokens.float()


class _Tf32Encoder(nn.Module):
    """A float32 encoder with TF32 products and FP16 latents."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor) -> Tensor:
        with tf32():
            latents: Tensor = self.encoder(frames)
        return latents.to(HALF, memory_format=torch.channels_last)


class Fp16ActStage(nn.Module):
    """Stage `act` with an FP16 head and a float32 sampler."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act.to(HALF)

    def forward(self, tokens: Tensor, goal: Tensor, *others: Tensor) -> Tensor:
        """(1, T, A) float32 actions; the last three inputs go to the sampler and stay float32."""
        *proprio, noise, prefix, weight = others
        context = (x.to(HALF) for x in (tokens, goal, *proprio))
        actions: Tensor = self.act(*context, noise, prefix, weight)
        return actions


@dataclass(frozen=True)
class Fp16Stages:
    """Module and signature of each of the three stages, by name."""

    modules: dict[str, nn.Module]
    signatures: dict[str, Stage]


def fp16_stages(policy: VideoPredictionPolicy, spec: PolicySpec, operations: Operations) -> Fp16Stages:
    """The FP16 stages of a policy. Its weights are converted in place, so it cannot be used afterwards.

    Args:
        operations: called by the modules of `perceive`.
    """
    signatures = {stage.name: stage for stage in stages_from_policy(policy, spec)}
    perceive: Any = signatures["perceive"].module
    modules = {
        "text": signatures["text"].module,
        "perceive": Fp16PerceiveStage(FusedPerceiveStage(perceive, operations)),
        "act": Fp16ActStage(signatures["act"].module),
    }
    return Fp16Stages(modules={name: module.eval() for name, module in modules.items()}, signatures=signatures)


@contextmanager
def tf32() -> Iterator[None]:
    """Context in which float32 products and convolutions on a GPU round their inputs to 11 bits."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
