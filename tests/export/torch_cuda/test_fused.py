"""The fused perceive stage against the exact one, in float32 with references instead of kernels.

Tolerance: the same sums in a different order, as in test_exact_perceive.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_modules import FRAMES, VARIANTS, channels_of, former_of, tiny_vae, video_model
from torch import nn

from vpp_edge.bundle.tolerances import TOLERANCES
from vpp_edge.export.stages import PerceiveStage
from vpp_edge.export.torch_cuda.fp16 import Fp16PerceiveStage
from vpp_edge.export.torch_cuda.fused import FusedPerceiveStage
from vpp_edge.export.torch_cuda.operations import reference_operations
from vpp_edge.kernels.catalogue import OPERATIONS

# A Video Former that is a single Linear has no perceiver attention; all other operations occur in every variant.
UNUSED = {"linear": {"perceiver_attention"}}


class Counted(dict[str, Any]):
    """The references, with a count of their calls."""

    def __init__(self) -> None:
        references = reference_operations()
        self.calls = dict.fromkeys(references, 0)
        super().__init__({name: self._counted(name, function) for name, function in references.items()})

    def _counted(self, name: str, function: Any) -> Any:
        def called(**arguments: Any) -> Any:
            self.calls[name] += 1
            return function(**arguments)

        return called


def perceive_stage(
    kind: str, extract_layer: int, all_layers: bool, hidden: int, stride: int = 1, vae: nn.Module | None = None
) -> PerceiveStage:
    former = former_of(kind, channels_of(extract_layer, all_layers), hidden)
    policy: Any = SimpleNamespace(video=video_model(extract_layer, all_layers, vae), former=former, frame_stride=stride)
    return PerceiveStage(policy).eval()


@pytest.mark.parametrize(("kind", "extract_layer", "all_layers", "hidden"), VARIANTS)
@torch.no_grad()
def test_tokens_are_those_of_the_exact_stage(kind: str, extract_layer: int, all_layers: bool, hidden: int) -> None:
    torch.manual_seed(0)
    exact, counted = perceive_stage(kind, extract_layer, all_layers, hidden), Counted()
    fused = FusedPerceiveStage(copy.deepcopy(exact), counted)
    for _ in range(2):  # another instruction takes the place of the first
        frames, text = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8), torch.randn(1, 20, 24)
        noise = torch.randn(2, FRAMES, 4, 12, 20)
        fused.cache_text(text)
        expected, found = exact(frames, text, noise), fused(frames, noise)
        assert found.shape == expected.shape
        worst = float((found - expected).abs().max() / expected.abs().max())
        assert worst <= 1e-5, f"{tuple(found.shape)}: {worst:.1e} of the largest token"
    assert {name for name in OPERATIONS if not counted.calls[name]} == UNUSED.get(kind, set())


@torch.no_grad()
def test_fewer_frames_are_those_of_the_exact_stage() -> None:
    torch.manual_seed(0)
    exact = perceive_stage("3d", extract_layer=1, all_layers=False, hidden=8, stride=FRAMES)
    fused = FusedPerceiveStage(copy.deepcopy(exact), reference_operations())
    frames, text = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8), torch.randn(1, 20, 24)
    noise = torch.randn(2, FRAMES, 4, 12, 20)
    fused.cache_text(text)
    torch.testing.assert_close(fused(frames, noise), exact(frames, text, noise), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_tiny_image_encoder_stays_in_float32() -> None:
    torch.manual_seed(0)
    exact = perceive_stage("3d", extract_layer=1, all_layers=False, hidden=8, vae=tiny_vae())
    frames, text = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8), torch.randn(1, 20, 24)
    noise = torch.randn(2, FRAMES, 4, 12, 20)
    latents, tokens = exact.reader.encoder(frames), exact(frames, text, noise)
    half = Fp16PerceiveStage(FusedPerceiveStage(copy.deepcopy(exact), reference_operations()))
    half.cache_text(text)
    encoder: Any = half.fused.reader.encoder
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert torch.equal(encoder(frames), latents.half())
    worst = float((half(frames, noise) - tokens).abs().max() / tokens.abs().max())
    assert worst <= TOLERANCES["fp16"]["tokens"].value, f"{worst:.1e} of the largest token"


@torch.no_grad()
def test_a_text_must_be_cached_first() -> None:
    torch.manual_seed(0)
    fused = FusedPerceiveStage(perceive_stage("3d", 1, False, 8), reference_operations())
    with pytest.raises(RuntimeError, match="text"):
        fused(torch.zeros(2, 24, 40, 3, dtype=torch.uint8), torch.randn(2, FRAMES, 4, 12, 20))
