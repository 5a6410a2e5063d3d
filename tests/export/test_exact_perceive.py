"""The lean perceive stage against the eager model it is made from: small models of every variant, on odd image sizes.

Tolerance: 40 convolutions and as many attentions, each some 1e-7 of its largest value, in another order: 1e-5 of the
largest token, a tenth of what a bundle is allowed.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_modules import FRAMES, VARIANTS, channels_of, former_of, random, tiny_vae, video_model
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vpp_edge.checkpoint.config import FormerConfig
from vpp_edge.export.exact.former import exact_former, reader_of
from vpp_edge.export.exact.video import VideoReader
from vpp_edge.model.former import VideoFormer, tokens_from_views


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    worst = float((found - expected).abs().max() / expected.abs().max())
    assert worst <= 1e-5, f"{tuple(found.shape)}: {worst:.1e} of the largest token"


@pytest.mark.parametrize(("kind", "extract_layer", "all_layers", "hidden"), VARIANTS)
@torch.no_grad()
def test_tokens_are_those_of_the_eager_model(kind: str, extract_layer: int, all_layers: bool, hidden: int) -> None:
    torch.manual_seed(0)
    video = video_model(extract_layer, all_layers)
    former = former_of(kind, channels_of(extract_layer, all_layers), hidden)
    frames = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8)
    text, noise = torch.randn(1, 20, 24), torch.randn(2, FRAMES, 4, 12, 20)
    reader, lean = VideoReader(video, reader_of(former)), exact_former(former)

    def eager(*inputs: Tensor) -> Tensor:
        tokens: Tensor = former(tokens_from_views(video(*inputs))[None])
        return tokens

    with FlopCounterMode(display=False) as before:
        expected = eager(frames, text, noise)
    with FlopCounterMode(display=False) as after:
        found = lean(reader(frames, text, noise))
    assert_equal(found, expected)
    assert after.get_total_flops() < before.get_total_flops()


@torch.no_grad()
def test_tokens_of_a_tiny_image_encoder_are_those_of_the_eager_model() -> None:
    torch.manual_seed(0)
    video, former = video_model(1, False, tiny_vae()), former_of("3d", 64, 8)
    frames = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8)
    text, noise = torch.randn(1, 20, 24), torch.randn(2, FRAMES, 4, 12, 20)
    reader, lean = VideoReader(video, reader_of(former)), exact_former(former)
    found = lean(reader(frames, text, noise))
    assert_equal(found, former(tokens_from_views(video(frames, text, noise))[None]))
    assert not torch.allclose(found, lean(reader(255 - frames, text, noise)), atol=1e-3)


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
    expected = former(tokens_from_views(features.expand(-1, FRAMES, -1, -1, -1))[None])
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
        expected = former(features[None])
    with FlopCounterMode(display=False) as after:
        found = lean(hidden)
    assert_equal(found, expected)
    assert after.get_total_flops() * 2 < before.get_total_flops()
