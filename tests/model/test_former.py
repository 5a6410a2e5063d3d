"""The Video Former: the order of its tokens; frames interact only in the 3D variant."""

from __future__ import annotations

import pytest
import torch

from vpp_edge.checkpoint.config import FormerConfig
from vpp_edge.checkpoint.names import former_tensors
from vpp_edge.model.former import tokens_from_views, video_former

SIZES = {"channels": 6, "width": 16, "frames": 3, "time_embeddings": 5, "queries_per_frame": 2, "depth": 2}
MORE = {"heads": 2, "head_width": 8, "hidden": 12, "feed_forward": 20}


def former(kind: str) -> torch.nn.Module:
    config = FormerConfig(kind, **SIZES, **MORE)
    generator = torch.Generator().manual_seed(0)
    tensors = {n: torch.randn(shape, generator=generator) for n, shape in former_tensors(config).items()}
    return video_former(config, tensors)


def test_views_are_concatenated_on_tokens_static_first() -> None:
    views, frames, channels, height, width = 2, 3, 5, 2, 4
    features = torch.arange(views * frames * channels * height * width).reshape(views, frames, channels, height, width)
    tokens = tokens_from_views(features)
    assert tokens.shape == (frames, views * height * width, channels)
    for view, frame, y, x in [(0, 0, 0, 0), (0, 2, 1, 3), (1, 0, 0, 0), (1, 1, 1, 2)]:
        row = view * height * width + y * width + x
        assert torch.equal(tokens[frame, row], features[view, frame, :, y, x])


@torch.no_grad()
@pytest.mark.parametrize(("kind", "mixes"), [("3d", True), ("2d", False)])
def test_frames_meet_in_the_3d_variant_only(kind: str, mixes: bool) -> None:
    module = former(kind)
    features = torch.randn(1, 3, 7, 6, generator=torch.Generator().manual_seed(1))
    before = module(features)
    features[:, 2] += 1
    after = module(features)
    assert before.shape == (1, 6, 16)
    first_frames = slice(0, 4)
    assert torch.allclose(before[:, first_frames], after[:, first_frames]) != mixes
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@torch.no_grad()
def test_the_linear_variant_makes_a_token_of_every_feature() -> None:
    module = former("linear")
    features = torch.randn(1, 3, 7, 6, generator=torch.Generator().manual_seed(1))
    expected = features @ module.weight.T + module.bias
    torch.testing.assert_close(module(features), expected.reshape(1, 21, 16))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["3d", "2d", "linear"])
def test_observations_of_a_batch_do_not_meet(kind: str) -> None:
    module = former(kind)
    features = torch.randn(3, 3, 7, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(features), torch.cat([module(one[None]) for one in features]))
