"""The lean perceive stage against the eager model it is made from: small models of every variant, on odd image sizes.

Tolerance: 40 convolutions and as many attentions, each some 1e-7 of its largest value, in another order: 1e-5 of the
largest token, a tenth of what a bundle is allowed.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vpp_edge.checkpoint.config import FormerConfig
from vpp_edge.export.exact.former import exact_former, reader_of
from vpp_edge.export.exact.video import VideoReader
from vpp_edge.model.former import LinearFormer, VideoFormer, tokens_from_views
from vpp_edge.model.tvp import VideoPredictionModel

FRAMES = 3


def random(module: nn.Module) -> nn.Module:
    for name, parameter in module.named_parameters():
        parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1)
    return module.eval()


def video_model(extract_layer: int, all_layers: bool) -> VideoPredictionModel:
    unet = UNetSpatioTemporalConditionModel(
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal",
                          "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 64, 64), num_attention_heads=(1, 2, 2), layers_per_block=1, cross_attention_dim=24,
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=24,
    )  # fmt: skip
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"), layers_per_block=1
    )
    scheduler = EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True, sigma_max=700.0)
    config: Any = SimpleNamespace(
        former=SimpleNamespace(frames=FRAMES), extract_layer=extract_layer, all_layers=all_layers, video_steps=20
    )
    return VideoPredictionModel(random(unet), random(vae), scheduler, config).eval()


def former_of(kind: str, channels: int, hidden: int) -> nn.Module:
    config: Any = SimpleNamespace(
        kind=kind, channels=channels, width=32, frames=FRAMES, hidden=hidden, depth=2, heads=2, head_width=16,
        feed_forward=48, queries_per_frame=5, time_embeddings=FRAMES,
    )  # fmt: skip
    return random(LinearFormer(config) if kind == "linear" else VideoFormer(config))


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    worst = float((found - expected).abs().max() / expected.abs().max())
    assert worst <= 1e-5, f"{tuple(found.shape)}: {worst:.1e} of the largest token"


# A Linear of 8 is composed with the convolution before it, one of 96 is not: that would cost more.
@pytest.mark.parametrize(("kind", "extract_layer", "all_layers", "hidden"), [
    ("3d", 1, False, 8), ("3d", 1, True, 96), ("2d", 0, False, 96), ("2d", 1, True, 8), ("linear", 1, False, 0),
    ("linear", 2, True, 0),
])  # fmt: skip
@torch.no_grad()
def test_tokens_are_those_of_the_eager_model(kind: str, extract_layer: int, all_layers: bool, hidden: int) -> None:
    torch.manual_seed(0)
    video = video_model(extract_layer, all_layers)
    widths = (64, 64, 32)[: extract_layer + 1]
    former = former_of(kind, sum(widths) if all_layers else widths[-1], hidden)
    frames = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8)
    text, noise = torch.randn(1, 20, 24), torch.randn(2, FRAMES, 4, 12, 20)
    reader, lean = VideoReader(video, reader_of(former)), exact_former(former)

    def eager(*inputs: Tensor) -> Tensor:
        tokens: Tensor = former(tokens_from_views(video(*inputs)))
        return tokens

    with FlopCounterMode(display=False) as before:
        expected = eager(frames, text, noise)
    with FlopCounterMode(display=False) as after:
        found = lean(reader(frames, text, noise))
    assert_equal(found, expected)
    assert after.get_total_flops() < before.get_total_flops()


@pytest.mark.parametrize("kind", ["3d", "linear"])
@torch.no_grad()
def test_fewer_frames_are_those_of_the_eager_model(kind: str) -> None:
    """One frame of three is computed, and its features stand for all three."""
    torch.manual_seed(0)
    video, former = video_model(1, False), former_of(kind, 64, 8)
    frames = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8)
    text, noise = torch.randn(1, 20, 24), torch.randn(2, FRAMES, 4, 12, 20)
    features = video(frames, text, noise[:, ::FRAMES])
    assert features.shape[1] == 1
    expected = former(tokens_from_views(features.expand(-1, FRAMES, -1, -1, -1)))
    reader, lean = VideoReader(video, reader_of(former), FRAMES), exact_former(former)
    assert_equal(lean(reader(frames, text, noise)), expected)


@torch.no_grad()
def test_computed_frames_keep_their_numbers() -> None:
    video, numbers = video_model(1, False), []
    video.frames = 4
    embed: Any = next(m for m in video.unet.modules() if type(m).__name__ == "TransformerSpatioTemporalModel").time_proj
    embed.register_forward_hook(lambda _, given, embedded: numbers.append(given[0].tolist()))
    frames, text = torch.zeros(1, 24, 40, 3, dtype=torch.uint8), torch.randn(1, 20, 24)
    for count in (4, 2, 1, 4):
        video(frames, text, torch.randn(1, count, 4, 12, 20))
    assert numbers == [[0, 1, 2, 3], [0, 2], [0], [0, 1, 2, 3]]


@torch.no_grad()
def test_the_eager_model_is_left_as_it_was() -> None:
    video, former = video_model(1, False), former_of("3d", 64, 8)
    before = {n: p.clone() for n, p in [*video.named_parameters(), *former.named_parameters()]}
    VideoReader(video, reader_of(former))
    exact_former(former)
    for name, parameter in [*video.named_parameters(), *former.named_parameters()]:
        assert torch.equal(parameter, before[name]), name


@torch.no_grad()
def test_the_former_costs_a_fraction_with_the_features_of_two_cameras() -> None:
    torch.manual_seed(0)
    config: FormerConfig = SimpleNamespace(  # type: ignore[assignment]
        kind="3d", channels=64, width=48, frames=4, hidden=64, depth=3, heads=2, head_width=32, feed_forward=96,
        queries_per_frame=7, time_embeddings=4,
    )  # fmt: skip
    former = random(VideoFormer(config))
    features = torch.randn(4, 512, 64)
    hidden = reader_of(former)(features).unflatten(1, (2, 4, 8, 8)).transpose(0, 1)  # (V, F, P, h, w, K)
    lean = exact_former(former)
    with FlopCounterMode(display=False) as before:
        expected = former(features)
    with FlopCounterMode(display=False) as after:
        found = lean(hidden)
    assert_equal(found, expected)
    assert after.get_total_flops() * 2 < before.get_total_flops()
