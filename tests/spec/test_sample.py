"""Noise and stage inputs: the numbers that recorded inferences and certificates were made with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vpp_edge.checkpoint.policy_spec import segments_from_variant
from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import ActionSpec, CameraSpec, PolicySpec, StateSpec
from vpp_edge.spec.sample import draw_action_noise, draw_noise, draw_video_noise, sample_from_images
from vpp_edge.spec.stage_inputs import act_inputs, stage_inputs

SPEC = PolicySpec(
    variant="xhand",
    cameras=(CameraSpec("static", 8, 8), CameraSpec("wrist", 8, 8)),
    frames=3,
    latent=(4, 2, 2),
    tokens=(6, 5),
    text_lengths=(20, 77),
    pad_token_id=0,
    action=ActionSpec(
        dims=18, horizon=4, period_ns=100_000_000, bounds=None, segments=segments_from_variant("xhand", 18)
    ),
    state=StateSpec(19, None, (3,)),
    sigmas=(80.0, 0.0),
)
OUTPUTS = {
    "text_hidden": np.ones((1, 20, 8), np.float32),
    "goal": np.ones((1, 8), np.float32),
    "tokens": np.ones((1, 6, 5), np.float32),
}


@pytest.mark.parametrize("seed", [0, (4, 5, 6)])
def test_noise_is_the_generator_s_normal_numbers_video_first(seed: int | tuple[int, ...]) -> None:
    expected = np.random.default_rng(seed)
    video = expected.standard_normal((2, 3, 4, 2, 2), dtype=np.float32)
    action = expected.standard_normal((1, 4, 18), dtype=np.float32)
    together = draw_noise(SPEC, np.random.default_rng(seed))
    generator = np.random.default_rng(seed)
    apart = draw_video_noise(SPEC, generator), draw_action_noise(SPEC, generator)
    for found in (together, apart):
        for array, numbers in zip(found, (video, action), strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, numbers)


def test_a_sample_draws_its_noise_from_the_generator_and_nothing_else() -> None:
    images, state = [np.full((9, 12, 3), 7, np.uint8)] * 2, np.linspace(-1, 1, 19)
    sample = sample_from_images(SPEC, "wave", images, state=state, generator=np.random.default_rng(3))
    video, action = draw_noise(SPEC, np.random.default_rng(3))
    np.testing.assert_array_equal(sample.video_noise, video)
    np.testing.assert_array_equal(sample.action_noise, action)
    assert sample.frames.shape == SPEC.frames_shape
    assert sample.proprio is not None and sample.proprio.shape == (1, 1, 19)


def test_a_chunk_without_prefix_is_left_free() -> None:
    noise = np.ones((1, 4, 18), np.float32)
    inputs = act_inputs(SPEC, **{k: OUTPUTS[k] for k in ("tokens", "goal")}, action_noise=noise, proprio=np.ones(19))
    for name, shape in (("prefix", (1, 4, 18)), ("prefix_weight", (1, 4))):
        assert inputs[name].shape == shape and inputs[name].dtype == np.float32 and not inputs[name].any()
    assert inputs["proprio"].shape == (1, 1, 19)


def test_proprio_is_given_where_the_policy_has_a_state_and_only_there() -> None:
    blind = replace(SPEC, state=None)
    images = [np.zeros((8, 8, 3), np.uint8)] * 2
    sample = sample_from_images(blind, "wave", images, state=None, generator=np.random.default_rng(0))
    assert "proprio" not in stage_inputs(blind, sample, {}, OUTPUTS)["act"]
    with pytest.raises(BadInputError, match="this policy needs proprio"):
        stage_inputs(SPEC, sample, {}, OUTPUTS)
    with pytest.raises(BadInputError, match="takes no proprioception"):
        stage_inputs(blind, replace(sample, proprio=np.zeros((1, 1, 19), np.float32)), {}, OUTPUTS)
