"""The stages of a policy in FP16: in, the eager float32 policy; out, modules from and to the types of the bundle.

Three parts stay in float32. The text encoder runs once per instruction. The VAE overflows in FP16 (the video model's
own pipeline casts it up, `force_upcast`), and products in TF32 round as FP16 does, without its range. The sampler adds
small steps to large noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.export.stages import Stage, stages_from_policy
from vpp_edge.export.torch_cuda.fused import JoinedPerceive
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.export.torch_cuda.resnet import TransposedConv
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec.policy import PolicySpec

HALF = torch.float16


class HalvedPerceive(nn.Module):
    """JoinedPerceive in FP16: frames uint8 and noise float32 in, tokens float32 out."""

    def __init__(self, joined: JoinedPerceive) -> None:
        super().__init__()
        reader: Any = joined.reader
        encoder = reader.encoder
        reader.encoder = nn.Identity()
        self.joined = joined.to(HALF)
        reader.encoder = _Latents(encoder)
        # Not only faster: the joined modules see an image as rows of channels, which other layouts do not allow.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | TransposedConv):
                module.to(memory_format=torch.channels_last)

    def remember(self, text_hidden: Tensor) -> None:
        """Takes an instruction's text (1, 20, S) for every call from now on."""
        self.joined.remember(text_hidden.to(HALF))

    def forward(self, frames: Tensor, video_noise: Tensor) -> Tensor:
        noise = video_noise.flatten(0, 1).to(HALF, memory_format=torch.channels_last)
        tokens: Tensor = self.joined(frames, noise.unflatten(0, video_noise.shape[:2]))
        return tokens.float()


class _Latents(nn.Module):
    """A float32 encoder with products in TF32, whose latents are FP16."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor) -> Tensor:
        with tf32():
            latents: Tensor = self.encoder(frames)
        return latents.to(HALF, memory_format=torch.channels_last)


class HalvedAct(nn.Module):
    """Stage `act` whose head is FP16 and whose sampler is float32."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act.to(HALF)

    def forward(self, tokens: Tensor, goal: Tensor, *others: Tensor) -> Tensor:
        """(1, T, A) float32; the last three inputs are the sampler's."""
        *proprio, noise, prefix, weight = others
        given = (x.to(HALF) for x in (tokens, goal, *proprio))
        actions: Tensor = self.act(*given, noise, prefix, weight)
        return actions


@dataclass(frozen=True)
class HalvedStages:
    """The three stages by name, each a module and the signature of the bundle's stage."""

    modules: dict[str, nn.Module]
    signatures: dict[str, Stage]


def halved_stages(policy: VideoPredictionPolicy, spec: PolicySpec, operations: Operations) -> HalvedStages:
    """Stages of a policy, whose weights are used in place and become FP16: it is of no use afterwards.

    Args:
        operations: what the modules of `perceive` call.
    """
    signatures = {stage.name: stage for stage in stages_from_policy(policy, spec)}
    perceive: Any = signatures["perceive"].module
    modules = {
        "text": signatures["text"].module,
        "perceive": HalvedPerceive(JoinedPerceive(perceive, operations)),
        "act": HalvedAct(signatures["act"].module),
    }
    return HalvedStages({name: module.eval() for name, module in modules.items()}, signatures)


@contextmanager
def tf32() -> Iterator[None]:
    """Within it, float32 products and convolutions on a GPU round their inputs to 11 bits."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
